package webpush

import (
	"cmp"
	"crypto/ecdh"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/anybase64"
)

// maxAddress bounds a subscription, in bytes.
const maxAddress = 4096

// subscription is where to send and for whom to encrypt.
type subscription struct {
	endpoint *url.URL
	key      *ecdh.PublicKey // p256dh
	auth     []byte
}

// subscription reads an address. The errors do not quote it.
func (p *WebPush) subscription(address string, now time.Time) (*subscription, error) {
	if address == "" {
		return nil, dispatchers.Fail(dispatchers.NoTarget, dispatchers.ReasonNoAddress, "the target has no push subscription")
	}
	var content struct {
		Endpoint string `json:"endpoint"`
		Keys     struct {
			P256DH string `json:"p256dh"`
			Auth   string `json:"auth"`
		} `json:"keys"`
		ExpirationTime *float64 `json:"expirationTime"` // milliseconds since 1970
	}
	if len(address) > maxAddress || json.Unmarshal([]byte(address), &content) != nil {
		return nil, badAddress("it is not the JSON of a push subscription")
	}
	if t := content.ExpirationTime; t != nil && *t <= float64(now.UnixMilli()) {
		return nil, dispatchers.Fail(dispatchers.Expired, reasonExpired, "the expirationTime of the target's push subscription is over")
	}
	s := &subscription{}
	point, err := anybase64.DecodeKey(content.Keys.P256DH)
	if err == nil {
		s.key, err = ecdh.P256().NewPublicKey(point)
	}
	if err != nil {
		return nil, badAddress("p256dh is not a P-256 public key in base64url")
	}
	s.auth, err = anybase64.DecodeKey(content.Keys.Auth)
	if err != nil || len(s.auth) != 16 {
		return nil, badAddress("auth is not 16 bytes in base64url")
	}
	s.endpoint, err = url.Parse(content.Endpoint)
	if err != nil || s.endpoint.Scheme != "https" || s.endpoint.User != nil || s.endpoint.Fragment != "" {
		return nil, badAddress("endpoint is not an https URL")
	}
	host, port := strings.ToLower(s.endpoint.Hostname()), cmp.Or(s.endpoint.Port(), httpsPort)
	if s.endpoint.Host = host; port != httpsPort {
		s.endpoint.Host = net.JoinHostPort(host, port)
	}
	if !p.allows(host, port) {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonEndpointNotAllowed,
			"the target's push service is none of those in the option allow")
	}
	return s, nil
}

func badAddress(what string) error {
	return dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonBadAddress, "the target's address is not a push subscription: %s", what)
}
