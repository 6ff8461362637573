package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tolerance is how old or new a signature may be.
const tolerance = 5 * time.Minute

func decodeSecret(secret string) ([]byte, error) {
	if !strings.HasPrefix(secret, "whsec_") {
		return nil, errors.New("a secret has the form whsec_<base64>")
	}
	key, err := base64.StdEncoding.DecodeString(secret[len("whsec_"):])
	if err != nil {
		return nil, errors.New("a secret has the form whsec_<base64>")
	}
	return key, nil
}

// verify checks a request as the Standard Webhooks specification asks of a
// consumer.
func verify(h http.Header, keys [][]byte, body []byte, now time.Time) error {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	if id == "" || strings.Contains(id, ".") {
		return errors.New("webhook-id is missing, or holds a dot")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("webhook-timestamp is not a number")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age.Abs() > tolerance {
		return errors.New("webhook-timestamp is too far from now")
	}
	for part := range strings.FieldsSeq(h.Get("webhook-signature")) {
		version, encoded, _ := strings.Cut(part, ",")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if version != "v1" || err != nil {
			continue
		}
		for _, key := range keys {
			mac := hmac.New(sha256.New, key)
			_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
			if hmac.Equal(signature, mac.Sum(nil)) {
				return nil
			}
		}
	}
	return errors.New("no signature in webhook-signature is right")
}
