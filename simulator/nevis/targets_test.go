package nevis

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

const targetsPath = "/nevisfido/token/dispatch/targets"

func TestCreateTarget(t *testing.T) {
	s, c := start(t, Options{Users: []string{"jeff", "anna"}})
	c.register("taken", "")
	tests := []struct {
		name, body string
		want       int
	}{
		{"everything", `{"username":"jeff","deviceId":"d","name":"all","target":"push","dispatcher":"link","encryptionKey":{"kty":"RSA"},"signatureKey":"{\"kty\":\"EC\"}"}`, 201},
		{"the least", `{"username":"jeff","name":"least"}`, 201},
		{"a name that another user has", `{"username":"anna","name":"taken"}`, 201},
		{"no username", `{"name":"x"}`, 400},
		{"no name", `{"username":"jeff"}`, 400},
		{"a key that is no JWK", `{"username":"jeff","name":"x","encryptionKey":{}}`, 400},
		{"a key that is no JSON", `{"username":"jeff","name":"x","encryptionKey":"MIIB"}`, 400},
		{"an address of another type", `{"username":"jeff","name":"x","target":[]}`, 400},
		{"not JSON", `username=jeff`, 400},
		{"unknown user", `{"username":"mallory","name":"x"}`, 403},
		{"duplicate name", `{"username":"jeff","name":"taken"}`, 422},
		{"unknown dispatcher", `{"username":"jeff","name":"x","dispatcher":"smtp"}`, 422},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &client{t, c.address}
			got := c.post(targetsPath, tt.body)
			if got.status != tt.want {
				t.Fatalf("got %d, want %d", got.status, tt.want)
			}
			if tt.want == http.StatusCreated {
				id := c.text(got.members, "id")
				if stored, ok := s.Target(id); !ok || stored.ExtID != c.text(got.members, "extId") {
					t.Error("the target is not there")
				}
			}
		})
	}
}

func TestQueryTargets(t *testing.T) {
	_, c := start(t, Options{Users: []string{"jeff", "anna"}})
	first := c.register("first", `,"dispatcher":"link","target":"secret","encryptionKey":{"kty":"RSA"}`)
	c.register("second", "")
	for query, want := range map[string]int{"": 400, "?username=": 400, "?username=mallory": 403, "?username=anna": 404, "/?username=jeff": 200} {
		if got := c.do(http.MethodGet, targetsPath+query, "", nil); got.status != want {
			t.Errorf("%q: got %d, want %d", query, got.status, want)
		}
	}
	got := c.do(http.MethodGet, targetsPath+"?username=jeff", "", nil)
	prefix := `{"dispatchTargets":[{"name":"first","id":"` + first + `","dispatcher":"link"},{"name":"second"`
	if !strings.HasPrefix(got.body, prefix) || strings.Contains(got.body, "secret") || strings.Contains(got.body, "kty") {
		t.Errorf("got %s", got.body)
	}
}

func TestDeleteTarget(t *testing.T) {
	s, c := start(t, Options{})
	id := c.register("phone", "")
	for i, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		if got := c.do(http.MethodDelete, targetsPath+"/"+id+"/", "", nil); got.status != want {
			t.Errorf("call %d: got %d, want %d", i+1, got.status, want)
		}
	}
	if _, ok := s.Target(id); ok {
		t.Error("the target is still there")
	}
	c.register("phone", "") // the name is free again
}

