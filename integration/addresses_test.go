package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
)

func startGateway(t *testing.T) *gateway.Server {
	t.Helper()
	g, err := gateway.Start(gateway.Options{})
	must(t, err)
	t.Cleanup(g.Close)
	return g
}

// smsTo is a dispatcher of a gateway.
func smsTo(g *gateway.Server, address string) string {
	return fmt.Sprintf(`
		dispatcher sms webhook {
			url %s/messages
			address %q
			base_url https://app.example.com/open
			body "{\"to\":\"{webhook.address}\",\"text\":\"{oob.link}\"}"
		}`, g.URL(), address)
}

// An address that still holds a placeholder is nobody's: nothing is sent, and
// what can be known of it is a warning when the configuration is loaded.
func TestPlaceholdersThatWereNotReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		address string
		want    nevisfido.DispatchResult
		warned  bool
	}{
		"right":    {"{http.request.header.X-Mobile}", nevisfido.Dispatched, false},
		"mistyped": {"{http.request.headers.X-Mobile}", nevisfido.InternalError, true},
		"unknown":  {"{mobile}", nevisfido.InternalError, false}, // it may be one of the directive map
		"empty":    {"{http.vars.mobile}", nevisfido.DispatchTargetNotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t)
			s := start(t, options{handler: smsTo(g, test.address)})
			if warned := len(logged.lines(`"level":"warn"`, "placeholder")) > 0; warned != test.warned {
				t.Errorf("a warning at load: %v, want %v", warned, test.warned)
			}
			p := s.register("P-256")
			r := s.send(http.MethodPost, authentication, request(nevisfido.Authentication, "sms", p.TargetID()),
				"Content-Type", jsonType, "X-Mobile", "+41790000000")
			if !strings.Contains(string(r.body), fmt.Sprintf(`"dispatchResult":%q`, test.want)) {
				t.Errorf("%s, want %s", r, test.want)
			}
			for _, m := range g.Messages() {
				if test.want != nevisfido.Dispatched || !strings.Contains(string(m.Body), `"to":"+41790000000"`) {
					t.Errorf("the gateway got %s", m.Body)
				}
			}
		})
	}
}

// What is gone is an address: whatever needs another one, or none, still serves
// the target, alone as in a composite.
func TestQuarantineIsAboutAnAddress(t *testing.T) {
	g := startGateway(t)
	s := start(t, options{handler: smsTo(g, "+41790000000") + `
		dispatcher push-or-sms fallback {
			try push sms
		}
		dispatcher push-and-sms fan_out {
			to push sms
		}`})
	p := s.register("P-256")
	s.google.Unregister(p.pushToken)
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	sends, asked := s.google.Sends(), len(s.nevis.Requests())
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	if n := len(s.nevis.Requests()) - asked; n != 0 {
		t.Errorf("a quarantined target cost %d requests to nevisFIDO", n)
	}
	for _, channel := range []string{"app-link", "app-qr", "raw-qr", "sms", "push-or-sms", "push-and-sms"} {
		if a := s.dispatch(channel, p.TargetID()); a.Result != nevisfido.Dispatched {
			t.Errorf("%s: %s", channel, a.body)
		}
	}
	if n := s.google.Sends() - sends; n != 0 {
		t.Errorf("%d messages went to the address that is gone", n)
	}
	if n := len(g.Messages()); n != 3 {
		t.Errorf("the gateway got %d messages, want 3", n)
	}
	// A new address ends it.
	p.pushToken = s.google.Register()
	s.modify(p, device.Change{Target: p.pushToken})
	s.take(p, nevisfido.Authentication, "push")
}
