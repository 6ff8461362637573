package exchange

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// An ending is how a dispatch fails.
type ending struct {
	want   nevisfido.DispatchResult
	class  dispatchers.Class
	reason string
}

var (
	noKey     = ending{nevisfido.DispatchError, dispatchers.NoKey, "no_key"}
	storeDown = ending{nevisfido.InternalError, dispatchers.Broken, "store_unavailable"} // no message leaves, whatever the policy
)

// trouble is what can be wrong with a target's key.
var trouble = map[string]struct {
	ending
	make   func(*harness)
	target string // another id than that of the known target, "none" for none
	own    bool   // it concerns nobody who does not use the target's own address
}{
	"no key":                    {ending: noKey, make: func(h *harness) { h.register("push", nil) }},
	"corrupt record":            {ending: storeDown, make: func(h *harness) { h.store.Set(h.ref(), []byte(`{"schema":1,"id":`)) }},
	"record of a newer release": {ending: storeDown, make: func(h *harness) { h.store.Set(h.ref(), []byte(`{"schema":99}`)) }},
	"record of another target": {ending: storeDown, make: func(h *harness) {
		h.store.Set(h.ref(), must[[]byte](h.tb)(targets.Encode(&targets.Target{ID: "x"}, targets.Ref{ID: "x"})))
	}},
	"key swapped in the store": {ending: ending{nevisfido.InternalError, dispatchers.Broken, "damaged_record"}, make: func(h *harness) {
		h.edit(func(t *targets.Target) {
			t.EncryptionKey = must[*devicekey.PrivateKey](h.tb)(devicekey.GenerateKey("P-256")).Public().JWK()
		})
	}},
	"store error": {ending: storeDown, make: func(h *harness) {
		h.store.SetFault(func(context.Context, kvtest.Op) error { return errors.New("disk full") })
	}},
	"store hangs": {ending: storeDown, make: func(h *harness) {
		h.Deadline = 1 // of a nanosecond
		h.store.SetFault(func(ctx context.Context, _ kvtest.Op) error { <-ctx.Done(); return ctx.Err() })
	}},
	"key source error": {ending: storeDown, make: func(h *harness) {
		h.Targets.Sources = []targets.NamedSource{{Name: "idm", KeySource: failingSource{}}}
	}, target: "elsewhere"},
	"stale": {ending: ending{nevisfido.DispatchError, dispatchers.NoKey, "stale"}, make: func(h *harness) {
		h.edit(func(t *targets.Target) { t.Unsure = []string{"encryption_key"} })
	}},
	"expired": {ending: ending{nevisfido.DispatchTargetExpired, dispatchers.Expired, "quarantined"}, make: func(h *harness) {
		h.edit(func(t *targets.Target) { t.GoneAddress = t.Address })
	}, own: true},
	"key refused by policy": {ending: noKey, make: func(h *harness) {
		h.register("push", must[*devicekey.PrivateKey](h.tb)(rsaKey()))
		h.Targets.Policy = encrypt.Policy{MinRSABits: 3072}
	}},
	"key that became weak": {ending: noKey, make: func(h *harness) {
		h.Targets.Policy = encrypt.Policy{MinRSABits: 3072}
		h.register("push", must[*devicekey.PrivateKey](h.tb)(rsaKey()))
	}},
	"weak key":         {ending: noKey, make: func(h *harness) { h.registerJWK("push", `{"kty":"RSA","n":"AQAB","e":"AQAB"}`) }},
	"private key":      {ending: noKey, make: func(h *harness) { h.registerJWK("push", string(h.device.JWK())) }},
	"key that is none": {ending: noKey, make: func(h *harness) { h.registerJWK("push", `"garbage"`) }},
	"weak key of a source": {ending: noKey, make: func(h *harness) {
		h.Targets.Sources = []targets.NamedSource{{Name: "file", KeySource: weakSource{}}}
	}, target: "elsewhere"},
	"unknown target": {ending: ending{nevisfido.DispatchTargetNotFound, dispatchers.NoTarget, "unknown_target"}, target: "elsewhere"},
	"no target id":   {ending: ending{nevisfido.DispatchError, dispatchers.NoKey, "no_target"}, target: "none"},
}

