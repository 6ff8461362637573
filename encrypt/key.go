// Package encrypt vets the public keys that devices register, seals messages
// for them as compact JWE (RFC 7516), and checks what devices signed (RFC
// 7515). It knows no private key.
//
// It is stricter than the JOSE library underneath: a key that parses is not
// yet a key to trust a message to. Nothing here touches the network.
package encrypt

import (
	"crypto"
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	josecipher "github.com/go-jose/go-jose/v4/cipher"
)

// The JOSE names of the algorithms for messages (RFC 7518 sections 4.1, 5.1).
const (
	algRSA = string(jose.RSA_OAEP_256)
	encRSA = string(jose.A256CBC_HS512)
	encEC  = string(jose.A256GCM)
)

var algsECDH = []string{string(jose.ECDH_ES_A256KW), string(jose.ECDH_ES), string(jose.ECDH_ES_A128KW)}

// encryption is the usage of keys that messages are sealed for. RSA1_5 and
// RSA-OAEP with SHA-1 are missing on purpose, ECDH-ES+A192KW because browsers
// lack it.
var encryption = usage{
	use:             "enc",
	operations:      []string{"encrypt", "wrapKey", "deriveKey", "deriveBits"},
	emptyOperations: true,
	algorithms: map[string][]string{
		"RSA":      {algRSA},
		"EC P-256": algsECDH,
		"EC P-384": algsECDH,
		"EC P-521": algsECDH,
	},
}

// Policy is what an operator asks of keys beyond the fixed rules of [ParseKey].
type Policy struct {
	// MinRSABits is the lowest number of bits of an RSA modulus; 0 means
	// 2048. Only 2048, 3072 and 4096 are accepted at all.
	MinRSABits int
}

// Key is a vetted public key that messages can be sealed for. It never
// changes and is safe for concurrent use; vetting costs about as much as
// sealing, so keep a Key rather than its JWK. It takes some 600 bytes.
type Key struct {
	public            crypto.PublicKey
	use, declared, id string // as members use, alg and kid say; "" where absent
	thumbprint        string
	alg, enc          string
}

// ParseKey vets a public key, given as a JWK object (RFC 7517) or as a JSON
// string that holds one: nevisFIDO's reference types encryptionKey as string.
// Errors are of type [*KeyError].
//
// Accepted are RSA keys of 2048, 3072 or 4096 bits with exponent 65537 and no
// known weakness of the modulus, and EC keys on P-256, P-384 or P-521. An alg
// must be RSA-OAEP-256, or ECDH-ES, ECDH-ES+A128KW or ECDH-ES+A256KW; a use
// must be "enc"; key_ops must hold "encrypt" or "wrapKey", for EC also
// "deriveKey" or "deriveBits", or nothing at all as Web Crypto has it.
// Private members are refused, certificate members (x5c, x5u) ignored.
//
// Before that, the key is made canonical: members that are null are dropped,
// and numbers lose the zero bytes before them, or get those that a coordinate
// needs, as Java and Android write neither as RFC 7518 asks.
func ParseKey(jwk []byte, p Policy) (*Key, error) {
	j, public, err := vetPublic(jwk, encryption, p.MinRSABits)
	if err != nil {
		return nil, err
	}
	k := &Key{public: public, use: j.Use, declared: j.Alg, id: j.ID, thumbprint: j.thumbprint(), alg: j.Alg, enc: encEC}
	if j.Type == keyTypeRSA {
		k.enc = encRSA
	}
	if k.alg == "" {
		k.alg = encryption.algorithms[j.family()][0]
	}
	return k, nil
}

// thumbprint is RFC 7638's, with SHA-256. All values are base64url or names
// from our own lists, so nothing needs escaping.
func (j publicJWK) thumbprint() string {
	text := fmt.Sprintf(`{"crv":"%s","kty":"%s","x":"%s","y":"%s"}`, j.Curve, j.Type, j.X, j.Y)
	if j.Type == keyTypeRSA {
		text = fmt.Sprintf(`{"e":"%s","kty":"%s","n":"%s"}`, j.E, j.Type, j.N)
	}
	sum := sha256.Sum256([]byte(text))
	return base64URL.EncodeToString(sum[:])
}

