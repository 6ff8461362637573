package encrypt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// signing is the usage of keys that devices sign with. HMAC and "none" are
// missing on purpose.
var signing = usage{
	use:        "sig",
	operations: []string{"verify"},
	algorithms: map[string][]string{
		"RSA":         {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
		"EC P-256":    {"ES256"},
		"EC P-384":    {"ES384"},
		"EC P-521":    {"ES512"},
		"OKP Ed25519": {"EdDSA"},
	},
}

// signatureHashes are the hashes by the digits of an algorithm's name.
var signatureHashes = map[string]crypto.Hash{
	"256": crypto.SHA256,
	"384": crypto.SHA384,
	"512": crypto.SHA512,
}

// SignatureKey is a vetted public key that checks what a device signed. It
// never changes and is safe for concurrent use.
type SignatureKey struct {
	public crypto.PublicKey
	jwk    []byte
	algs   []string
}

// ParseSignatureKey vets a device's signature key, given as a JWK object or as
// a JSON string that holds one. Accepted are EC keys on P-256, P-384 and P-521,
// Ed25519 keys, and RSA keys under the rules of [ParseKey]; a use must be
// "sig", key_ops must hold "verify", an alg must fit the key. Private members
// and symmetric keys are refused. Errors are of type [*KeyError].
func ParseSignatureKey(jwk []byte) (*SignatureKey, error) {
	j, public, err := vetPublic(jwk, signing, 0)
	if err != nil {
		return nil, err
	}
	algs := signing.algorithms[j.family()]
	if j.Alg != "" {
		algs = []string{j.Alg}
	}
	return &SignatureKey{public: public, jwk: j.marshal(), algs: algs}, nil
}

// JWK returns the key as JSON: the public members, and alg, use and kid if
// they were given. This is what may be stored.
func (k *SignatureKey) JWK() []byte { return bytes.Clone(k.jwk) }

// Verify checks the signature of a compact JWS of 1 MiB at most and returns
// its payload. Keys that the JWS itself brings or points to (jwk, jku, x5c,
// x5u) are ignored. An algorithm that does not fit the key, an empty or
// detached payload, and critical extensions are errors.
func (k *SignatureKey) Verify(jws string) (payload []byte, err error) {
	parts, header, err := splitJWS(jws)
	if err != nil {
		return nil, fmt.Errorf("verifying JWS: %w", err)
	}
	alg := header.Member("alg").Text()
	switch {
	case header.Find("crit").Exists() || header.Find("b64").Exists():
		return nil, errors.New("verifying JWS: critical extensions are not supported")
	case !slices.Contains(k.algs, alg):
		return nil, fmt.Errorf("verifying JWS: alg is %s, which does not fit the key", shown(alg))
	}
	signature, _ := base64URL.DecodeString(parts[2]) // splitJWS has checked it
	input := jws[:len(parts[0])+1+len(parts[1])]
	if !k.matches(alg, []byte(input), signature) {
		return nil, errors.New("verifying JWS: the signature does not match")
	}
	return base64URL.DecodeString(parts[1])
}

// matches checks a signature (RFC 7518 section 3, RFC 8037 section 3.1); alg
// is one of k.algs, so it fits the key. This is not left to go-jose, which
// parses keys and certificates in the header and takes any length of PSS salt.
func (k *SignatureKey) matches(alg string, input, signature []byte) bool {
	if key, ok := k.public.(ed25519.PublicKey); ok {
		return ed25519.Verify(key, input, signature)
	}
	hash := signatureHashes[alg[2:]]
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch key := k.public.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(alg, "PS") {
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(key, hash, digest, signature, opts) == nil
		}
		return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		size := coordinateSize(key.Curve)
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key, digest, r, s)
	}
	return false
}