type failingSource struct{}

func (failingSource) Find(context.Context, targets.Ref) (*targets.Target, error) {
	return nil, errors.New("the directory is down")
}

// weakSource brings a target with a key that no policy allows.
type weakSource struct{}

func (weakSource) Find(_ context.Context, ref targets.Ref) (*targets.Target, error) {
	return &targets.Target{
		Namespace: ref.Namespace, ID: ref.ID, Address: "address", Dispatcher: "push",
		EncryptionKey: []byte(`{"kty":"RSA","n":"AQAB","e":"AQAB"}`),
	}, nil
}

// troubled returns a harness with one trouble and a request for a channel.
func troubled(t *testing.T, name, dispatcher string) (*harness, *http.Request) {
	h := newHarness(t)
	if trouble[name].make != nil {
		trouble[name].make(h)
	}
	body := h.body(dispatcher)
	switch target := trouble[name].target; target {
	case "":
	case "none":
		body = `{"dispatcher":"` + dispatcher + `"}`
	default:
		body = h.bodyFor(dispatcher, target)
	}
	return h, newRequest(t, http.MethodPost, authentication, body)
}

func TestFailClosed(t *testing.T) {
	channels := map[string]func(*harness) *guest{
		"push": (*harness).push,
		"link": func(h *harness) *guest { return h.link(Required) },
		"sms":  func(h *harness) *guest { return h.add(Channel{Name: "sms", Address: "+41790000000"}) },
		"hook": func(h *harness) *guest {
			return h.add(Channel{Name: "hook", Traits: dispatchers.Traits{AddressOptional: true}})
		},
	}
	for name, c := range trouble {
		for channel, add := range channels {
			if c.own && channel != "push" {
				continue
			}
			t.Run(name+"/"+channel, func(t *testing.T) {
				h, r := troubled(t, name, channel)
				g := add(h)
				a := h.send(r)

				want, class, reason := c.want, c.class, c.reason
				if channel == "push" && c.target == "none" { // it has no address either
					want, class, reason = nevisfido.DispatchTargetNotFound, dispatchers.NoTarget, "no_address"
				}
				a.wantResult(t, want)
				if got := g.messages(); len(got) != 0 {
					t.Errorf("the dispatcher was called with %s", everything(got[0]))
				}
				record := h.seen.one(t)
				if record.Class != class || record.Reason != reason || record.Result != want || len(record.Attempts) != 0 {
					t.Errorf("the observer was told %s (%s), %s, of %d attempts", record.Class, record.Reason, record.Result, len(record.Attempts))
				}
			})
		}
	}
}

// T02: clear text leaves only where the policy says so, and never because of
// trouble.
func TestPlainOnlyByPolicy(t *testing.T) {
	clear := map[Policy][]string{
		Required:  nil,
		Preferred: {"no key", "no target id"},
		Off: {
			"no key", "no target id", "unknown target", "key refused by policy", "key swapped in the store",
			"weak key", "private key", "key that is none", "key that became weak", "weak key of a source",
		},
	}
	for policy, allowed := range clear {
		for name, c := range trouble {
			if c.own {
				continue
			}
			t.Run(string(policy)+"/"+name, func(t *testing.T) {
				h, r := troubled(t, name, "link")
				g := h.link(policy)
				a := h.send(r)
				if !slices.Contains(allowed, name) {
					a.wantResult(t, c.want)
					if len(g.messages()) != 0 {
						t.Error("the dispatcher was called")
					}
					return
				}
				a.wantResult(t, nevisfido.Dispatched)
				content := must[nevisfido.Content](t)(g.one(t).Envelope.PlainContent())
				if content.Token != h.token || g.one(t).Envelope.ContentType != nevisfido.ContentTypePlain {
					t.Errorf("got %s", g.one(t).Envelope.JSON())
				}
				if got := h.seen.one(t).Encryption; got != "clear" {
					t.Errorf("the observer was told %q", got)
				}
			})
		}
	}
}

