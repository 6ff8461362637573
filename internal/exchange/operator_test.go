package exchange

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func (h *harness) block() {
	h.tb.Helper()
	if _, err := h.Targets.Block(h.tb.Context(), h.targetID); err != nil {
		h.tb.Fatal(err)
	}
}

// A blocked target gets nothing over any channel, nevisFIDO is not asked, and the
// caller learns no more than that.
func TestBlockedTarget(t *testing.T) {
	for _, dispatcher := range []string{"push", "link", "clear", "all", ""} {
		t.Run("over "+dispatcher, func(t *testing.T) {
			h := newHarness(t)
			push, link := h.push(), h.link(Required)
			inClear := h.add(Channel{Name: "clear", Type: "letter", Encryption: Off, Address: "Main Street 1"})
			h.compose("all", firstOf("push", "link"))
			h.block()
			h.dispatch(dispatcher).wantResult(t, nevisfido.DispatchError)
			if len(push.messages())+len(link.messages())+len(inClear.messages()) != 0 {
				t.Error("something was sent")
			}
			if len(h.upstream.calls()) != 0 {
				t.Error("nevisFIDO was asked")
			}
			if r := h.seen.one(t); r.Reason != "blocked" || r.Class != dispatchers.Refused || r.Thumbprint == "" {
				t.Errorf("the record is %+v", r)
			}
			h.wantLog(`"reason":"blocked"`)
			if _, err := h.Targets.Unblock(t.Context(), h.targetID); err != nil {
				t.Fatal(err)
			}
			h.dispatch(dispatcher).wantResult(t, nevisfido.Dispatched)
		})
	}
}

func TestObservedDispatchToABlockedTarget(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.ObserveOnly = true
	h.block()
	h.dispatch("push")
	if r := h.seen.one(t); r.Result != Observed || r.Reason != "blocked" || len(h.upstream.calls()) != 1 {
		t.Errorf("the record is %+v", r)
	}
}

// test sends a test dispatch for the known target.
func (h *harness) test(dispatcher, target string) (Record, error) {
	return h.exchange().Send(newRequest(h.tb, http.MethodGet, "/", ""), nevisfido.Authentication, dispatcher, target)
}

// A test goes the way of any dispatch, without nevisFIDO.
func TestSend(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	h.RedeemURL = redeemURL
	r, err := h.test("push", h.targetID)
	if err != nil || !r.Test || r.Result != nevisfido.Dispatched || r.Delivered != "push" || r.Encryption != "sealed" || len(r.Attempts) != 1 || r.Thumbprint != h.device.Public().Thumbprint() {
		t.Fatalf("the record is %+v, error %v", r, err)
	}
	if seen := h.seen.one(t); !seen.Test {
		t.Errorf("the observer was told of %+v", seen)
	}
	if len(h.upstream.calls()) != 0 {
		t.Error("nevisFIDO was asked")
	}
	m := g.one(t)
	content := open(t, h.device, m)
	if string(content.Member("test")) != "true" || content.RedeemURL != redeemURL+"/authentication" || len(content.Token) != 32 {
		t.Errorf("the device got %s", content.JSON())
	}
	if m.Address != h.pushToken {
		t.Errorf("it went to %q", m.Address)
	}
	h.wantLog(`"test":true`)
	if _, err := h.test("push", h.targetID); err != nil {
		t.Fatal(err)
	}
	if again := open(t, h.device, g.messages()[1]); again.Token == content.Token {
		t.Error("two tests have one token")
	}
}

func TestSendRefuses(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	if _, err := h.test("pigeon", h.targetID); !errors.Is(err, ErrNoDispatcher) {
		t.Errorf("an unknown dispatcher: %v", err)
	}
	if _, err := h.test("push", "nobody"); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("an unknown target: %v", err)
	}
	for reason, set := range map[string]func(){
		"blocked":     func() { h.block() },
		"quarantined": func() { h.edit(func(r *targets.Target) { r.GoneAddress, r.Blocked = r.Address, time.Time{} }) },
		"no_key": func() {
			h.edit(func(r *targets.Target) { r.GoneAddress, r.EncryptionKey, r.Thumbprint = "", nil, "" })
		},
		"operation": func() {
			h.register("push", h.device)
			h.Channels["push"].Operations = []nevisfido.Operation{nevisfido.Registration}
		},
		"limited": func() {
			h.register("push", h.device)
			h.Channels["push"].Operations = nil
			h.Channels["push"].Limits = []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: time.Hour}}
			h.edit(func(r *targets.Target) { r.EncryptionKey, r.Thumbprint = nil, "" })
			_, _ = h.test("push", h.targetID)
		},
	} {
		h.register("push", h.device)
		h.Channels["push"].Operations, h.Channels["push"].Limits = nil, nil
		h.edit(func(r *targets.Target) { r.Blocked = time.Time{} })
		set()
		if r, err := h.test("push", h.targetID); err != nil || r.Reason != reason || !r.Test {
			t.Errorf("%s: the record is %+v, error %v", reason, r, err)
		}
	}
	if len(g.messages()) != 0 {
		t.Error("something was sent")
	}
}

// The report has what every member did, those too that go on after the first has
// delivered.
func TestSendThroughComposites(t *testing.T) {
	h := newHarness(t)
	push := h.push()
	h.link(Required)
	h.compose("first", composite{[]string{"push", "link"}, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
		receipt, err := deliver(ctx, d, "link")
		receipt.Rest = func() { _, _ = deliver(ctx, d, "push") }
		return receipt, err
	}})
	h.compose("either", firstOf("push", "link"))
	r, err := h.test("first", h.targetID)
	if err != nil || r.Delivered != "link" || len(r.Attempts) != 2 || len(push.messages()) != 1 {
		t.Errorf("the record is %+v, error %v", r, err)
	}
	push.fails(dispatchers.Broken)
	r, err = h.test("either", h.targetID)
	if err != nil || r.Delivered != "link" || len(r.Attempts) != 2 || r.Class != dispatchers.Delivered {
		t.Errorf("the record is %+v, error %v", r, err)
	}
	if text := string(toJSON(t, r)); strings.Contains(text, h.pushToken) || strings.Contains(text, h.targetID) {
		t.Errorf("the record is %s", text)
	}
}
