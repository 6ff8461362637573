package exchange

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

const handleURL = "https://fido.example.com/oob"

// withShortLinks lets channels have short links.
func (h *harness) withShortLinks() *kvtest.Memory {
	store := new(kvtest.Memory)
	h.Links = &shortlink.Links{Store: store, Paths: []string{"/oob"}, Timeout: time.Minute, Log: h.Log}
	return store
}

// sms adds a channel with short links that reaches any target.
func (h *harness) sms(policy Policy) *guest { return h.smsAs("sms", policy) }

func (h *harness) smsAs(name string, policy Policy) *guest {
	return h.add(Channel{
		Name: name, Type: "webhook", Encryption: policy, ShortLinks: handleURL, BaseURL: "myapp://open",
		Traits: dispatchers.Traits{AddressOptional: true},
	})
}

var shortLink = regexp.MustCompile(`^https://fido\.example\.com(/oob/([A-Za-z0-9_-]{24}))$`)

// shortPath returns the path of a message's link, which has to be a short one.
func shortPath(tb testing.TB, link string) string {
	tb.Helper()
	parts := shortLink.FindStringSubmatch(link)
	if parts == nil {
		tb.Fatalf("the link is %q", link)
	}
	return parts[1]
}

// visit follows a short link. nevisFIDO must not hear of it.
func (h *harness) visit(method, path string) *answer {
	h.tb.Helper()
	before := len(h.upstream.calls())
	a := h.send(newRequest(h.tb, method, path, ""))
	if a.err != nil {
		h.tb.Fatalf("%s: %v", method, a.err)
	}
	if len(h.upstream.calls()) != before {
		h.tb.Errorf("%s of a short link was forwarded", method)
	}
	return a
}

func TestShortLink(t *testing.T) {
	h := newHarness(t)
	store := h.withShortLinks()
	g := h.sms(Required)
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	m := g.one(t)
	path := shortPath(t, m.Link)
	if !m.LinkConfigured || !m.LinkShort || m.Expand("{oob.link}", nil) != m.Link {
		t.Errorf("LinkConfigured is %t, LinkShort %t, {oob.link} is %q", m.LinkConfigured, m.LinkShort, m.Expand("{oob.link}", nil))
	}

	for id, content := range store.Links() {
		for what, secret := range map[string]string{"token": h.token, "handle": path[len("/oob/"):]} {
			if testservice.Find(id+" "+string(content), secret) >= 0 {
				t.Errorf("the store shows the %s: %s: %s", what, id, content)
			}
		}
	}

	if a := h.visit("GET", path); a.Code != http.StatusOK || sealed.MatchString(a.Body.String()) {
		t.Errorf("the page: status %d, %s", a.Code, a.Body)
	}
	a := h.visit("POST", path)
	if a.Code != http.StatusSeeOther {
		t.Fatalf("POST: status %d", a.Code)
	}
	base, envelope, err := nevisfido.ParseLink(a.Header().Get("Location"))
	if err != nil || base != "myapp://open" {
		t.Fatalf("Location leads to %q, %v", base, err)
	}
	opened := open(t, h.device, &dispatchers.Message{Envelope: envelope})
	if opened.Token != h.token {
		t.Errorf("the device reads another token than that of the answer")
	}
	if len(store.Links()) != 0 {
		t.Error("the link is still kept")
	}
	h.wantLog("a short link was followed", m.ID)
}

// What leaves in clear is never kept.
func TestClearMessagesKeepTheirLinks(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		key    bool
		short  bool
	}{
		"off":               {Off, true, false},
		"preferred, no key": {Preferred, false, false},
		"preferred, a key":  {Preferred, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			store := h.withShortLinks()
			g := h.sms(c.policy)
			if !c.key {
				h.register("push", nil)
			}
			h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
			m := g.one(t)
			if short := shortLink.MatchString(m.Link); short != c.short || len(store.Links()) != 0 != c.short {
				t.Errorf("a short link: %t, kept: %d", short, len(store.Links()))
			}
			if !c.short && !strings.HasPrefix(m.Link, "myapp://open?dispatchTokenResponse=") {
				t.Errorf("the link is %q", m.Link)
			}
		})
	}
}

