package shortlink

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestHandles(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{24}$`)
	expires := time.Now().Add(2 * time.Minute)
	handles, ids := make(map[string]bool), make(map[string]bool)
	for range 1000 {
		handle := NewHandle(expires)
		id, ok := ID("", handle)
		if !form.MatchString(handle) || !ok || !ValidID(id) {
			t.Fatalf("handle %q has the id %q, %t", handle, id, ok)
		}
		if again, _ := ID("", handle); again != id {
			t.Fatalf("handle %q has the ids %q and %q", handle, id, again)
		}
		if other, _ := ID("tenant", handle); other == id {
			t.Fatalf("handle %q has one id in two namespaces", handle)
		}
		raw, err := base64.RawURLEncoding.DecodeString(handle)
		if err != nil || len(raw) != 18 {
			t.Fatalf("handle %q: %d bytes, %v", handle, len(raw), err)
		}
		handles[string(raw[2:])], ids[id] = true, true
	}
	if len(handles) != 1000 || len(ids) != 1000 {
		t.Errorf("1000 handles have %d random parts and %d ids", len(handles), len(ids))
	}
}

func TestWhatIsNoHandle(t *testing.T) {
	good := NewHandle(time.Now())
	for name, text := range map[string]string{
		"nothing": "", "short": good[1:], "long": good + "A", "padded": good[:22] + "==",
		"standard base64": good[:23] + "/", "dots": "../../../../../../../../", "line break": good[:23] + "\n",
		"only line breaks": strings.Repeat("\n", 24), "NUL": good[:23] + "\x00", "percent": good[:21] + "%41",
		"not ASCII": good[:22] + "é",
	} {
		if id, ok := ID("", text); ok {
			t.Errorf("%s: %q has the id %q", name, text, id)
		}
	}
}

func TestValidID(t *testing.T) {
	good, _ := ID("", NewHandle(time.Now()))
	for id, want := range map[string]bool{
		good: true, "": false, good[1:]: false, good + "0": false, strings.ToUpper(good[:67]) + "A": false,
		"../" + good[3:]: false, good[:67] + "g": false, good[:4] + "/" + good[5:]: false,
	} {
		if ValidID(id) != want {
			t.Errorf("ValidID(%q) is %t", id, !want)
		}
	}
}

func TestPeriods(t *testing.T) {
	expires := time.Date(2026, 11, 23, 14, 30, 0, 0, time.UTC)
	id, _ := ID("", NewHandle(expires))
	period := id[:PeriodDigits]
	for now, want := range map[time.Time]bool{
		expires.Add(-MaxLifetime): false,
		expires:                   false,
		expires.Truncate(time.Hour).Add(time.Hour - 1):    false,
		expires.Truncate(time.Hour).Add(time.Hour):        true,
		expires.Add(MaxLifetime):                          true,
		time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC):    true,
		time.Date(2026, 11, 23, 14, 59, 59, 0, time.UTC):  false,
		time.Date(2026, 11, 23, 13, 59, 59, 99, time.UTC): false,
	} {
		if PeriodOver(period, now) != want {
			t.Errorf("links that expire at %s: over at %s is %t", expires, now, !want)
		}
	}
	for _, text := range []string{"", "..", "../x", "12345", "123", "GGGG", "12 4", strings.ToUpper(period)} {
		if PeriodOver(text, expires.Add(MaxLifetime)) {
			t.Errorf("%q is taken for a period", text)
		}
	}
}
