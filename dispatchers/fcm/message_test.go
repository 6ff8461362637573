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
	tests := []struct {
		name    string
		ttl     time.Duration
		expires time.Time
		want    string
		apns    string
	}{
		{"as long as the token", 0, now.Add(2 * time.Minute), "120s", "1800000120"},
		{"whole seconds", 0, now.Add(90*time.Second + 7*time.Millisecond), "90s", "1800000090"},
		{"configured", time.Hour, now.Add(2 * time.Minute), "3600s", "1800003600"},
		{"unknown end", 0, time.Time{}, "300s", "1800000300"},
		{"over already", 0, now.Add(-time.Minute), "0s", "0"},
		{"longer than FCM keeps it", 0, now.AddDate(1, 0, 0), "2419200s", "1802419200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message("phone")
			m.Expires = tt.expires
			got := encoded(t, &FCM{TTL: caddy.Duration(tt.ttl)}, m, now)
			if ttl := at(t, got, "android", "ttl"); ttl != tt.want {
				t.Errorf("ttl %v, want %s", ttl, tt.want)
			}
			if e := at(t, got, "apns", "headers", "apns-expiration"); e != tt.apns {
				t.Errorf("apns-expiration %v, want %s", e, tt.apns)
			}
		})
	}
}

func TestNotification(t *testing.T) {
	tests := []struct {
		name        string
		title, body string
		operation   nevisfido.Operation
		wantTitle   string
		wantBody    string
	}{
		{"plain", "Pay", "now", nevisfido.Authentication, "Pay", "now"},
		{"control characters", "a\r\nb\x00c\u2028d\u0085e", "x\ty", nevisfido.Authentication, "a  b c d e", "x y"},
		{"title only", "Pay", "", nevisfido.Authentication, "Pay", ""},
		{"body only", "", "now", nevisfido.Authentication, "", "now"},
		{"empty", "", " \n", nevisfido.Authentication, "Please confirm", ""},
		{"empty registration", "", "", nevisfido.Registration, "Please confirm your registration", ""},
		{"empty deregistration", "", "", nevisfido.Deregistration, "Please confirm the removal of your device", ""},
		{"placeholder in a value", "{env.HOME}", "", nevisfido.Authentication, "{env.HOME}", ""},
		{"quotes", `","token":"x`, "", nevisfido.Authentication, `","token":"x`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message("phone")
			m.Operation = tt.operation
			m.Lookup = func(name string) (string, bool) {
				v, ok := map[string]string{"oob.notification.title": tt.title, "oob.notification.body": tt.body}[name]
				return v, ok
			}
			got := encoded(t, &FCM{Title: DefaultTitle, Body: DefaultBody}, m, time.Now())
			for _, path := range [][]string{{"notification"}, {"apns", "payload", "aps", "alert"}} {
				shown, ok := at(t, got, path...).(map[string]any)
				if !ok {
					t.Fatalf("no %v", path)
				}
				title, _ := shown["title"].(string)
				body, _ := shown["body"].(string)
				if title != tt.wantTitle || body != tt.wantBody {
					t.Errorf("%v shows %q and %q, want %q and %q", path, title, body, tt.wantTitle, tt.wantBody)
				}
			}
			if at(t, got, "token") != "phone" {
				t.Error("the address was changed")
			}
		})
	}
}

func TestAddress(t *testing.T) {
	tests := []struct {
		name, address string
		class         dispatchers.Class
		reason        string
	}{
		{"empty", "", dispatchers.NoTarget, "no_address"},
		{"two lines", "canary\nother", dispatchers.Refused, "bad_address"},
		{"carriage return", "canary\r", dispatchers.Refused, "bad_address"},
		{"NUL", "canary\x00", dispatchers.Refused, "bad_address"},
		{"space", "canary other", dispatchers.Refused, "bad_address"},
		{"line separator", "canary\u2028", dispatchers.Refused, "bad_address"},
		{"too long", strings.Repeat("canary", 1000), dispatchers.Refused, "bad_address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// No transport: an attempt to send would panic.
			_, err := new(FCM).Dispatch(t.Context(), message(tt.address))
			e := dispatcherstest.WantFailure(t, err, tt.class, tt.reason)
			if strings.Contains(e.Error(), "canary") {
				t.Errorf("the error %q holds the address", &e)
			}
		})
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
