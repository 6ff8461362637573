// Package devicekey holds the private halves of a device's keys: it makes them,
// opens what was sealed for them, and signs. The product holds no such key;
// simulated devices and tests do. Opening is left to go-jose and the standard
// library, so that an error of package encrypt shows.
package devicekey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

const maxSealed = 1 << 20 // bytes of a compact JWE

// PrivateKey is a device's half of an [encrypt.Key].
type PrivateKey struct {
	private crypto.Signer
	public  *encrypt.Key
	jwk     []byte
	algs    []jose.KeyAlgorithm // that Open accepts
}

// ecdhAlgorithms are those of EC keys, the default first.
var ecdhAlgorithms = []jose.KeyAlgorithm{jose.ECDH_ES_A256KW, jose.ECDH_ES, jose.ECDH_ES_A128KW}

// GenerateKey makes a key pair. The kind is one of RSA-2048, RSA-3072,
// RSA-4096, P-256, P-384 and P-521. Its JWK names use and alg.
func GenerateKey(kind string) (*PrivateKey, error) {
	private, err := generate(kind)
	if err != nil {
		return nil, err
	}
	alg := jose.RSA_OAEP_256
	if _, ok := private.(*ecdsa.PrivateKey); ok {
		alg = ecdhAlgorithms[0]
	}
	return newPrivateKey(jose.JSONWebKey{Key: private, Use: "enc", Algorithm: string(alg)})
}

func generate(kind string) (crypto.Signer, error) {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	if curve, ok := curves[kind]; ok {
		return ecdsa.GenerateKey(curve, rand.Reader)
	}
	if bits, ok := map[string]int{"RSA-2048": 2048, "RSA-3072": 3072, "RSA-4096": 4096}[kind]; ok {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return nil, fmt.Errorf("generating key: unknown kind %q", kind)
}

// ParsePrivateKey reads the private JWK of a device. Its public half has to
// satisfy [encrypt.ParseKey].
func ParsePrivateKey(jwk []byte) (*PrivateKey, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(jwk); err != nil {
		return nil, errors.New("reading private key: not a JWK")
	}
	if !key.Valid() || key.IsPublic() {
		return nil, errors.New("reading private key: not a valid private JWK")
	}
	return newPrivateKey(key)
}

func newPrivateKey(key jose.JSONWebKey) (*PrivateKey, error) {
	private, ok := key.Key.(crypto.Signer)
	if !ok {
		return nil, errors.New("reading private key: not an RSA or EC key")
	}
	jwk, err := key.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding private key: %w", err)
	}
	open := key.Public()
	public, err := open.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	k := &PrivateKey{private: private, jwk: jwk, algs: []jose.KeyAlgorithm{jose.RSA_OAEP_256}}
	if k.public, err = encrypt.ParseKey(public, encrypt.Policy{}); err != nil {
		return nil, err
	}
	if _, ok := private.(*ecdsa.PrivateKey); ok {
		k.algs = ecdhAlgorithms
	}
	if key.Algorithm != "" {
		k.algs = []jose.KeyAlgorithm{jose.KeyAlgorithm(key.Algorithm)}
	}
	return k, nil
}

// Public returns the key to seal messages with.
func (k *PrivateKey) Public() *encrypt.Key { return k.public }

// JWK returns the key as JSON, private members included.
func (k *PrivateKey) JWK() []byte { return slices.Clone(k.jwk) }

// String names the key by its thumbprint.
func (k *PrivateKey) String() string { return "private key " + k.public.Thumbprint() }

// Open decrypts a compact JWE of 1 MiB at most that was made for this key.
// Other algorithms, compression, critical extensions and the JSON serialization
// are refused.
func (k *PrivateKey) Open(compact string) ([]byte, error) {
	if len(compact) > maxSealed || !encrypt.IsSealed(compact) {
		return nil, errors.New("opening JWE: not a compact JWE with an alg and enc of the list")
	}
	_, enc := k.public.Algorithms()
	sealed, err := jose.ParseEncryptedCompact(compact, k.algs, []jose.ContentEncryption{jose.ContentEncryption(enc)})
	if err != nil {
		return nil, errors.New("opening JWE: its algorithms are not those of this key, or a header parameter is malformed")
	}
	for _, name := range []jose.HeaderKey{"zip", "crit"} {
		if _, ok := sealed.Header.ExtraHeaders[name]; ok {
			return nil, errors.New("opening JWE: compression and critical extensions are not supported")
		}
	}
	plaintext, err := sealed.Decrypt(k.private)
	if err != nil {
		return nil, errors.New("opening JWE: it was made for another key, or changed on the way")
	}
	return plaintext, nil
}

// SigningKey is a device's half of an [encrypt.SignatureKey].
type SigningKey struct {
	signer jose.Signer
	public *encrypt.SignatureKey
}

// GenerateSigningKey makes a key pair. The kind is one of those of
// [GenerateKey], or Ed25519. RSA keys sign with RS256.
func GenerateSigningKey(kind string) (*SigningKey, error) {
	private, err := generateSigner(kind)
	if err != nil {
		return nil, err
	}
	alg := jose.EdDSA
	switch key := private.(type) {
	case *rsa.PrivateKey:
		alg = jose.RS256
	case *ecdsa.PrivateKey:
		alg = map[int]jose.SignatureAlgorithm{256: jose.ES256, 384: jose.ES384, 521: jose.ES512}[key.Params().BitSize]
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: private.Public(), Use: "sig", Algorithm: string(alg)})
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	public, err := encrypt.ParseSignatureKey(jwk)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: private}, nil)
	if err != nil {
		return nil, fmt.Errorf("preparing %s signer: %w", alg, err)
	}
	return &SigningKey{signer: signer, public: public}, nil
}

func generateSigner(kind string) (crypto.Signer, error) {
	if kind != "Ed25519" {
		return generate(kind)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return private, err
}

// Public returns the key that checks the signatures.
func (k *SigningKey) Public() *encrypt.SignatureKey { return k.public }

// JWK returns the public key as JSON, as a device registers it.
func (k *SigningKey) JWK() []byte { return k.public.JWK() }

// Sign returns payload as compact JWS, with alg as its only header parameter.
func (k *SigningKey) Sign(payload []byte) (string, error) {
	signed, err := k.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return signed.CompactSerialize()
}
