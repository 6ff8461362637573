package pushservice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// authorize checks who sends (RFC 8292); the status is for an error. senderKey
// is the only key that may, "" if any.
func authorize(header, audience, senderKey string, now time.Time) (status int, err error) {
	if header == "" && senderKey == "" {
		return 0, nil
	}
	token, key, err := credentials(header)
	if err != nil {
		return http.StatusUnauthorized, err
	}
	if senderKey != "" && key != senderKey {
		return http.StatusForbidden, errors.New("the subscription is another sender's")
	}
	point, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		return http.StatusUnauthorized, errors.New("k is not base64url")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return http.StatusUnauthorized, errors.New("k is not a P-256 key")
	}
	signed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return http.StatusUnauthorized, errors.New("t is not a JWT signed with ES256")
	}
	var claims jwt.Claims
	if err := signed.Claims(public, &claims); err != nil {
		return http.StatusForbidden, errors.New("the signature is wrong, or the claims cannot be read")
	}
	return http.StatusForbidden, checkClaims(claims, audience, now)
}

// credentials takes the header Authorization of the scheme vapid apart.
func credentials(header string) (token, key string, err error) {
	scheme, params, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "vapid") {
		return "", "", errors.New("the scheme is not vapid")
	}
	for param := range strings.SplitSeq(params, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		switch name {
		case "t":
			token = value
		case "k":
			key = value
		}
	}
	if token == "" || key == "" {
		return "", "", errors.New("t or k is missing")
	}
	return token, key, nil
}

func checkClaims(c jwt.Claims, audience string, now time.Time) error {
	switch {
	case !slices.Equal(c.Audience, jwt.Audience{audience}):
		return errors.New("aud is not this push service")
	case !c.Expiry.Time().After(now) || c.Expiry.Time().After(now.Add(24*time.Hour)):
		return errors.New("exp is over, or more than a day ahead")
	case !strings.HasPrefix(c.Subject, "mailto:") && !strings.HasPrefix(c.Subject, "https:"),
		strings.Count(c.Subject, "mailto:") > 1:
		return errors.New("sub is not a URL of the scheme mailto or https")
	}
	return nil
}
