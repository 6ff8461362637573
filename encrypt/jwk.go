package encrypt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"unicode"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

const (
	maxJWK         = 16 << 10 // bytes
	maxKeyID       = 256      // bytes
	publicExponent = 65537
	keyTypeRSA     = "RSA"
	keyTypeEC      = "EC"
	keyTypeOKP     = "OKP"
	curveEd25519   = "Ed25519"
)

// privateMembers are those of RSA, EC, OKP, oct and AKP keys.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// meaningful are the members that must not come in another letter case, which
// a laxer parser down the line might take for them.
var meaningful = append([]string{
	"kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y", "keys",
}, privateMembers...)

// curves are the ones a JWK may name in crv for kty EC.
var curves = map[string]elliptic.Curve{
	"P-256": elliptic.P256(),
	"P-384": elliptic.P384(),
	"P-521": elliptic.P521(),
}

// usage is what a key is wanted for: the use, and for each family of keys the
// operations (one of which key_ops has to hold) and algorithms. The first
// algorithm is the default.
type usage struct {
	use        string
	operations []string
	// emptyOperations lets an empty key_ops pass for EC keys: Web Crypto
	// exports public ECDH keys so.
	emptyOperations bool
	algorithms      map[string][]string
}

// publicJWK holds the members that are kept, in the order they are printed.
type publicJWK struct {
	Type  string `json:"kty"`
	Use   string `json:"use,omitempty"`
	Alg   string `json:"alg,omitempty"`
	ID    string `json:"kid,omitempty"`
	N     string `json:"n,omitempty"`
	E     string `json:"e,omitempty"`
	Curve string `json:"crv,omitempty"`
	X     string `json:"x,omitempty"`
	Y     string `json:"y,omitempty"`
}

// family is the key of usage.algorithms.
func (j publicJWK) family() string {
	if j.Type == keyTypeRSA {
		return j.Type
	}
	return j.Type + " " + j.Curve
}

func (j publicJWK) marshal() []byte {
	data, _ := json.Marshal(j) // strings alone
	return data
}

// jwk is a JWK object that was read strictly. A member that is null counts as
// absent: phones write what they do not have so.
type jwk struct{ strictjson.Value }

func (m jwk) has(name string) bool    { return m.Member(name).Exists() }
func (m jwk) text(name string) string { return m.Member(name).Text() }

// readJWK parses a JWK object, or a JSON string that holds one.
func readJWK(data []byte) (jwk, error) {
	if len(data) > maxJWK {
		return jwk{}, refuse(ReasonTooLarge, "the JWK is longer than %d bytes", maxJWK)
	}
	value, err := strictjson.Parse(data)
	if err == nil && value.Kind() == '"' {
		value, err = strictjson.Parse([]byte(value.Text()))
	}
	switch {
	case err != nil:
		return jwk{}, refuse(ReasonMalformed, "reading the JWK: %v", err)
	case value.Kind() != '{':
		return jwk{}, refuse(ReasonMalformed, "reading the JWK: not a JSON object")
	}
	if err := value.RefuseVariants(meaningful...); err != nil {
		return jwk{}, refuse(ReasonMalformed, "reading the JWK: %v", err)
	}
	m := jwk{value}
	if m.has("keys") {
		return jwk{}, refuse(ReasonMalformed, "a JWK set stands where one JWK is expected")
	}
	return m, nil
}

// vetPublic parses and checks a public key. What it does not name in its
// result is dropped; x5u, x5c, jku and the like are neither read nor followed.
func vetPublic(data []byte, u usage, minRSABits int) (publicJWK, crypto.PublicKey, error) {
	m, err := readJWK(data)
	if err != nil {
		return publicJWK{}, nil, err
	}
	for _, name := range privateMembers {
		if m.has(name) {
			return publicJWK{}, nil, refuse(ReasonPrivateMembers, "the JWK holds the private or symmetric member %q", name)
		}
	}
	j := publicJWK{Type: m.text("kty"), Use: m.text("use"), Alg: m.text("alg"), ID: m.text("kid")}
	if j.Type != keyTypeRSA {
		j.Curve = m.text("crv")
	}
	if err := m.vetUsage(j, u); err != nil {
		return publicJWK{}, nil, err
	}
	var key crypto.PublicKey
	switch j.Type {
	case keyTypeRSA:
		key, err = m.rsaKey(minRSABits)
	case keyTypeEC:
		key, err = m.ecKey(curves[j.Curve])
	default:
		key, err = m.edKey()
	}
	if err != nil {
		return publicJWK{}, nil, err
	}
	// The numbers are written anew, as a key has one thumbprint only in the
	// canonical form (RFC 7638 section 3.3).
	canonical := publicMembers(key)
	canonical.Use, canonical.Alg, canonical.ID = j.Use, j.Alg, j.ID
	return canonical, key, nil
}

// vetUsage checks everything but the numbers.
func (m jwk) vetUsage(j publicJWK, u usage) error {
	if j.Type == "" {
		return refuse(ReasonMalformed, `member "kty" is missing or not a string`)
	}
	algorithms := u.algorithms[j.family()]
	switch {
	case algorithms == nil && j.Type == keyTypeEC:
		return refuse(ReasonCurve, `curve "crv" %s is not P-256, P-384 or P-521`, shown(j.Curve))
	case algorithms == nil:
		return refuse(ReasonUnsupportedType, `keys of "kty" %s are not supported for use %q`, shown(j.Type), u.use)
	case m.has("use") && j.Use != u.use:
		return refuse(ReasonWrongUse, "use is %s, not %q", shown(j.Use), u.use)
	case m.has("alg") && !slices.Contains(algorithms, j.Alg):
		return refuse(ReasonWrongAlgorithm, "alg is %s, not %s", shown(j.Alg), strings.Join(algorithms, " or "))
	case len(j.ID) > maxKeyID:
		return refuse(ReasonTooLarge, "kid is longer than %d bytes", maxKeyID)
	case m.has("kid") && (j.ID == "" || strings.ContainsFunc(j.ID, unicode.IsControl)):
		return refuse(ReasonMalformed, "kid is empty, not a string, or holds control characters")
	}
	return m.vetOperations(j, u)
}