func TestSealedForTheDevice(t *testing.T) {
	for name, key := range map[string]func() (*devicekey.PrivateKey, error){"P-256": deviceKey, "RSA-2048": rsaKey} {
		for _, policy := range []Policy{Required, Preferred} {
			t.Run(name+"/"+string(policy), func(t *testing.T) {
				h := newHarness(t)
				device := must[*devicekey.PrivateKey](t)(key())
				h.register("push", device)
				g := h.push()
				h.Channels["push"].Encryption = policy
				h.dispatch("push").wantResult(t, nevisfido.Dispatched)

				m := g.one(t)
				if content := open(t, device, m); content.Token != h.token || content.RedeemURL != redeemURL+"/authentication" {
					t.Errorf("the device reads %s", content.JSON())
				}
				if testservice.Find(everything(m), h.token) >= 0 {
					t.Errorf("the dispatcher can see the token in %s", everything(m))
				}
				alg, enc := device.Public().Algorithms()
				record := h.seen.one(t)
				if record.Encryption != "sealed" || record.Alg != alg || record.Enc != enc || record.Thumbprint != device.Public().Thumbprint() || record.Sealing != "sealed" {
					t.Errorf("the observer was told %+v", record)
				}
			})
		}
	}
}

func TestLinkCarriesTheSealedMessage(t *testing.T) {
	for base, want := range map[string]string{
		"":                      upstreamBase + "?dispatchTokenResponse=",
		"myapp://x-callback?a=": "myapp://x-callback?a=&dispatchTokenResponse=",
	} {
		h := newHarness(t)
		g := h.link(Required)
		h.Channels["link"].BaseURL = base
		h.dispatch("link").wantResult(t, nevisfido.Dispatched)
		m := g.one(t)
		if !strings.HasPrefix(m.Link, want) || m.LinkConfigured != (base != "") {
			t.Errorf("got link %s, configured %v", m.Link, m.LinkConfigured)
		}
		_, envelope, err := nevisfido.ParseLink(m.Link)
		if err != nil || string(envelope.JSON()) != string(m.Envelope.JSON()) {
			t.Errorf("the link carries %s, %v", envelope.JSON(), err)
		}
	}
}

// T13: what nevisFIDO sealed is delivered as it is.
func TestNoDoubleEncryption(t *testing.T) {
	seal := func(h *harness) string {
		content := nevisfido.NewContent(h.token, redeemURL+"/authentication")
		return must[string](h.tb)(h.device.Public().Seal(content.JSON()))
	}
	for name, envelope := range map[string]func(jwe string) string{
		"as documented": func(jwe string) string {
			return `{"nma_data":"` + jwe + `","nma_data_content_type":"application/jose","nma_data_version":"1"}`
		},
		"with the wrong media type": func(jwe string) string {
			return `{"nma_data":"` + jwe + `","nma_data_content_type":"application/json","nma_data_version":"1"}`
		},
		"with no media type": func(jwe string) string { return `{"nma_data":"` + jwe + `"}` },
	} {
		for _, policy := range []Policy{Required, Preferred, Off} {
			t.Run(name+"/"+string(policy), func(t *testing.T) {
				h := newHarness(t)
				jwe := seal(h)
				h.upstream.answer = h.dispatched(linkTo(envelope(jwe)))
				g := h.push()
				h.Channels["push"].Encryption = policy
				h.dispatch("push").wantResult(t, nevisfido.Dispatched)

				m := g.one(t)
				if got, _ := m.Envelope.Text(); got != jwe {
					t.Error("the message is not the one that nevisFIDO sealed")
				}
				if open(t, h.device, m).Token != h.token {
					t.Error("the device reads another token")
				}
				if record := h.seen.one(t); record.Encryption != "sealed_upstream" || record.Alg != "" || record.Sealing != "" {
					t.Errorf("the observer was told %+v", record)
				}
			})
		}
	}
}

