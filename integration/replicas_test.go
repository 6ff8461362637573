package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// A replica that is told to end says so to whoever checks its health, and goes
// on for a while, as one behind a load balancer has to.
const replicaText = `{
	admin off
	persist_config off
	auto_https off
	skip_install_trust
	shutdown_delay 2s
	grace_period 10s
	storage file_system %[1]s
}
http://%[2]s {
	bind 127.0.0.1
	handle %[3]s {
		@leaving vars {http.shutting_down} true
		respond @leaving 503
		respond 200
	}
	%[4]s
}
`

const sharedOptions = `limit off
		store redis redis://%s {
			timeout 1s
			seal %s
		}
		dispatcher limited link {
			base_url https://app.example.com/open
			limit target 3 1h
			limit client 1000 1h
		}
		dispatcher short-link link {
			base_url nevisaccess://x-callback-url/authenticate
			short_links https://fido.example.com/oob
		}`

// replicas are two sidecars, each a process of its own, that share nothing but
// a Redis and the nevisFIDO behind them.
type replicas struct {
	*stack // without a Caddy of its own

	redis    *testservice.Process
	sidecars []*testservice.Process
}

func startReplicas(t *testing.T) *replicas {
	t.Helper()
	r := &replicas{stack: &stack{client: newClient()}}
	var err error
	r.nevis, err = nevis.Start(nevis.Options{})
	must(t, err)
	t.Cleanup(r.nevis.Close)
	r.google, err = google.Start(google.Options{})
	must(t, err)
	t.Cleanup(r.google.Close)
	r.redis = testservice.NewRedis(t)
	r.redis.Start(t)

	dir, sealKey := t.TempDir(), make([]byte, 32)
	_, _ = rand.Read(sealKey)
	credentials, keyFile := filepath.Join(dir, "firebase.json"), filepath.Join(dir, "seal.key")
	for file, content := range map[string][]byte{credentials: r.google.ServiceAccountJSON(), keyFile: fmt.Appendf(nil, "%x\n", sealKey)} {
		must(t, os.WriteFile(file, content, 0o600))
	}
	site := fmt.Sprintf(handlerText, visualCodeDigits, credentials, r.google.URL(), "", fmt.Sprintf(sharedOptions, r.redis.Address, keyFile)) +
		"\n\treverse_proxy " + r.nevis.Addr() + " {\n\t\ttransport http {\n\t\t\tkeepalive off\n\t\t}\n\t}"
	program := testservice.Product(t)
	for range 2 {
		p := newCaddy(t, program, site)
		p.Start(t)
		r.sidecars = append(r.sidecars, p)
	}
	return r
}

// both returns the two sidecars, each as a stack to work with.
func (r *replicas) both(t *testing.T) (one, two *stack) {
	one, two = new(stack), new(stack)
	*one, *two = *r.stack, *r.stack
	one.t, two.t = t, t
	one.address, two.address = r.sidecars[0].Address, r.sidecars[1].Address
	return one, two
}

// balancer sends each request to a sidecar that says it is well, in turns. It
// sends no request twice.
type balancer struct {
	http.RoundTripper
	addresses []string
	turn      atomic.Int64
}

func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	first := int(b.turn.Add(1))
	for i := range b.addresses {
		address := b.addresses[(first+i)%len(b.addresses)]
		if healthy(b.RoundTripper, address+healthPath) {
			r = r.Clone(r.Context())
			r.URL.Host = address
			return b.RoundTripper.RoundTrip(r)
		}
	}
	return nil, errors.New("no sidecar is well")
}

// balanced returns a stack of both sidecars behind a load balancer.
func (r *replicas) balanced(t *testing.T) *stack {
	s, two := r.both(t)
	client := *s.client
	client.Transport = &balancer{RoundTripper: s.client.Transport, addresses: []string{s.address, two.address}}
	s.client = &client
	return s
}

func (s *stack) wantDispatched(a answer) {
	s.t.Helper()
	if a.Result != nevisfido.Dispatched {
		s.t.Errorf("%s: %s", s.address, a.body)
	}
}

// change sends what a device signed to this sidecar, and not to the one that
// the device registered with.
func (s *stack) change(p *phone, c device.Change) {
	s.t.Helper()
	jws, err := p.Sign(c)
	must(s.t, err)
	r := s.send(http.MethodPatch, "/nevisfido/token/dispatch/targets/"+p.TargetID(), jws, "Content-Type", "application/jose;charset=UTF-8")
	if r.status != http.StatusNoContent {
		s.t.Fatalf("modifying: %s", r)
	}
}

