package exchange

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Whatever comes of a dispatch, the record says whose it was, of which device,
// and why it failed, with hashes of the configured key.
func TestRecordOfEveryOutcome(t *testing.T) {
	hash := keyedhash.New([]byte(strings.Repeat("k", keyedhash.MinSecret)))
	for name, tt := range map[string]struct {
		edit    func(*testing.T, *harness)
		reason  string
		cause   string
		session bool // nevisFIDO has made one
	}{
		"delivered": {session: true},
		"limited": {
			edit: func(_ *testing.T, h *harness) {
				h.Limits = []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: time.Hour}}
				h.dispatch("push")
			},
			reason: "limited", cause: "limit target 1 1h0m0s is reached",
		},
		"quarantined": {
			edit:   func(_ *testing.T, h *harness) { h.edit(func(t *targets.Target) { t.Expired = t.Address }) },
			reason: "quarantined", cause: "the address of the dispatch target is gone",
		},
		"declined": {
			edit: func(_ *testing.T, h *harness) {
				h.upstream.answer = respond(http.StatusOK, `{"sessionId":"session-1","dispatchResult":"dispatchError"}`)
			},
			reason: "upstream_declined", cause: "nevisFIDO did not dispatch", session: true,
		},
		"refused by the channel": {
			edit: func(_ *testing.T, h *harness) {
				failure := dispatchers.Fail(dispatchers.Refused, "too_big", "%s", strings.Repeat("é", 1000))
				h.Channels["push"].Dispatcher.(*guest).do = script(failure)
			},
			reason: "too_big", cause: "ééé", session: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.Hash = hash
			h.push()
			h.Channels["push"].Encryption = Off // so that the delivery does not know the key
			if tt.edit != nil {
				tt.edit(t, h)
			}
			h.dispatch("push")
			h.Wait()
			r := h.seen.records[len(h.seen.records)-1]
			if r.User != hash.Of("user", h.username) || r.Target != hash.Of("target", h.targetID) || r.Thumbprint != h.device.Public().Thumbprint() {
				t.Errorf("whose it was is not told: %+v", r)
			}
			if want := hash.Of("session", "session-1"); (r.Session == want) != tt.session || !tt.session && r.Session != "" {
				t.Errorf("the session is %q", r.Session)
			}
			if r.Reason != tt.reason || !strings.Contains(r.Cause, tt.cause) || (r.Cause == "") != (tt.cause == "") || len(r.Cause) > 400 {
				t.Errorf("%s: %q", r.Reason, r.Cause)
			}
			if n := len(r.Attempts); n > 0 && r.Attempts[n-1].Cause != r.Cause {
				t.Errorf("the attempt failed for %q", r.Attempts[n-1].Cause)
			}
		})
	}
}
