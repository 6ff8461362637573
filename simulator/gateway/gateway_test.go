package gateway

import (
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// The example of the Standard Webhooks specification.
func TestVerify(t *testing.T) {
	const (
		id        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
		body      = `{"test": 2432232314}`
		signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		seconds   = 1614265330
	)
	key, err := decodeSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id, stamp, signature, body string
		now                        int64
		ok                         bool
	}{
		"as signed":        {id, "1614265330", signature, body, seconds, true},
		"one of several":   {id, "1614265330", "v2,x v1,AAAA " + signature, body, seconds, true},
		"4 minutes old":    {id, "1614265330", signature, body, seconds + 240, true},
		"6 minutes old":    {id, "1614265330", signature, body, seconds + 360, false},
		"from the future":  {id, "1614265330", signature, body, seconds - 360, false},
		"another id":       {"msg_other", "1614265330", signature, body, seconds, false},
		"another time":     {id, "1614265331", signature, body, seconds, false},
		"no time":          {id, "", signature, body, seconds, false},
		"another body":     {id, "1614265330", signature, body + " ", seconds, false},
		"no signature":     {id, "1614265330", "", body, seconds, false},
		"another version":  {id, "1614265330", "v2" + signature[2:], body, seconds, false},
		"no id":            {"", "1614265330", signature, body, seconds, false},
		"a dot in the id":  {id + ".", "1614265330", signature, body, seconds, false},
		"broken signature": {id, "1614265330", signature[:10], body, seconds, false},
	} {
		h := http.Header{}
		h.Set("webhook-id", c.id)
		h.Set("webhook-timestamp", c.stamp)
		h.Set("webhook-signature", c.signature)
		if err := verify(h, [][]byte{key}, []byte(c.body), time.Unix(c.now, 0)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