// Two sidecars on one Redis are one to everybody around them. Nothing of a
// target is kept in a process between two requests, so what one of them has
// answered holds on the other from that moment on.
func TestReplicas(t *testing.T) {
	r := startReplicas(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"registered on one, dispatched on the other", r.testRegistration},
		{"modified on one, in force on the other", r.testModification},
		{"while a modification is under way", r.testModificationUnderWay},
		{"revoked on one, refused on the other", r.testRevocation},
		{"limits are counted once", r.testLimits},
		{"quarantine", r.testQuarantine},
		{"short links", r.testShortLinks},
		{"rolling restart", r.testRollingRestart},
	} {
		if !t.Run(test.name, test.run) {
			t.FailNow()
		}
	}
}

func (r *replicas) testRegistration(t *testing.T) {
	one, two := r.both(t)
	for _, how := range []device.Registration{{Way: device.CreateTarget}, {Way: device.InRegistration}} {
		p := one.registerAs(device.Options{KeyKind: "P-256", RequireSealed: true}, how)
		for _, s := range []*stack{two, one} {
			s.take(p, nevisfido.Authentication, "push")
			s.take(p, nevisfido.Deregistration, "app-link")
		}
	}
}

func (r *replicas) testModification(t *testing.T) {
	one, two := r.both(t)
	p := one.register("P-256")
	two.take(p, nevisfido.Authentication, "push") // it has seen the old key
	for i, s := range []*stack{two, one, two} {
		old := p.pushToken
		p.pushToken = r.google.Register()
		s.change(p, device.Change{NewKey: []string{"P-384", "RSA-2048", "P-256"}[i], Target: p.pushToken})
		for _, s := range []*stack{one, two} {
			s.take(p, nevisfido.Authentication, "push")
			s.take(p, nevisfido.Authentication, "app-link")
		}
		if n := len(r.google.Unread(old)); n != 0 {
			t.Errorf("%d messages went to the old token", n)
		}
	}
}

// As long as nobody knows whether nevisFIDO will accept a change, neither of
// the sidecars uses the old key or the new one.
func (r *replicas) testModificationUnderWay(t *testing.T) {
	one, two := r.both(t)
	p := one.register("P-256")
	asked, answer := make(chan struct{}), make(chan struct{})
	r.nevis.Script(func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		close(asked)
		<-answer
		regular.ServeHTTP(w, r)
	})
	done := make(chan error)
	go func() { done <- p.Modify(t.Context(), device.Change{NewKey: "P-384"}) }()
	<-asked
	sends := r.google.Sends()
	for _, s := range []*stack{one, two} {
		for _, channel := range []string{"push", "app-link"} {
			s.wantResult(s.dispatch(channel, p.TargetID()), nevisfido.DispatchError)
		}
	}
	if n := r.google.Sends() - sends; n != 0 {
		t.Errorf("%d push messages were sent", n)
	}
	close(answer)
	must(t, <-done)
	two.take(p, nevisfido.Authentication, "push")
}

func (r *replicas) testRevocation(t *testing.T) {
	one, two := r.both(t)
	for name, revoke := range map[string]func(*phone) reply{
		"the target is deleted": func(p *phone) reply {
			return two.send(http.MethodDelete, "/nevisfido/token/dispatch/targets/"+p.TargetID(), "")
		},
		"the device is deleted": func(p *phone) reply {
			jws, err := p.Sign(device.Change{})
			must(t, err)
			return two.send(http.MethodDelete, "/nevisfido/devices/credentials/"+p.DeviceID(), "", "Device-Signature", jws)
		},
	} {
		p := one.register("P-256")
		one.take(p, nevisfido.Authentication, "push")
		if answered := revoke(p); answered.status != http.StatusNoContent {
			t.Fatalf("%s: %s", name, answered)
		}
		sends := r.google.Sends()
		for _, s := range []*stack{one, two} {
			for _, channel := range []string{"push", "app-link"} {
				s.wantResult(s.dispatch(channel, p.TargetID()), nevisfido.DispatchTargetNotFound)
			}
		}
		if n := r.google.Sends() - sends; n != 0 {
			t.Errorf("%s: %d push messages were sent", name, n)
		}
	}
}

