package command

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/operate"
)

// deviceKinds are the types of keys that messages are sealed for, as operate.KeyKind
// names them. nevisFIDO documents RSA keys only.
var deviceKinds = []string{"RSA-2048", "RSA-3072", "RSA-4096", "P-256", "P-384", "P-521"}

// deviceKey is the private key of a device. Only commands hold one.
type deviceKey struct {
	private    jose.JSONWebKey
	public     []byte // JWK
	thumbprint string // RFC 7638
	refused    error  // why no message is sealed for it
}

// newDeviceKey makes a key of one of deviceKinds.
func newDeviceKey(kind string) (*deviceKey, error) {
	jwk := jose.JSONWebKey{Use: "enc"}
	var err error
	switch kind {
	case "RSA-2048", "RSA-3072", "RSA-4096":
		bits := map[string]int{"RSA-2048": 2048, "RSA-3072": 3072, "RSA-4096": 4096}[kind]
		jwk.Algorithm = string(jose.RSA_OAEP_256)
		jwk.Key, err = rsa.GenerateKey(rand.Reader, bits)
	case "P-256", "P-384", "P-521":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[kind]
		jwk.Algorithm = string(jose.ECDH_ES_A256KW)
		jwk.Key, err = ecdsa.GenerateKey(curve, rand.Reader)
	default:
		return nil, fmt.Errorf("--type %q: use one of %s", kind, strings.Join(deviceKinds, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return describeKey(jwk)
}

// parseDeviceKey reads a private JWK. No error quotes it.
func parseDeviceKey(text []byte) (*deviceKey, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(text); err != nil {
		return nil, errors.New(`it is not a JWK: give one private key as a JSON object, an RSA key with "p" and "q"`)
	}
	switch jwk.Key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey:
	default:
		return nil, errors.New("it is not the private key of a device: a private RSA or EC key is needed")
	}
	if !jwk.Valid() {
		return nil, errors.New("its numbers do not make a key")
	}
	return describeKey(jwk)
}

func describeKey(private jose.JSONWebKey) (*deviceKey, error) {
	public := private.Public()
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("taking the thumbprint of the key: %w", err)
	}
	k := &deviceKey{private: private, thumbprint: base64.RawURLEncoding.EncodeToString(sum)}
	if k.public, err = public.MarshalJSON(); err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	_, k.refused = encrypt.ParseKey(k.public, encrypt.Policy{})
	return k, nil
}

// What open decrypts: also what no sidecar or nevisFIDO should have made, so
// that it can be looked at. RSA1_5 is missing, as go-jose advises.
var (
	openAlgs = []jose.KeyAlgorithm{
		jose.RSA_OAEP_256, jose.RSA_OAEP, jose.ECDH_ES, jose.ECDH_ES_A128KW, jose.ECDH_ES_A192KW, jose.ECDH_ES_A256KW,
	}
	openEncs = []jose.ContentEncryption{
		jose.A256CBC_HS512, jose.A192CBC_HS384, jose.A128CBC_HS256, jose.A256GCM, jose.A192GCM, jose.A128GCM,
	}
)

// open decrypts a compact JWE. No error quotes it.
func (k *deviceKey) open(v *jweView, compact string) ([]byte, error) {
	if kind := operate.KeyKind(k.public); v.For != "" && v.For != kind {
		return nil, fmt.Errorf("it is for a key of type %s, the private key is one of %s", v.For, kind)
	}
	if !slices.Contains(openAlgs, jose.KeyAlgorithm(v.Alg)) || !slices.Contains(openEncs, jose.ContentEncryption(v.Enc)) {
		return nil, errors.New("it cannot be decrypted because of its alg or enc")
	}
	sealed, err := jose.ParseEncryptedCompact(compact, openAlgs, openEncs)
	if err != nil {
		return nil, errors.New("it is not a JWE that can be decrypted: its header or one of its parts is malformed")
	}
	plaintext, err := sealed.Decrypt(k.private.Key)
	if err != nil {
		return nil, errors.New("the private key does not open it: it was made for another key, or changed on the way")
	}
	return plaintext, nil
}
