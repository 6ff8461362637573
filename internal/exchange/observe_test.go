package exchange

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestObservedDispatchesPassUntouched(t *testing.T) {
	for name, tc := range map[string]struct {
		body     func(*harness) string
		reported bool
	}{
		"ours":              {func(h *harness) string { return h.body("push") }, true},
		"to another target": {func(h *harness) string { return h.bodyFor("push", "other") }, true},
		"none of ours":      {func(h *harness) string { return h.body("other") }, false},
		"malformed":         {func(*harness) string { return `{"dispatcher":"push","dispatcher":"push"}` }, false},
		"too large":         {func(*harness) string { return `{"x":"` + strings.Repeat("x", 70<<10) + `"}` }, false},
		"not even JSON":     {func(*harness) string { return "hello" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.ObserveOnly = true
			guest := h.push()
			h.upstream.answer = respond(http.StatusOK, `{"dispatchResult":"dispatcherNotFound"}`)
			body := tc.body(h)
			a := h.send(newRequest(t, http.MethodPost, authentication, body))
			if got := h.upstream.one(t).body; got != body {
				t.Errorf("nevisFIDO got %.100s", got)
			}
			if a.Body.String() != `{"dispatchResult":"dispatcherNotFound"}` || a.Header().Get("Cache-Control") != "" {
				t.Errorf("the caller got %s", a.Body)
			}
			if len(guest.messages()) != 0 {
				t.Error("a message was dispatched")
			}
			if reported := len(h.seen.records) == 1; reported != tc.reported {
				t.Errorf("reported %+v", h.seen.records)
			}
		})
	}
}

// What is foreseen is what would happen: all troubles, over all kinds of
// channels, are looked at and then carried out.
func TestObservingForeseesWhatHappens(t *testing.T) {
	channels := map[string]func(*harness, Policy){
		"push": func(h *harness, p Policy) { h.push(); h.Channels["push"].Encryption = p },
		"link": func(h *harness, p Policy) { h.link(p) },
		"sms":  func(h *harness, p Policy) { h.add(Channel{Name: "sms", Address: "+41790000000", Encryption: p}) },
		"shop": func(h *harness, p Policy) {
			h.add(Channel{Name: "shop", Address: "x", Encryption: p, Operations: []nevisfido.Operation{nevisfido.Registration}})
		},
		"first": func(h *harness, p Policy) {
			h.push()
			h.Channels["push"].Encryption = p
			h.add(Channel{Name: "sms", Address: "+41790000000", Encryption: p})
			h.compose("first", firstOf("push", "sms"))
		},
		"beside a required one": func(h *harness, p Policy) {
			h.link(p)
			h.add(Channel{Name: "sms", Address: "+41790000000", Encryption: Required})
			h.compose("beside a required one", firstOf("link", "sms"))
		},
	}
	names := slices.Collect(maps.Keys(trouble))
	for _, name := range append(names, "none at all") {
		for channel, add := range channels {
			for _, policy := range []Policy{Required, Preferred, Off} {
				if policy == Off && channel == "beside a required one" {
					continue // refused at load
				}
				t.Run(name+"/"+channel+"/"+string(policy), func(t *testing.T) {
					var seen []Record
					for _, observe := range []bool{true, false} {
						h, r := troubled(t, name, channel)
						h.ObserveOnly = observe
						add(h, policy)
						h.send(r)
						record := h.seen.one(t)
						if observe && (len(record.Attempts)+len(record.Fallbacks) != 0 || record.Sealing != "" || record.Result != Observed || record.Dispatcher != channel) {
							t.Errorf("observing counts as dispatching: %+v", record)
						}
						seen = append(seen, Record{
							Dispatcher: record.Dispatcher, Delivered: record.Delivered, Class: record.Class, Reason: record.Reason,
							Report: delivery.Report{Encryption: record.Encryption, Alg: record.Alg, Enc: record.Enc, Thumbprint: record.Thumbprint},
						})
					}
					if name == "unknown target" {
						if channel != "shop" && seen[0].Reason != "unknown_target" {
							t.Errorf("foreseen %+v", seen[0])
						}
						return // it may be dispatched all the same, where the policy is off
					}
					if !reflect.DeepEqual(seen[0], seen[1]) {
						t.Errorf("foreseen %+v\nhappened %+v", seen[0], seen[1])
					}
				})
			}
		}
	}
}

func TestObservingLearnsAndFollows(t *testing.T) {
	h := newHarness(t)
	h.ObserveOnly = true
	h.push()
	body := `{"username":"u","name":"n","target":"p","dispatcher":"push","encryptionKey":` + string(h.device.Public().JWK()) + `}`
	h.upstream.answer = respond(http.StatusCreated, `{"id":"new","extId":"e"}`)
	h.send(newRequest(t, http.MethodPost, targetsPath, body))
	if got := h.upstream.one(t).body; got != body {
		t.Errorf("nevisFIDO got %s", got)
	}
	if target, err := h.store.Load(t.Context(), targets.Ref{ID: "new"}); err != nil || target.Thumbprint == "" {
		t.Errorf("learned %+v, %v", target, err)
	}
	h.upstream.answer = respond(http.StatusNoContent, "")
	h.send(newRequest(t, http.MethodDelete, targetsPath+"/"+h.targetID, ""))
	if h.record() != nil {
		t.Error("a deleted target is still known")
	}
}

func TestObservingNeverStandsInTheWay(t *testing.T) {
	h := newHarness(t)
	h.ObserveOnly = true
	h.push()
	h.store.SetFault(failAt(kvtest.Update))
	h.upstream.answer = respond(http.StatusNoContent, "")
	for _, r := range []*http.Request{
		newRequest(t, http.MethodPatch, targetsPath+"/"+h.targetID, "a.b.c"),
		newRequest(t, http.MethodDelete, targetsPath+"/"+h.targetID, ""),
		newRequest(t, http.MethodPost, "/nevisfido/./token/dispatch/authentication", "{}"),
		newRequest(t, http.MethodGet, targetsPath, ""),
	} {
		if a := h.send(r); a.status() != http.StatusNoContent {
			t.Errorf("%s %s: status %d", r.Method, r.URL, a.status())
		}
	}
	if n := len(h.upstream.calls()); n != 4 {
		t.Errorf("nevisFIDO got %d of 4 requests", n)
	}
}
