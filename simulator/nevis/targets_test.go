package nevis

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

// signer signs modifications of a target, each under a new request id.
type signer struct {
	*devicekey.SigningKey
	t *testing.T
	n int
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := devicekey.GenerateSigningKey("P-256")
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key, t, 0}
}

// sign signs a change of a target; members that are nil are left out.
func (s *signer) sign(target string, change map[string]any) string {
	s.t.Helper()
	s.n++
	p := map[string]any{
		"requestId": fmt.Sprint("request ", s.n), "dispatchTargetId": target,
		"creationTimeInEpochMillis": time.Now().UnixMilli(), "target": "new",
	}
	maps.Copy(p, change)
	maps.DeleteFunc(p, func(_ string, v any) bool { return v == nil })
	jws, err := s.Sign(encode(p))
	if err != nil {
		s.t.Fatal(err)
	}
	return jws
}

func TestModifyTarget(t *testing.T) {
	c := start(t, Options{})
	key := newSigner(t)
	c.register("taken", "")
	id := c.register("phone", `,"target":"old","signatureKey":`+string(key.JWK()))
	at := func(d time.Duration) map[string]any {
		return map[string]any{"creationTimeInEpochMillis": time.Now().Add(d).UnixMilli()}
	}
	replayed := key.sign(id, map[string]any{"name": "renamed"})
	for _, tt := range []struct {
		name, body string
		want       int
	}{
		{"a good one", replayed, 204},
		{"a replay", replayed, 401},
		{"an old one, within the skew", key.sign(id, at(-4*time.Minute)), 204},
		{"an old one", key.sign(id, at(-6*time.Minute)), 401},
		{"one from the future", key.sign(id, at(6*time.Minute)), 401},
		{"another key", newSigner(t).sign(id, nil), 401},
		{"another target in the payload", key.sign("other", nil), 400},
		{"no target in the payload", key.sign(id, map[string]any{"dispatchTargetId": nil}), 400},
		{"no request id", key.sign(id, map[string]any{"requestId": nil}), 400},
		{"a long request id", key.sign(id, map[string]any{"requestId": strings.Repeat("r", 65)}), 400},
		{"no time", key.sign(id, map[string]any{"creationTimeInEpochMillis": nil}), 400},
		{"a key that is none", key.sign(id, map[string]any{"encryptionKey": "x"}), 400},
		{"a name that is taken", key.sign(id, map[string]any{"name": "taken"}), 422},
		{"a dispatcher of the sidecar", key.sign(id, map[string]any{"dispatcher": "smtp"}), 422},
	} {
		if got := c.do(http.MethodPatch, targetsPath+"/"+id, tt.body, http.Header{"Content-Type": {mediaJOSE}}); got.status != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got.status, tt.want)
		}
	}
	if target, _ := c.Target(id); target.Name != "renamed" || target.Address != "new" || target.Dispatcher != "" {
		t.Errorf("got %+v", target)
	}
	if got := c.do(http.MethodGet, targetsPath+"?username=jeff", "", nil); !strings.Contains(got.body, `{"name":"renamed","id":"`+id+`"}`) {
		t.Errorf("the query answers %s", got.body)
	}
}

func TestDeviceService(t *testing.T) {
	c := start(t, Options{})
	key := newSigner(t)
	first := c.register("first", `,"deviceId":"d1","signatureKey":`+string(key.JWK()))
	second := c.register("second", `,"deviceId":"d1","signatureKey":`+string(key.JWK()))
	other := c.register("other", `,"deviceId":"d2"`)
	for _, tt := range []struct {
		name, method, device, jws string
		want                      int
	}{
		{"modify", http.MethodPatch, "d1", key.sign(second, map[string]any{"name": "a"}), 204},
		{"another device's target", http.MethodPatch, "d1", key.sign(other, nil), 404},
		{"unknown device", http.MethodDelete, "d3", key.sign(first, nil), 404},
		{"a device without key", http.MethodDelete, "d2", key.sign(other, nil), 401},
		{"delete", http.MethodDelete, "d1", key.sign(first, nil), 204},
	} {
		if got := c.do(tt.method, devicePath+tt.device+"/", "", http.Header{"Device-Signature": {tt.jws}}); got.status != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got.status, tt.want)
		}
		if target, ok := c.Target(second); ok && target.Name != "a" {
			t.Errorf("%s: the second target is called %s", tt.name, target.Name)
		}
	}
	for id, want := range map[string]bool{first: false, second: false, other: true} {
		if _, ok := c.Target(id); ok != want {
			t.Errorf("target %s: there is %v, want %v", id, ok, want)
		}
	}
	if got := start(t, Options{Mode: LTS21}).do(http.MethodDelete, devicePath+"d1", "", nil); got.status != http.StatusNotFound {
		t.Errorf("LTS21: got %d", got.status)
	}
}
