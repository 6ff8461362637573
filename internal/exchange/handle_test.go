package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/claimstest"
)

const handleURL = "https://fido.example.com/oob"

// withHandles lets channels have short links.
func (h *harness) withHandles() *claimstest.Memory {
	store := new(claimstest.Memory)
	h.Handles = &Handles{Store: store, Paths: []string{"/oob"}}
	return store
}

// sms adds a channel with short links that reaches any target.
func (h *harness) sms(policy Policy) *guest { return h.smsAs("sms", policy) }

func (h *harness) smsAs(name string, policy Policy) *guest {
	return h.add(Channel{
		Name: name, Type: "webhook", Encryption: policy, Handle: handleURL, BaseURL: "myapp://open",
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
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := a.Header().Get(name); got != want {
			h.tb.Errorf("%s: %s is %q", method, name, got)
		}
	}
	return a
}

func TestShortLink(t *testing.T) {
	h := newHarness(t)
	store := h.withHandles()
	g := h.sms(Required)
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	m := g.one(t)
	path := shortPath(t, m.Link)
	if !m.LinkConfigured || !m.LinkShort || m.Expand("{oob.link}", nil) != m.Link {
		t.Errorf("LinkConfigured is %t, LinkShort %t, {oob.link} is %q", m.LinkConfigured, m.LinkShort, m.Expand("{oob.link}", nil))
	}

	for id, content := range store.All() {
		for what, secret := range map[string]string{"token": h.token, "handle": path[len("/oob/"):]} {
			if contains(content, secret) || contains([]byte(id), secret) {
				t.Errorf("the store shows the %s: %s: %s", what, id, content)
			}
		}
	}

	// What checks links, or opens them ahead of the user, changes nothing.
	for _, method := range []string{"GET", "HEAD", "GET", "HEAD", "GET"} {
		a := h.visit(method, path)
		if a.Code != http.StatusOK {
			t.Fatalf("%s: status %d", method, a.Code)
		}
		if method == http.MethodHead && a.Body.Len() != 0 {
			t.Error("HEAD has a body")
		}
		if shown := a.Body.String() + a.Header().Get("Location"); strings.Contains(shown, "myapp") || sealed.MatchString(shown) {
			t.Errorf("%s shows the app link: %s", method, shown)
		}
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
	if len(store.All()) != 0 {
		t.Error("the link is still kept")
	}
	h.wantLog("a short link was followed", m.ID)
	for _, method := range []string{"POST", "GET", "HEAD"} {
		if a := h.visit(method, path); a.Code != http.StatusNotFound || a.Header().Get("Location") != "" {
			t.Errorf("%s once more: status %d", method, a.Code)
		}
	}
}

func TestShortLinkIsFollowedOnce(t *testing.T) {
	h := newHarness(t)
	h.withHandles()
	g := h.sms(Required)
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	path := shortPath(t, g.one(t).Link)
	var followed, gone int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			a := h.send(newRequest(t, http.MethodPost, path, ""))
			mu.Lock()
			defer mu.Unlock()
			switch a.status() {
			case http.StatusSeeOther:
				followed++
			case http.StatusNotFound:
				gone++
			}
		})
	}
	all.Wait()
	if followed != 1 || gone != 15 {
		t.Errorf("followed %d times, refused %d times", followed, gone)
	}
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
			store := h.withHandles()
			g := h.sms(c.policy)
			if !c.key {
				h.register("push", nil)
			}
			h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
			m := g.one(t)
			if short := shortLink.MatchString(m.Link); short != c.short || len(store.All()) != 0 != c.short {
				t.Errorf("a short link: %t, kept: %d", short, len(store.All()))
			}
			if !c.short && !strings.HasPrefix(m.Link, "myapp://open?dispatchTokenResponse=") {
				t.Errorf("the link is %q", m.Link)
			}
		})
	}
}