// A target that only nevisFIDO knows is no obstacle where nothing of ours is
// needed: neither its key nor its address.
func TestSealedForATargetThatOnlyNevisFIDOKnows(t *testing.T) {
	for channel, want := range map[string]nevisfido.DispatchResult{
		"link": nevisfido.Dispatched,
		"hook": nevisfido.Dispatched,
		"sms":  nevisfido.Dispatched,
		"push": nevisfido.DispatchTargetNotFound,
	} {
		t.Run(channel, func(t *testing.T) {
			h := newHarness(t)
			jwe := must[string](t)(h.device.Public().Seal(nevisfido.NewContent(h.token, redeemURL).JSON()))
			h.upstream.answer = h.dispatched(nevisfido.Link(upstreamBase, nevisfido.Envelope{Version: "1"}.Sealed(jwe)))
			h.push()
			h.link(Required)
			h.add(Channel{Name: "hook", Traits: dispatchers.Traits{AddressOptional: true}})
			h.add(Channel{Name: "sms", Address: "+41790000000"})
			h.send(newRequest(t, http.MethodPost, authentication, h.bodyFor(channel, "elsewhere"))).wantResult(t, want)
		})
	}
}

// What is unsure of a stale target is not used; everything else is. What
// nevisFIDO sealed needs no key of ours.
func TestStaleTarget(t *testing.T) {
	const serves, refuses = nevisfido.Dispatched, nevisfido.DispatchError
	for _, test := range []struct {
		unsure           string
		sealed           bool // by nevisFIDO
		link, push, own  nevisfido.DispatchResult
		elsewhere, other nevisfido.DispatchResult // addresses of the configuration, without the target's and with it
	}{
		{"encryption_key", false, refuses, refuses, refuses, refuses, refuses},
		{"encryption_key", true, serves, serves, serves, serves, serves},
		{"target", false, serves, refuses, refuses, serves, refuses},
		{"target", true, serves, refuses, refuses, serves, refuses},
		{"dispatcher", false, serves, refuses, refuses, serves, refuses},
		{"existence", false, refuses, refuses, refuses, refuses, refuses},
		{"existence", true, serves, refuses, refuses, serves, refuses},
		{"signature_key", false, serves, serves, serves, serves, serves},
		{"name", false, serves, serves, serves, serves, serves},
	} {
		for channel, want := range map[string]nevisfido.DispatchResult{
			"link": test.link, "push": test.push, "own": test.own, "elsewhere": test.elsewhere, "other": test.other,
		} {
			t.Run(fmt.Sprintf("%s/sealed=%v/%s", test.unsure, test.sealed, channel), func(t *testing.T) {
				h := newHarness(t)
				h.edit(func(t *targets.Target) { t.Unsure = []string{test.unsure} })
				if test.sealed {
					jwe := must[string](t)(h.device.Public().Seal(nevisfido.NewContent(h.token, redeemURL).JSON()))
					h.upstream.answer = h.dispatched(nevisfido.Link(upstreamBase, nevisfido.Envelope{Version: "1"}.Sealed(jwe)))
				}
				h.push()
				h.link(Required)
				h.add(Channel{Name: "own", Address: "{oob.target}"})
				h.add(Channel{Name: "elsewhere", Address: "+41790000000"})
				h.add(Channel{Name: "other", Address: "tel:{oob.target}"})
				h.dispatch(channel).wantResult(t, want)
			})
		}
	}
}

// T17: the caller cannot tell a missing key from a refusal.
func TestUniformError(t *testing.T) {
	bodies := make(map[string][]string)
	note := func(name string, a *answer) {
		a.wantResult(t, nevisfido.DispatchError)
		a.Header().Del("Date")
		text := strings.Join([]string{a.Body.String(), string(toJSON(t, a.Header()))}, "\n")
		bodies[text] = append(bodies[text], name)
	}
	token := newHarness(t).token
	for _, name := range []string{"no key", "key refused by policy", "stale"} {
		h, r := troubled(t, name, "link")
		h.token = token
		h.upstream.answer = h.dispatched(h.plainLink(token))
		h.link(Required)
		note(name, h.send(r))
	}
	for _, class := range []dispatchers.Class{dispatchers.Refused, dispatchers.Temporary, dispatchers.NoKey} {
		h := newHarness(t)
		h.token = token
		h.upstream.answer = h.dispatched(h.plainLink(token))
		h.link(Required).fails(class)
		note(string(class), h.dispatch("link"))
	}
	if len(bodies) != 1 {
		t.Errorf("the caller can tell apart %v", slices.Collect(maps.Values(bodies)))
	}
}