func (r *replicas) testLimits(t *testing.T) {
	one, two := r.both(t)
	p := one.register("P-256")
	for _, s := range []*stack{one, two, one} {
		s.wantDispatched(s.dispatch("limited", p.TargetID()))
	}
	for _, s := range []*stack{two, one} {
		s.wantResult(s.dispatch("limited", p.TargetID()), nevisfido.DispatchError)
	}

	// All at once
	p = two.register("P-256")
	var dispatched atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			a, err := []*stack{one, two}[i%2].tryDispatch(nevisfido.Authentication, "limited", p.TargetID())
			switch {
			case err == nil && a.Result == nevisfido.Dispatched:
				dispatched.Add(1)
			case err != nil || a.Result != nevisfido.DispatchError:
				t.Errorf("%s, error %v", a.body, err)
			}
		})
	}
	all.Wait()
	if n := dispatched.Load(); n != 3 {
		t.Errorf("of 20 at once %d were dispatched, want 3", n)
	}
}

func (r *replicas) testQuarantine(t *testing.T) {
	one, two := r.both(t)
	p := one.register("P-256")
	r.google.Unregister(p.pushToken)
	one.wantResult(one.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	sends, asked := r.google.Sends(), len(r.nevis.Requests())
	for _, s := range []*stack{two, one} {
		s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	}
	if r.google.Sends() != sends || len(r.nevis.Requests()) != asked {
		t.Errorf("a quarantined target cost %d requests to FCM and %d to nevisFIDO", r.google.Sends()-sends, len(r.nevis.Requests())-asked)
	}
	p.pushToken = r.google.Register()
	two.change(p, device.Change{Target: p.pushToken})
	one.take(p, nevisfido.Authentication, "push")
}

// shorten makes a short link on a sidecar.
func (r *replicas) shorten(s *stack, p *phone) (a answer, path string) {
	s.t.Helper()
	a = s.dispatch("short-link", p.TargetID())
	s.wantDispatched(a)
	return a, pathOf(s.t, a.text())
}

func (r *replicas) testShortLinks(t *testing.T) {
	one, two := r.both(t)
	p := one.register("P-256")
	a, path := r.shorten(one, p)
	m, err := p.Open(two.press(path))
	must(t, err)
	two.check(p, nevisfido.Authentication, a, m)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if again := one.send(method, path, ""); again.status != http.StatusNotFound {
			t.Errorf("%s once more: %s", method, again)
		}
	}

	// All at once
	_, path = r.shorten(two, p)
	var followed atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			opened, err := []*stack{one, two}[i%2].try(http.MethodPost, path, "")
			switch {
			case err == nil && opened.status == http.StatusSeeOther:
				followed.Add(1)
			case err != nil || opened.status != http.StatusNotFound:
				t.Errorf("%s, error %v", opened, err)
			}
		})
	}
	all.Wait()
	if n := followed.Load(); n != 1 {
		t.Errorf("%d followed the short link", n)
	}
}

// While the sidecars are replaced one after the other, every dispatch arrives.
func (r *replicas) testRollingRestart(t *testing.T) {
	const phones = 3
	s := r.balanced(t)
	createdBefore, redeemedBefore := r.nevis.Tokens()
	ctx, stop := context.WithCancel(t.Context())
	var carried atomic.Int64
	var stream sync.WaitGroup
	defer stream.Wait()
	defer stop()
	for i := range phones {
		p := s.register("P-256")
		stream.Go(func() {
			for ctx.Err() == nil {
				if err := s.carry(p, channels[i%2]); err != nil {
					t.Errorf("phone %d, after %d dispatches of all: %v", i, carried.Load(), err)
					return
				}
				carried.Add(1)
			}
		})
	}
	progress := func() {
		t.Helper()
		goal := carried.Load() + 5*phones
		waitFor(t, "progress", func() bool { return carried.Load() >= goal || t.Failed() })
	}
	progress()
	for _, sidecar := range r.sidecars {
		sidecar.Terminate(t)
		progress()
		sidecar.Start(t)
		progress()
	}
	stop()
	stream.Wait()
	created, redeemed := r.nevis.Tokens()
	if n := int(carried.Load()); created-createdBefore != n || redeemed-redeemedBefore != n {
		t.Errorf("%d tokens were created and %d redeemed, want %d", created-createdBefore, redeemed-redeemedBefore, n)
	}
}