func TestSealedByNevisFIDO(t *testing.T) {
	h := newHarness(t)
	h.withHandles()
	jwe, err := h.device.Public().Seal([]byte(`{"token":"` + h.token + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	var envelope nevisfido.Envelope
	envelope.Version = nevisfido.EnvelopeVersion
	want := nevisfido.Link(upstreamBase, envelope.Sealed(jwe))
	h.upstream.answer = h.dispatched(want)
	g := h.add(Channel{Name: "sms", Encryption: Off, Handle: handleURL, Traits: dispatchers.Traits{AddressOptional: true}})
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	a := h.visit("POST", shortPath(t, g.one(t).Link))
	if got := a.Header().Get("Location"); got != want {
		t.Errorf("Location is %q, want nevisFIDO's link", got)
	}
}

func TestEveryMemberHasItsOwnShortLink(t *testing.T) {
	h := newHarness(t)
	store := h.withHandles()
	one, two := h.smsAs("one", Required), h.smsAs("two", Required)
	h.compose("both", allOf("one", "two"))
	h.dispatch("both").wantResult(t, nevisfido.Dispatched)
	if a, b := one.one(t).Link, two.one(t).Link; a == b || len(store.All()) != 2 {
		t.Errorf("links %q and %q, %d kept", a, b, len(store.All()))
	}
}

func TestShortLinkThatCannotBeMade(t *testing.T) {
	for name, c := range map[string]struct {
		make   func(*harness, *Channel, *claimstest.Memory)
		want   nevisfido.DispatchResult
		class  dispatchers.Class
		reason string
	}{
		"store down": {
			func(_ *harness, _ *Channel, store *claimstest.Memory) {
				store.SetFault(func(string) error { return errors.New("disk full") })
			},
			nevisfido.InternalError, dispatchers.Broken, "store_unavailable",
		},
		"no link": {
			func(h *harness, c *Channel, _ *claimstest.Memory) {
				c.BaseURL, h.RedeemURL = "", redeemURL
				h.upstream.answer = h.dispatched("successful dispatch")
			},
			nevisfido.InternalError, dispatchers.Broken, "base_url",
		},
		"nevisFIDO's link is a script": {
			func(h *harness, c *Channel, _ *claimstest.Memory) {
				c.BaseURL = ""
				h.upstream.answer = h.dispatched(strings.Replace(h.plainLink(h.token), upstreamBase, "javascript:alert(1)//", 1))
			},
			nevisfido.InternalError, dispatchers.Broken, "base_url",
		},
		"too long": {
			func(_ *harness, c *Channel, _ *claimstest.Memory) {
				c.BaseURL = "myapp://open?a=" + strings.Repeat("a", shortlink.MaxContent)
			},
			nevisfido.DispatchError, dispatchers.Refused, "link_too_long",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			store := h.withHandles()
			g := h.sms(Required)
			c.make(h, h.Channels["sms"], store)
			h.dispatch("sms").wantResult(t, c.want)
			if len(g.messages()) != 0 || len(store.All()) != 0 {
				t.Errorf("%d messages were sent, %d links are kept", len(g.messages()), len(store.All()))
			}
			if r := h.seen.one(t); r.Class != c.class || r.Reason != c.reason {
				t.Errorf("the observer was told %s (%s)", r.Class, r.Reason)
			}
		})
	}
}

// Whoever guesses learns nothing: what is not there, what has expired and what
// was used look the same.
func TestInvalidShortLinks(t *testing.T) {
	h := newHarness(t)
	store := h.withHandles()
	g := h.sms(Required)
	h.Lifetimes[nevisfido.Authentication] = time.Nanosecond
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	expired := shortPath(t, g.one(t).Link)
	if len(store.All()) != 1 {
		t.Fatal("nothing is kept")
	}
	unknown := "/oob/" + shortlink.NewHandle(time.Now().Add(time.Minute))
	for _, method := range []string{"GET", "HEAD", "POST"} {
		one, two := h.visit(method, expired), h.visit(method, unknown)
		if one.Code != http.StatusNotFound || two.Code != one.Code {
			t.Errorf("%s: expired %d, unknown %d", method, one.Code, two.Code)
		}
		if !bytes.Equal(one.Body.Bytes(), two.Body.Bytes()) || len(one.Header()) != len(two.Header()) {
			t.Errorf("%s: the answers differ", method)
		}
		if strings.Contains(one.Body.String(), "<form") {
			t.Errorf("%s: there is a button", method)
		}
	}
}

func TestShortLinksOfAnotherNamespace(t *testing.T) {
	h := newHarness(t)
	h.withHandles()
	g := h.sms(Required)
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	path := shortPath(t, g.one(t).Link)
	h.Handles.Namespace = "tenant"
	if a := h.visit("POST", path); a.Code != http.StatusNotFound {
		t.Errorf("in another namespace: status %d", a.Code)
	}
	h.Handles.Namespace = ""
	if a := h.visit("POST", path); a.Code != http.StatusSeeOther {
		t.Errorf("in its own: status %d", a.Code)
	}
}

func TestStoreTroubleOnTheWayBack(t *testing.T) {
	for _, op := range []string{"get", "take"} {
		h := newHarness(t)
		store := h.withHandles()
		g := h.sms(Required)
		h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
		path := shortPath(t, g.one(t).Link)
		method := map[string]string{"get": "GET", "take": "POST"}[op]
		store.SetFault(func(failing string) error {
			if failing == op {
				return errors.New("connection refused")
			}
			return nil
		})
		a := h.visit(method, path)
		if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" || a.Header().Get("Location") != "" {
			t.Errorf("%s: status %d, %v", method, a.Code, a.Header())
		}
		h.wantLog("a short link cannot be followed", "connection refused")
		if contains([]byte(h.logs.String()), path[len("/oob/"):]) {
			t.Errorf("the log shows the handle: %s", h.logs)
		}
		store.SetFault(nil)
		if a := h.visit("POST", path); a.Code != http.StatusSeeOther {
			t.Errorf("%s: afterwards status %d", method, a.Code)
		}
	}
}

