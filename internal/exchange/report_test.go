package exchange

import (
	"cmp"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
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
			edit:   func(_ *testing.T, h *harness) { h.edit(func(t *targets.Target) { t.GoneAddress = t.Address }) },
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

// What an operator has to know of a dispatch that failed is in the log, with
// what to change.
func TestLogOfFailures(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(h *harness, push *guest)
		over   string // push by default
		result nevisfido.DispatchResult
		words  []string
	}{
		"no address": {
			set:    func(h *harness, _ *guest) { h.add(Channel{Name: "mail", Type: "smtp"}) },
			over:   "mail",
			result: nevisfido.DispatchTargetNotFound, words: []string{`"level":"warn"`, `"reason":"no_address"`, "option address"},
		},
		"no redeem URL": {
			set:    func(h *harness, _ *guest) { h.upstream.answer = h.dispatched("") },
			result: nevisfido.InternalError, words: []string{`"level":"error"`, "configure redeem_url"},
		},
		"an upstream dispatcher that nevisFIDO does not know": {
			set: func(h *harness, _ *guest) {
				h.UpstreamDispatcher = "our-link"
				h.scriptResult("dispatcherNotFound")
			},
			result: nevisfido.InternalError, words: []string{`"level":"error"`, "our-link", "upstream_dispatcher"},
		},
		"a target that cannot be forgotten": {
			set: func(h *harness, _ *guest) {
				h.scriptResult("dispatchTargetNotFound")
				h.store.SetFault(failAt(kvtest.Write))
			},
			result: nevisfido.DispatchTargetNotFound, words: []string{`"level":"warn"`, "forgetting"},
		},
		"a quarantine that cannot be stored": {
			set: func(h *harness, push *guest) {
				push.fails(dispatchers.Expired)
				h.store.SetFault(failAt(kvtest.Write))
			},
			result: nevisfido.DispatchTargetExpired, words: []string{`"level":"warn"`, "quarantining"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			c.set(h, h.push())
			h.dispatch(cmp.Or(c.over, "push")).wantResult(t, c.result)
			h.wantLog(c.words...)
		})
	}
}

// What is read by a guess about nevisFIDO is told, so that the guess can be
// deleted where it never hits.
func TestGuessesAreTold(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.dispatch("push").wantResult(t, nevisfido.Dispatched)
	if h.seen.guesses != 0 {
		t.Errorf("the documented form is read by the guesses %v", h.seen.guesses)
	}
	body := strings.Replace(h.bodyFor("push", h.targetID), `"dispatchInformation":{"notification":{"title":"Confirm"}}`,
		`"dispatchInformation":"{\"notification\":{\"title\":\"Confirm\"}}"`, 1)
	h.send(newRequest(t, http.MethodPost, authentication, body)).wantResult(t, nevisfido.Dispatched)
	if h.seen.guesses != nevisfido.GuessInformationText {
		t.Errorf("guesses %v", h.seen.guesses)
	}
}
