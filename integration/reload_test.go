package integration

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// again repeats requests whose connection broke. When a configuration is
// replaced, connections that wait to be accepted are dropped (they are in the
// queue of the listener that closes), with any handler.
type again struct{ http.RoundTripper }

func (a again) RoundTrip(r *http.Request) (*http.Response, error) {
	for tries := 1; ; tries++ {
		response, err := a.RoundTripper.RoundTrip(r.Clone(r.Context()))
		if err == nil || tries == 20 || r.Context().Err() != nil {
			return response, err
		}
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// A hundred dispatches while the configuration changes ten times: all arrive,
// each at its own phone.
func TestReloadsUnderLoad(t *testing.T) {
	const phones, rounds, reloads = 20, 5, 10
	s := start(t, options{nevis: nevis.Options{Mode: nevis.LTS21}})
	s.client.Transport = again{s.client.Transport}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(s.config), nil)
	must(t, err)
	all := make([]*phone, phones)
	for i := range all {
		// A key of its own: no phone can read what is another's.
		all[i] = s.registerAs(device.Options{}, device.Registration{})
		s.modify(all[i], device.Change{NewKey: "P-256"})
	}
	var work sync.WaitGroup
	begin := make(chan struct{})
	for i, p := range all {
		work.Go(func() {
			<-begin
			for round := range rounds {
				channel := channels[(i+round)%2]
				if err := s.carry(p, channel); err != nil {
					t.Errorf("phone %d, %s: %v", i, channel, err)
				}
			}
		})
	}
	close(begin)
	for range reloads {
		if err := caddy.Load(config, true); err != nil {
			t.Error(err)
		}
	}
	work.Wait()
	// A request that had reached nevisFIDO before its connection broke would
	// show as a token too many, which nobody redeemed.
	if created, redeemed := s.nevis.Tokens(); created != phones*rounds || redeemed != created {
		t.Errorf("%d tokens were created and %d redeemed, want %d", created, redeemed, phones*rounds)
	}
}

// carry takes one message to the phone and redeems it.
func (s *stack) carry(p *phone, channel string) error {
	a, err := s.tryDispatch(nevisfido.Authentication, channel, p.TargetID())
	if err != nil {
		return err
	}
	_, m, err := s.tryReceive(p, a)
	switch {
	case err != nil:
		return err
	case m.Token != a.Token || !m.Sealed:
		return errors.New("the phone got another message than its own")
	}
	_, err = p.Redeem(context.Background(), m)
	return err
}

// A request that is under way ends under the configuration that it began with.
func TestReloadDuringAnExchange(t *testing.T) {
	s := start(t, options{})
	s.client.Transport = again{s.client.Transport}
	p := s.register("P-256")
	asked, answer := make(chan struct{}), make(chan struct{})
	s.nevis.Script(func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		close(asked)
		<-answer
		regular.ServeHTTP(w, r)
	})
	done := make(chan error)
	go func() { done <- s.carry(p, "push") }()
	<-asked
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.Replace(s.config, "dispatcher push fcm", "dispatcher pushed fcm", 1)), nil)
	must(t, err)
	if err := caddy.Load(config, true); err != nil { // which cleans the old one up
		t.Fatal(err)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if a := s.dispatch("push", p.TargetID()); a.Result == nevisfido.Dispatched {
		t.Errorf("the old configuration is still in force: %s", a.body)
	}
}