// signed makes the JWS of a modification.
func signed(t *testing.T, key *devicekey.SigningKey, payload map[string]any) string {
	t.Helper()
	text, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := key.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func signingKey(t *testing.T) *devicekey.SigningKey {
	t.Helper()
	key, err := devicekey.GenerateSigningKey("P-256")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestModifyTarget(t *testing.T) {
	clock := newClock()
	s, c := start(t, Options{Now: clock.now})
	key := signingKey(t)
	c.register("taken", "")
	id := c.register("phone", `,"target":"old","signatureKey":`+string(key.JWK()))
	unsigned := c.register("unsigned", "")

	requests := 0
	payload := func(change map[string]any) map[string]any {
		requests++
		p := map[string]any{
			"requestId": fmt.Sprintf("request %d", requests), "dispatchTargetId": id,
			"creationTimeInEpochMillis": clock.at.UnixMilli(), "target": "new",
		}
		for name, value := range change {
			if p[name] = value; value == nil {
				delete(p, name)
			}
		}
		return p
	}
	at := func(d time.Duration) map[string]any {
		return map[string]any{"creationTimeInEpochMillis": clock.at.Add(d).UnixMilli()}
	}
	sign := func(change map[string]any) string { return signed(t, key, payload(change)) }
	replayed := sign(map[string]any{"name": "renamed"})

	tests := []struct {
		name, id, media, body string
		want                  int
	}{
		{"a good one", id, "application/jose;charset=UTF-8", replayed, 204},
		{"a replay", id, mediaJOSE, replayed, 401},
		{"an old one, within the skew", id, mediaJOSE, sign(at(-5 * time.Minute)), 204},
		{"an old one", id, mediaJOSE, sign(at(-5*time.Minute - time.Second)), 401},
		{"one from the future", id, mediaJOSE, sign(at(6 * time.Minute)), 401},
		{"another key", id, mediaJOSE, signed(t, signingKey(t), payload(nil)), 401},
		{"a target without key", unsigned, mediaJOSE, sign(map[string]any{"dispatchTargetId": unsigned}), 401},
		{"another target in the payload", id, mediaJOSE, sign(map[string]any{"dispatchTargetId": unsigned}), 400},
		{"no target in the payload", id, mediaJOSE, sign(map[string]any{"dispatchTargetId": nil}), 400},
		{"no request id", id, mediaJOSE, sign(map[string]any{"requestId": nil}), 400},
		{"a long request id", id, mediaJOSE, sign(map[string]any{"requestId": strings.Repeat("r", 65)}), 400},
		{"no time", id, mediaJOSE, sign(map[string]any{"creationTimeInEpochMillis": nil}), 400},
		{"a key that is none", id, mediaJOSE, sign(map[string]any{"encryptionKey": "x"}), 400},
		{"no JWS", id, mediaJOSE, `{"name":"x"}`, 400},
		{"unknown target", "gone", mediaJOSE, sign(nil), 404},
		{"JSON", id, mediaJSON, sign(nil), 415},
		{"a name that is taken", id, mediaJOSE, sign(map[string]any{"name": "taken"}), 422},
		{"a dispatcher of the sidecar", id, mediaJOSE, sign(map[string]any{"dispatcher": "smtp"}), 422},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &client{t, c.address}
			got := c.do(http.MethodPatch, targetsPath+"/"+tt.id, tt.body, http.Header{"Content-Type": {tt.media}})
			if got.status != tt.want {
				t.Errorf("got %d, want %d", got.status, tt.want)
			}
		})
	}
	if target, _ := s.Target(id); target.Name != "renamed" || target.Address != "new" || target.Dispatcher != "" {
		t.Errorf("got %+v", target)
	}
}

func TestNewAddressRevivesAnExpiredTarget(t *testing.T) {
	s, c := start(t, Options{})
	key := signingKey(t)
	id := c.register("phone", `,"dispatcher":"link","signatureKey":`+string(key.JWK()))
	s.Expire(id)
	jws := signed(t, key, map[string]any{"requestId": "1", "dispatchTargetId": id, "creationTimeInEpochMillis": time.Now().UnixMilli(), "target": "fresh"})
	if got := c.do(http.MethodPatch, targetsPath+"/"+id, jws, http.Header{"Content-Type": {mediaJOSE}}); got.status != http.StatusNoContent {
		t.Fatalf("got %d", got.status)
	}
	got := c.post(dispatchAuth, authBody(`"dispatchTargetId":"`+id+`"`))
	if result := c.text(got.members, "dispatchResult"); result != "dispatched" {
		t.Errorf("got %s", result)
	}
}

func TestDeviceService(t *testing.T) {
	s, c := start(t, Options{})
	key := signingKey(t)
	member := `,"deviceId":"d1","signatureKey":` + string(key.JWK())
	first, second := c.register("first", member), c.register("second", member)
	other := c.register("other", `,"deviceId":"d2"`)
	call := func(method, device, jws string) int {
		return c.do(method, "/nevisfido/devices/credentials/"+device+"/", "", http.Header{"Device-Signature": {jws}}).status
	}
	sign := func(requestID, target string) string {
		return signed(t, key, map[string]any{"requestId": requestID, "dispatchTargetId": target, "creationTimeInEpochMillis": time.Now().UnixMilli(), "name": requestID})
	}
	if got := call(http.MethodPatch, "d1", sign("a", second)); got != http.StatusNoContent {
		t.Errorf("modifying: got %d", got)
	}
	if target, _ := s.Target(second); target.Name != "a" {
		t.Errorf("the second target is called %s", target.Name)
	}
	for name, got := range map[string]int{
		"another device's target": call(http.MethodPatch, "d1", sign("b", other)),
		"unknown device":          call(http.MethodDelete, "d3", sign("c", first)),
	} {
		if got != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", name, got)
		}
	}
	if got := call(http.MethodDelete, "d2", sign("d", other)); got != http.StatusUnauthorized {
		t.Errorf("a device without key: got %d, want 401", got)
	}
	if got := call(http.MethodDelete, "d1", sign("e", first)); got != http.StatusNoContent {
		t.Errorf("deleting: got %d", got)
	}
	for id, want := range map[string]bool{first: false, second: false, other: true} {
		if _, ok := s.Target(id); ok != want {
			t.Errorf("target %s: there is %v, want %v", id, ok, want)
		}
	}
}
