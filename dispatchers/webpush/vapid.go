package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// tokenLifetime is how long a token is good; RFC 8292, section 2, allows a day.
const tokenLifetime = time.Hour

// vapidKey identifies the sender to push services.
type vapidKey struct {
	signer  jose.Signer
	public  string // base64url of the uncompressed point
	subject string
}

// vapidFile is the file that the option vapid names.
type vapidFile struct {
	Subject    string `json:"subject"`
	PublicKey  string `json:"publicKey"`
	PrivateKey string `json:"privateKey"`
}

// NewVAPID makes a VAPID key and returns the content of the file that the
// option vapid names. Its publicKey is the applicationServerKey that the app
// subscribes with. subject is a mailto: or https: URL.
func NewVAPID(subject string) ([]byte, error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	private, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return json.MarshalIndent(vapidFile{subject, encode(public), encode(private)}, "", "\t") //nolint:gosec // this file is where the private key belongs
}

// parseVAPID reads a key file. Errors do not quote it.
func parseVAPID(content []byte) (*vapidKey, error) {
	var file vapidFile
	if json.Unmarshal(content, &file) != nil {
		return nil, errors.New("it is not a JSON object with subject, publicKey and privateKey")
	}
	if err := checkSubject(file.Subject); err != nil {
		return nil, err
	}
	scalar, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(file.PrivateKey, "="))
	if err != nil {
		return nil, errors.New("its privateKey is not base64url")
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return nil, errors.New("its privateKey is not one of P-256 (32 bytes)")
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, errors.New("its privateKey has no public key")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, errors.New("its privateKey cannot sign")
	}
	v := &vapidKey{signer: signer, public: base64.RawURLEncoding.EncodeToString(public), subject: file.Subject}
	if strings.TrimRight(file.PublicKey, "=") != v.public {
		return nil, errors.New("its publicKey does not belong to its privateKey")
	}
	return v, nil
}

// checkSubject: Apple refuses senders whose subject is not such a URL.
func checkSubject(subject string) error {
	u, err := url.Parse(subject)
	if err == nil && u.Scheme == "https" && u.Host != "" {
		return nil
	}
	if err == nil && u.Scheme == "mailto" {
		if address, err := mail.ParseAddress(u.Opaque); err == nil && address.Address == u.Opaque {
			return nil
		}
	}
	return errors.New("its subject is neither mailto:<address> nor an https URL; write it such as mailto:ops@example.com, without spaces and angle brackets")
}

// unreachable are the top-level names of hosts that nobody else reaches (RFC
// 2606, RFC 6762 and RFC 9476), which Apple refuses in a subject.
var unreachable = []string{"localhost", "local", "internal", "invalid", "test", "example"}

// reachable reports whether the host of a subject can be one of the internet.
func reachable(subject string) bool {
	u, err := url.Parse(subject)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if u.Scheme == "mailto" {
		host = u.Opaque[strings.LastIndexByte(u.Opaque, '@')+1:]
	}
	host = strings.ToLower(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		return public(addr)
	}
	dot := strings.LastIndexByte(host, '.')
	return dot > 0 && !slices.Contains(unreachable, host[dot+1:])
}

// authorization returns the header of that name for requests to a push
// service (RFC 8292, section 3).
func (v *vapidKey) authorization(endpoint *url.URL, now time.Time) (string, error) {
	token, err := jwt.Signed(v.signer).Claims(map[string]any{
		"aud": endpoint.Scheme + "://" + endpoint.Host, "exp": now.Add(tokenLifetime).Unix(), "sub": v.subject,
	}).Serialize()
	return "vapid t=" + token + ", k=" + v.public, err
}