func TestDamagedClaims(t *testing.T) {
	link := nevisfido.Link("myapp://open", nevisfido.NewContent("t", redeemURL).Envelope())
	record := func(k kept) []byte { return must[[]byte](t)(json.Marshal(k)) }
	future := time.Now().Add(time.Minute).Unix()
	for name, content := range map[string][]byte{
		"empty": {}, "not JSON": []byte("{"), "null": []byte("null"), "array": []byte("[]"),
		"newer release":  record(kept{Schema: 2, Expires: future, Link: link}),
		"unknown member": []byte(`{"schema":1,"expires":9999999999,"link":"` + link + `","url":"x"}`),
		"twice":          []byte(`{"schema":1,"expires":9999999999,"link":"x","link":"` + link + `"}`),
		"no link":        record(kept{Schema: 1, Expires: future}),
		"another link":   record(kept{Schema: 1, Expires: future, Link: "https://evil.example/"}),
		"script":         record(kept{Schema: 1, Expires: future, Link: strings.Replace(link, "myapp:", "javascript:", 1)}),
		"header":         record(kept{Schema: 1, Expires: future, Link: "https://a\r\nSet-Cookie: b" + link}),
		"too long":       append(record(kept{Schema: 1, Expires: future, Link: link}), bytes.Repeat([]byte(" "), shortlink.MaxContent)...),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			handle := shortlink.NewHandle(time.Now())
			h.Handles = &Handles{Store: fixedClaim(content), Paths: []string{"/oob"}}
			for _, method := range []string{"GET", "POST"} {
				a := h.visit(method, "/oob/"+handle)
				if a.Code != http.StatusServiceUnavailable || a.Header().Get("Location") != "" {
					t.Errorf("%s: status %d, Location %q", method, a.Code, a.Header().Get("Location"))
				}
			}
		})
	}
}

// fixedClaim is a store that holds the same under every id.
type fixedClaim []byte

func (fixedClaim) Put(context.Context, string, []byte, time.Time) error { return nil }
func (c fixedClaim) Get(context.Context, string) ([]byte, error)        { return c, nil }
func (c fixedClaim) Take(context.Context, string) ([]byte, error)       { return c, nil }

