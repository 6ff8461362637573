package encrypt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

// PrivateKey is a device's half of a [Key]: it opens what was sealed for it.
// The product never holds one; devices, tools and tests do.
type PrivateKey struct {
	private crypto.PrivateKey
	public  *Key
	jwk     string
	algs    []string // that Open accepts
}

// privateJWK holds the members of a private key, in the order they are printed.
type privateJWK struct {
	publicJWK
	D  string `json:"d"`
	P  string `json:"p,omitzero"`
	Q  string `json:"q,omitzero"`
	DP string `json:"dp,omitzero"`
	DQ string `json:"dq,omitzero"`
	QI string `json:"qi,omitzero"`
}

// GenerateKey makes a key pair. The kind is one of RSA-2048, RSA-3072,
// RSA-4096, P-256, P-384 and P-521. Its JWK names use and alg.
func GenerateKey(kind string) (*PrivateKey, error) {
	private, err := generate(kind)
	if err != nil {
		return nil, err
	}
	j, err := publicMembers(private.Public())
	if err != nil {
		return nil, err
	}
	j.Use, j.Alg = encryption.use, encryption.algorithms[j.family()][0]
	return newPrivateKey(j, private)
}

func generate(kind string) (crypto.Signer, error) {
	switch kind {
	case "RSA-2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "RSA-3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA-4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	if curve, ok := curves[kind]; ok {
		return ecdsa.GenerateKey(curve, rand.Reader)
	}
	return nil, fmt.Errorf("generating key: unknown kind %q", kind)
}

// ParsePrivateKey reads the private JWK of a device, as an object or as a JSON
// string that holds one. Its public half has to satisfy [ParseKey]; an RSA key
// needs n, e, d, p and q. Errors are of type [*KeyError].
func ParsePrivateKey(jwk []byte) (*PrivateKey, error) {
	m, err := readJWK(jwk)
	if err != nil {
		return nil, err
	}
	delete(m, "key_ops") // "decrypt" and the like: the public half's rules do not apply
	j, public, err := m.vet(encryption, 0)
	if err != nil {
		return nil, err
	}
	var private crypto.PrivateKey
	switch p := public.(type) {
	case *rsa.PublicKey:
		private, err = m.rsaPrivateKey(p)
	case *ecdsa.PublicKey:
		private, err = m.ecPrivateKey(p)
	}
	if err != nil {
		return nil, err
	}
	return newPrivateKey(j, private)
}

func newPrivateKey(j publicJWK, private crypto.PrivateKey) (*PrivateKey, error) {
	p := privateJWK{publicJWK: j}
	text := func(n *big.Int) string { return base64URL.EncodeToString(n.Bytes()) }
	var public crypto.PublicKey
	switch k := private.(type) {
	case *rsa.PrivateKey:
		public = &k.PublicKey
		p.D, p.P, p.Q = text(k.D), text(k.Primes[0]), text(k.Primes[1])
		p.DP, p.DQ, p.QI = text(k.Precomputed.Dp), text(k.Precomputed.Dq), text(k.Precomputed.Qinv)
	case *ecdsa.PrivateKey:
		public = &k.PublicKey
		d, err := k.Bytes()
		if err != nil {
			return nil, fmt.Errorf("encoding EC key: %w", err)
		}
		p.D = base64URL.EncodeToString(d)
	}
	key, err := newKey(j, public)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding JWK: %w", err)
	}
	algs := encryption.algorithms[j.family()]
	if j.Alg != "" {
		algs = []string{j.Alg}
	}
	return &PrivateKey{private: private, public: key, jwk: string(data), algs: algs}, nil
}

func (m members) rsaPrivateKey(public *rsa.PublicKey) (*rsa.PrivateKey, error) {
	if m.has("oth") {
		return nil, refuse(ReasonUnsupportedType, "RSA keys of more than two primes are not supported")
	}
	var numbers []*big.Int
	for _, name := range []string{"d", "p", "q"} {
		octets, err := m.octets(name)
		if err != nil {
			return nil, err
		}
		if len(octets) > maxOctets {
			return nil, refuse(ReasonTooLarge, "member %q has %d bytes", name, len(octets))
		}
		// Some libraries pad these to a fixed length: harmless here.
		numbers = append(numbers, new(big.Int).SetBytes(octets))
	}
	k := &rsa.PrivateKey{PublicKey: *public, D: numbers[0], Primes: numbers[1:]}
	k.Precompute()
	if err := k.Validate(); err != nil {
		return nil, refuse(ReasonInconsistent, "d, p and q do not belong to n and e")
	}
	return k, nil
}

func (m members) ecPrivateKey(public *ecdsa.PublicKey) (*ecdsa.PrivateKey, error) {
	d, err := m.octets("d")
	if err != nil {
		return nil, err
	}
	k, err := ecdsa.ParseRawPrivateKey(public.Curve, d)
	if err != nil {
		return nil, refuse(ReasonMalformed, `member "d" is no private key of curve %s`, public.Params().Name)
	}
	if !k.PublicKey.Equal(public) {
		return nil, refuse(ReasonInconsistent, "d does not belong to x and y")
	}
	return k, nil
}

// Public returns the key to seal messages with.
func (k *PrivateKey) Public() *Key { return k.public }

// JWK returns the key as JSON, private members included.
func (k *PrivateKey) JWK() []byte { return []byte(k.jwk) }

// String names the key by its thumbprint, so that printing one by accident
// shows nothing private.
func (k *PrivateKey) String() string { return "private key " + k.public.thumbprint }

// GoString is String, for the verb %#v.
func (k *PrivateKey) GoString() string { return k.String() }

// Open decrypts a compact JWE of 1 MiB at most that [Key.Seal], or another
// implementation with the same algorithms, made for this key. Everything else
// is refused: other algorithms, compression, critical extensions, the JSON
// serialization.
func (k *PrivateKey) Open(compact string) ([]byte, error) {
	parts, err := splitCompact(compact, 5)
	if err != nil {
		return nil, fmt.Errorf("opening JWE: %w", err)
	}
	header, err := readHeader(parts[0])
	if err != nil {
		return nil, fmt.Errorf("opening JWE: %w", err)
	}
	alg, enc := header.text("alg"), header.text("enc")
	switch {
	case header.has("zip") || header.has("crit"):
		return nil, errors.New("opening JWE: compression and critical extensions are not supported")
	case !slices.Contains(k.algs, alg):
		return nil, fmt.Errorf("opening JWE: alg is %s, which this key does not open", shown(alg))
	case enc != k.public.enc:
		return nil, fmt.Errorf("opening JWE: enc is %s, not %s", shown(enc), k.public.enc)
	}
	sealed, err := jose.ParseEncryptedCompact(compact,
		[]jose.KeyAlgorithm{jose.KeyAlgorithm(alg)}, []jose.ContentEncryption{jose.ContentEncryption(enc)})
	if err != nil {
		return nil, errors.New("opening JWE: a header parameter is malformed")
	}
	plaintext, err := sealed.Decrypt(k.private)
	if err != nil {
		return nil, errors.New("opening JWE: it was made for another key, or changed on the way")
	}
	return plaintext, nil
}

// Interface guards
var (
	_ fmt.Stringer   = (*PrivateKey)(nil)
	_ fmt.GoStringer = (*PrivateKey)(nil)
)
