package pushservice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// authorize checks who sends (RFC 8292). senderKey is the only key that may,
// "" if any.
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
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return http.StatusUnauthorized, errors.New("t is not a JWT signed with ES256")
	}
	payload, err := signed.Verify(public)
	if err != nil {
		return http.StatusForbidden, errors.New("the signature is wrong")
	}
	return checkClaims(payload, audience, now)
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

func checkClaims(payload []byte, audience string, now time.Time) (status int, err error) {
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	if json.Unmarshal(payload, &claims) != nil {
		return http.StatusUnauthorized, errors.New("the claims cannot be read")
	}
	expires := time.Unix(claims.Exp, 0)
	switch {
	case claims.Aud != audience:
		return http.StatusForbidden, errors.New("aud is not this push service")
	case !expires.After(now) || expires.After(now.Add(24*time.Hour)):
		return http.StatusForbidden, errors.New("exp is over, or more than a day ahead")
	case !strings.HasPrefix(claims.Sub, "mailto:") && !strings.HasPrefix(claims.Sub, "https:"),
		strings.Count(claims.Sub, "mailto:") > 1:
		return http.StatusForbidden, errors.New("sub is not a URL of the scheme mailto or https")
	}
	return 0, nil
}