// Thumbprint returns the RFC 7638 thumbprint of the key: SHA-256, base64url
// without padding.
func (k *Key) Thumbprint() string { return k.thumbprint }

// JWK returns the key as JSON: the public members, and alg, use and kid if
// they were given. This is what may be stored.
func (k *Key) JWK() []byte {
	j := publicMembers(k.public)
	j.Use, j.Alg, j.ID = k.use, k.declared, k.id
	return j.marshal()
}

// Algorithms returns the JOSE names of what [Key.Seal] uses, as in the
// members alg and enc of the header.
func (k *Key) Algorithms() (alg, enc string) { return k.alg, k.enc }

// Seal encrypts plaintext (512 KiB at most) for the key and returns a compact
// JWE, with a content key and nonce of its own. Its header holds alg, enc and,
// for EC keys, epk; nothing is compressed.
func (k *Key) Seal(plaintext []byte) (string, error) {
	if len(plaintext) > maxPlaintext {
		return "", fmt.Errorf("sealing: message of %d bytes is longer than %d", len(plaintext), maxPlaintext)
	}
	var jwe string
	var err error
	if public, ok := k.public.(*rsa.PublicKey); ok {
		jwe, err = sealRSA(public, plaintext)
	} else {
		jwe, err = k.sealEC(plaintext)
	}
	if err != nil {
		return "", fmt.Errorf("sealing with %s and %s: %w", k.alg, k.enc, err)
	}
	return jwe, nil
}

func (k *Key) sealEC(plaintext []byte) (string, error) {
	e, err := jose.NewEncrypter(jose.ContentEncryption(k.enc), jose.Recipient{Algorithm: jose.KeyAlgorithm(k.alg), Key: k.public}, nil)
	if err != nil {
		return "", err
	}
	sealed, err := e.Encrypt(plaintext)
	if err != nil {
		return "", err
	}
	return sealed.CompactSerialize()
}

// headerRSA is the protected header, always the same, of messages for RSA keys.
var headerRSA = base64URL.EncodeToString([]byte(`{"alg":"` + algRSA + `","enc":"` + encRSA + `"}`))

// Bytes of what A256CBC-HS512 takes and makes (RFC 7518 section 5.2.5).
const (
	contentKeyRSA = 64
	tagRSA        = 32
)

// sealRSA is RFC 7516 section 5.1 for the one pair of algorithms that RSA keys
// have. jose.NewEncrypter makes the same of the same parts, at a fifth more than
// RSA itself costs: its header is a map that is encoded by reflection each time.
func sealRSA(public *rsa.PublicKey, plaintext []byte) (string, error) {
	secret := make([]byte, contentKeyRSA+aes.BlockSize)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	contentKey, nonce := secret[:contentKeyRSA], secret[contentKeyRSA:]
	encryptedKey, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, contentKey, nil)
	if err != nil {
		return "", err
	}
	content, err := josecipher.NewCBCHMAC(contentKey, aes.NewCipher)
	if err != nil {
		return "", err
	}
	sealed := content.Seal(nil, nonce, plaintext, []byte(headerRSA))
	ciphertext, tag := sealed[:len(sealed)-tagRSA], sealed[len(sealed)-tagRSA:]
	jwe := make([]byte, 0, len(headerRSA)+(len(encryptedKey)+len(nonce)+len(sealed))*4/3+16)
	jwe = append(jwe, headerRSA...)
	for _, part := range [][]byte{encryptedKey, nonce, ciphertext, tag} {
		jwe = base64URL.AppendEncode(append(jwe, '.'), part)
	}
	return string(jwe), nil
}