func TestSealedByNevisFIDO(t *testing.T) {
	h := newHarness(t)
	h.withShortLinks()
	jwe, err := h.device.Public().Seal([]byte(`{"token":"` + h.token + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	var envelope nevisfido.Envelope
	envelope.Version = nevisfido.EnvelopeVersion
	want := nevisfido.Link(upstreamBase, envelope.Sealed(jwe))
	h.upstream.answer = h.dispatched(want)
	g := h.add(Channel{Name: "sms", Encryption: Off, ShortLinks: handleURL, Traits: dispatchers.Traits{AddressOptional: true}})
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	a := h.visit("POST", shortPath(t, g.one(t).Link))
	if got := a.Header().Get("Location"); got != want {
		t.Errorf("Location is %q, want nevisFIDO's link", got)
	}
}

func TestEveryMemberHasItsOwnShortLink(t *testing.T) {
	h := newHarness(t)
	store := h.withShortLinks()
	one, two := h.smsAs("one", Required), h.smsAs("two", Required)
	h.compose("both", allOf("one", "two"))
	h.dispatch("both").wantResult(t, nevisfido.Dispatched)
	if a, b := one.one(t).Link, two.one(t).Link; a == b || len(store.Links()) != 2 {
		t.Errorf("links %q and %q, %d kept", a, b, len(store.Links()))
	}
}

func TestShortLinkThatCannotBeMade(t *testing.T) {
	for name, c := range map[string]struct {
		make   func(*harness, *Channel, *kvtest.Memory)
		want   nevisfido.DispatchResult
		class  dispatchers.Class
		reason string
	}{
		"store down": {
			func(_ *harness, _ *Channel, store *kvtest.Memory) {
				store.SetFault(func(context.Context, kvtest.Op) error { return errors.New("disk full") })
			},
			nevisfido.InternalError, dispatchers.Broken, "store_unavailable",
		},
		"no link": {
			func(h *harness, c *Channel, _ *kvtest.Memory) {
				c.BaseURL, h.RedeemURL = "", redeemURL
				h.upstream.answer = h.dispatched("successful dispatch")
			},
			nevisfido.InternalError, dispatchers.Broken, "base_url",
		},
		"nevisFIDO's link is a script": {
			func(h *harness, c *Channel, _ *kvtest.Memory) {
				c.BaseURL = ""
				h.upstream.answer = h.dispatched(strings.Replace(h.plainLink(h.token), upstreamBase, "javascript:alert(1)//", 1))
			},
			nevisfido.InternalError, dispatchers.Broken, "base_url",
		},
		"too long": {
			func(_ *harness, c *Channel, _ *kvtest.Memory) {
				c.BaseURL = "myapp://open?a=" + strings.Repeat("a", shortlink.MaxContent)
			},
			nevisfido.DispatchError, dispatchers.Refused, "link_too_long",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			store := h.withShortLinks()
			g := h.sms(Required)
			c.make(h, h.Channels["sms"], store)
			h.dispatch("sms").wantResult(t, c.want)
			if len(g.messages()) != 0 || len(store.Links()) != 0 {
				t.Errorf("%d messages were sent, %d links are kept", len(g.messages()), len(store.Links()))
			}
			if r := h.seen.one(t); r.Class != c.class || r.Reason != c.reason {
				t.Errorf("the observer was told %s (%s)", r.Class, r.Reason)
			}
		})
	}
}

func TestShortLinksWhileObserving(t *testing.T) {
	h := newHarness(t)
	h.withShortLinks()
	g := h.sms(Required)
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	h.ObserveOnly = true
	if a := h.visit("POST", shortPath(t, g.one(t).Link)); a.Code != http.StatusSeeOther {
		t.Errorf("status %d", a.Code)
	}
}