func TestOtherMethodsOnShortLinks(t *testing.T) {
	h := newHarness(t)
	store := h.withHandles()
	g := h.sms(Required)
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	path := shortPath(t, g.one(t).Link)
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "PROPFIND"} {
		a := h.visit(method, path)
		if a.Code != http.StatusMethodNotAllowed || a.Header().Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: status %d, %v", method, a.Code, a.Header())
		}
	}
	if len(store.All()) != 1 {
		t.Error("the link is gone")
	}
}

// Only one spelling of a short link leads anywhere, and none of the others
// reaches nevisFIDO: it may hold a handle.
func TestOtherSpellingsOfAShortLink(t *testing.T) {
	handle := shortlink.NewHandle(time.Now().Add(time.Minute))
	for _, path := range []string{
		"/oob/" + handle + "/", "/oob/" + handle[1:], "/oob/" + handle + "A", "/oob//" + handle, "//oob/" + handle,
		"/oob/x/" + handle, "/OOB/" + handle, "/oob/" + handle[:23] + ".", "/%6fob/" + handle, "/oob%2f" + handle,
		"/oob/%" + "41" + handle[1:], "/oob/" + handle + ";a=b", "/oob/" + handle + "%00", "/oob/..%2f" + handle,
		"/x/..%2foob/" + handle, "/oob%5c" + handle, "/./oob/" + handle, "/oob;x=1/" + handle, "/oob%20/" + handle, "/oob./" + handle,
	} {
		t.Run(path, func(t *testing.T) {
			h := newHarness(t)
			store := h.withHandles()
			store.SetFault(func(op string) error { t.Errorf("the store was asked: %s", op); return nil })
			for _, method := range []string{"GET", "POST"} {
				if a := h.visit(method, path); a.Code != http.StatusNotFound {
					t.Errorf("%s: status %d", method, a.Code)
				}
			}
		})
	}
}

// What is not below the path of a page is nevisFIDO's.
func TestWhatIsNoShortLink(t *testing.T) {
	handle := shortlink.NewHandle(time.Now().Add(time.Minute))
	for _, path := range []string{"/oob", "/oob/", "/" + handle, "/oob2/" + handle, "/x/oob/" + handle, "/oob." + handle} {
		t.Run(path, func(t *testing.T) {
			h := newHarness(t)
			store := h.withHandles()
			store.SetFault(func(op string) error { t.Errorf("the store was asked: %s", op); return nil })
			h.upstream.answer = respond(http.StatusTeapot, "")
			if a := h.send(newRequest(t, http.MethodGet, path, "")); a.status() != http.StatusTeapot {
				t.Errorf("status %d", a.status())
			}
		})
	}
}

func TestShortLinksWhileObserving(t *testing.T) {
	h := newHarness(t)
	h.withHandles()
	g := h.sms(Required)
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	h.ObserveOnly = true
	if a := h.visit("POST", shortPath(t, g.one(t).Link)); a.Code != http.StatusSeeOther {
		t.Errorf("status %d", a.Code)
	}
}

// A channel without the option is as it was.
func TestNoShortLinkUnlessAskedFor(t *testing.T) {
	h := newHarness(t)
	store := h.withHandles()
	g := h.link(Required)
	h.dispatch("link").wantResult(t, nevisfido.Dispatched)
	if m := g.one(t); m.LinkConfigured || !strings.HasPrefix(m.Link, upstreamBase+"?dispatchTokenResponse=") || len(store.All()) != 0 {
		t.Errorf("LinkConfigured %t, link %q, %d kept", m.LinkConfigured, m.Link, len(store.All()))
	}
}

// A client that goes away while the link is taken does not lose it half way.
func TestClientThatGoesAway(t *testing.T) {
	h := newHarness(t)
	h.withHandles()
	g := h.sms(Required)
	h.dispatch("sms").wantResult(t, nevisfido.Dispatched)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRequest(t, http.MethodPost, shortPath(t, g.one(t).Link), "").WithContext(ctx)
	r.Body = io.NopCloser(strings.NewReader(""))
	if a := h.send(r); a.status() != http.StatusSeeOther {
		t.Errorf("status %d", a.status())
	}
}

// Interface guard
var _ shortlink.Store = fixedClaim(nil)