func (m jwk) vetOperations(j publicJWK, u usage) error {
	if !m.has("key_ops") {
		return nil
	}
	list := m.Member("key_ops")
	if list.Kind() != '[' {
		return refuse(ReasonMalformed, "key_ops is not a list of strings")
	}
	var operations []string
	var fits bool
	for _, element := range list.Children() {
		if element.Kind() != '"' {
			return refuse(ReasonMalformed, "key_ops is not a list of strings")
		}
		op := element.Text()
		if slices.Contains(operations, op) { // RFC 7517 section 4.3
			return refuse(ReasonWrongOperations, "key_ops names an operation twice")
		}
		operations = append(operations, op)
		derives := op == "deriveKey" || op == "deriveBits"
		fits = fits || slices.Contains(u.operations, op) && (!derives || j.Type == keyTypeEC)
	}
	if len(operations) == 0 && u.emptyOperations && j.Type == keyTypeEC {
		return nil
	}
	if !fits {
		return refuse(ReasonWrongOperations, "key_ops does not hold %s", strings.Join(u.operations, " or "))
	}
	return nil
}

// octets decodes a member that holds base64url.
func (m jwk) octets(name string) ([]byte, error) {
	text := m.text(name)
	if text == "" {
		return nil, refuse(ReasonMalformed, "member %q is missing, empty or not a string", name)
	}
	if !isBase64URL(text) {
		return nil, refuse(ReasonMalformed, "member %q is not base64url without padding", name)
	}
	return base64URL.DecodeString(text)
}

// number decodes a member that holds a Base64urlUInt and returns its octets
// without leading zeros. RFC 7518 section 2 has none, but Java's BigInteger
// writes a sign byte: to take it off does not change the number.
func (m jwk) number(name string) ([]byte, error) {
	octets, err := m.octets(name)
	if err != nil {
		return nil, err
	}
	return bytes.TrimLeft(octets, "\x00"), nil
}

func (m jwk) rsaKey(minBits int) (*rsa.PublicKey, error) {
	modulus, err := m.number("n")
	if err != nil {
		return nil, err
	}
	exponent, err := m.number("e")
	if err != nil {
		return nil, err
	}
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	// Sizes first: what follows costs more with every bit.
	switch bits := n.BitLen(); {
	case bits != 2048 && bits != 3072 && bits != 4096:
		return nil, refuse(ReasonRSASize, `the RSA modulus "n" has %d bits, not 2048, 3072 or 4096`, bits)
	case bits < minBits:
		return nil, refuse(ReasonRSASize, `the RSA modulus "n" has %d bits, the key policy asks for %d`, bits, minBits)
	case e.Cmp(big.NewInt(publicExponent)) != 0:
		return nil, refuse(ReasonRSAExponent, `the RSA exponent "e" is not %d`, publicExponent)
	}
	if weakness := modulusWeakness(n); weakness != "" {
		return nil, refuse(ReasonRSAWeakModulus, `member "n": %s`, weakness)
	}
	return &rsa.PublicKey{N: n, E: publicExponent}, nil
}

func (m jwk) ecKey(curve elliptic.Curve) (*ecdsa.PublicKey, error) {
	size := coordinateSize(curve)
	point := []byte{4} // uncompressed, SEC 1 section 2.3.3
	for _, name := range []string{"x", "y"} {
		octets, err := m.number(name)
		if err != nil {
			return nil, err
		}
		if len(octets) > size {
			return nil, refuse(ReasonMalformed, "coordinate %q has %d bytes, not %d", name, len(octets), size)
		}
		point = append(point, make([]byte, size-len(octets))...)
		point = append(point, octets...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, refuse(ReasonNotOnCurve, `the coordinates "x" and "y" are not a point of curve %s`, curve.Params().Name)
	}
	return key, nil
}

func (m jwk) edKey() (ed25519.PublicKey, error) {
	octets, err := m.octets("x")
	if err != nil {
		return nil, err
	}
	if len(octets) != ed25519.PublicKeySize {
		return nil, refuse(ReasonMalformed, `member "x" has %d bytes, not %d`, len(octets), ed25519.PublicKeySize)
	}
	return octets, nil
}

func coordinateSize(curve elliptic.Curve) int {
	return (curve.Params().BitSize + 7) / 8
}

// publicMembers writes a public key of vetPublic as JWK.
func publicMembers(key crypto.PublicKey) publicJWK {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return publicJWK{
			Type: keyTypeRSA,
			N:    base64URL.EncodeToString(k.N.Bytes()),
			E:    base64URL.EncodeToString(big.NewInt(int64(k.E)).Bytes()),
		}
	case *ecdsa.PublicKey:
		point, _ := k.Bytes() // it is on the curve
		size := coordinateSize(k.Curve)
		return publicJWK{
			Type:  keyTypeEC,
			Curve: k.Params().Name,
			X:     base64URL.EncodeToString(point[1 : 1+size]),
			Y:     base64URL.EncodeToString(point[1+size:]),
		}
	case ed25519.PublicKey:
		return publicJWK{Type: keyTypeOKP, Curve: curveEd25519, X: base64URL.EncodeToString(k)}
	}
	return publicJWK{}
}
