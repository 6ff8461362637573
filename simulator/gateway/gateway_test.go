package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
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

func TestSecretsHaveAForm(t *testing.T) {
	for _, secret := range []string{"", "abc", "whsec_*"} {
		if _, err := Start(Options{Secrets: []string{secret}}); err == nil {
			t.Errorf("%q was taken", secret)
		}
	}
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func post(t *testing.T, s *Server, header http.Header, body string) (status int) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/messages", strings.NewReader(body))
	r.Header = header
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code
}

func TestMessagesAreTakenOnce(t *testing.T) {
	s := start(t, Options{Authorization: "Bearer good"})
	for _, c := range []struct {
		id, authorization string
		status            int
	}{
		{"a", "Bearer good", 202}, {"a", "Bearer good", 202}, {"b", "Bearer bad", 401}, {"c", "Bearer good", 202},
	} {
		if status := post(t, s, http.Header{"Idempotency-Key": {c.id}, "Authorization": {c.authorization}}, c.id); status != c.status {
			t.Errorf("%s: %d", c.id, status)
		}
	}
	if len(s.Requests()) != 4 || len(s.Messages()) != 2 || s.Duplicates() != 1 {
		t.Errorf("%d requests, %d messages, %d duplicates", len(s.Requests()), len(s.Messages()), s.Duplicates())
	}
	for _, id := range []string{"a", "c"} {
		if m, err := s.Wait(t.Context()); err != nil || string(m.Body) != id || m.URI != "/messages" {
			t.Errorf("got %+v, %v", m, err)
		}
	}
}

func TestUnsignedMessagesAreRefused(t *testing.T) {
	s := start(t, Options{Secrets: []string{secret}})
	if status := post(t, s, http.Header{"Webhook-Id": {"x"}}, "{}"); status != http.StatusUnauthorized || len(s.Messages()) != 0 {
		t.Errorf("%d, %d messages", status, len(s.Messages()))
	}
}
