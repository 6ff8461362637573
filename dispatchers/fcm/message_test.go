package fcm

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func encoded(t *testing.T, f *FCM, m *dispatchers.Message, now time.Time) map[string]any {
	t.Helper()
	body, err := f.encode(m, now)
	if err != nil {
		t.Fatal(err)
	}
	var request struct{ Message map[string]any }
	if err := json.Unmarshal(body, &request); err != nil {
		t.Fatal(err)
	}
	return request.Message
}

// at returns the value at a path of member names.
func at(t *testing.T, tree any, path ...string) any {
	t.Helper()
	for _, name := range path {
		object, ok := tree.(map[string]any)
		if !ok {
			t.Fatalf("no %s", strings.Join(path, "."))
		}
		tree = object[name]
	}
	return tree
}

func TestTimeToLive(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, tt := range map[string]struct {
		ttl        time.Duration
		expires    time.Time
		want, apns string
	}{
		"as long as the token":     {0, now.Add(90*time.Second + 7*time.Millisecond), "90s", "1800000090"},
		"configured":               {time.Hour, now.Add(2 * time.Minute), "3600s", "1800003600"},
		"over already":             {0, now.Add(-time.Minute), "0s", "0"},
		"longer than FCM keeps it": {0, now.AddDate(1, 0, 0), "2419200s", "1802419200"},
	} {
		m := message("phone")
		m.Expires = tt.expires
		got := encoded(t, &FCM{TTL: caddy.Duration(tt.ttl)}, m, now)
		if ttl, expiration := at(t, got, "android", "ttl"), at(t, got, "apns", "headers", "apns-expiration"); ttl != tt.want || expiration != tt.apns {
			t.Errorf("%s: ttl %v and apns-expiration %v, want %s and %s", name, ttl, expiration, tt.want, tt.apns)
		}
	}
}

func TestNotification(t *testing.T) {
	for _, tt := range []struct {
		title, body, operation string
		wantTitle, wantBody    string
	}{
		{"Pay", "now", "", "Pay", "now"},
		{"a\r\nb\x00c\u2028d\u0085e", "x\ty", "", "a  b c d e", "x y"},
		{"Pay", "", "", "Pay", ""},
		{"", "now", "", "", "now"},
		{"", " \n", "authentication", "Please confirm", ""},
		{"", "", "registration", "Please confirm your registration", ""},
		{"", "", "deregistration", "Please confirm the removal of your device", ""},
		{"{env.HOME}", "", "", "{env.HOME}", ""},
		{`","token":"x`, "", "", `","token":"x`, ""},
	} {
		m := dispatcherstest.Message("phone", map[string]string{"oob.notification.title": tt.title, "oob.notification.body": tt.body})
		m.Operation = nevisfido.Operation(tt.operation)
		got := encoded(t, &FCM{Title: defaultTitle, Body: defaultBody}, m, time.Now())
		for _, path := range [][]string{{"notification"}, {"apns", "payload", "aps", "alert"}} {
			title, _ := at(t, got, append(path, "title")...).(string)
			body, _ := at(t, got, append(path, "body")...).(string)
			if title != tt.wantTitle || body != tt.wantBody {
				t.Errorf("%v shows %q and %q, want %q and %q", path, title, body, tt.wantTitle, tt.wantBody)
			}
		}
		if at(t, got, "token") != "phone" {
			t.Error("the address was changed")
		}
	}
}

func TestAddress(t *testing.T) {
	_, err := new(FCM).Dispatch(t.Context(), message("")) // without a service: an attempt to send would panic
	dispatcherstest.WantFailure(t, err, dispatchers.NoTarget, "no_address")
	for _, address := range []string{"canary\nother", "canary\r", "canary\x00", "canary other", "canary\u2028", strings.Repeat("canary", 1000)} {
		_, err := new(FCM).Dispatch(t.Context(), message(address))
		dispatcherstest.WantFailure(t, err, dispatchers.Refused, "bad_address", "canary")
	}
}

func TestSizeLimit(t *testing.T) {
	f := &FCM{}
	m := message("phone")
	frame := payloadSize(m.Envelope.Sealed("").Fields(), "Please confirm", "")
	m.Envelope = m.Envelope.Sealed(strings.Repeat("x", maxPayload-frame))
	if _, err := f.encode(m, time.Now()); err != nil {
		t.Errorf("a message of the largest size: %v", err)
	}
	m.Envelope = m.Envelope.Sealed(strings.Repeat("x", maxPayload-frame+1))
	_, err := f.encode(m, time.Now())
	dispatcherstest.WantFailure(t, err, dispatchers.Refused, "too_big")
}

func TestCollapseKeyFitsApple(t *testing.T) {
	m := message("phone")
	m.ID = strings.Repeat("i", 100)
	got := encoded(t, &FCM{}, m, time.Now())
	if id, _ := at(t, got, "apns", "headers", "apns-collapse-id").(string); len(id) != 64 {
		t.Errorf("apns-collapse-id has %d bytes, want 64", len(id))
	}
}
