package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

func (s *stack) modify(p *phone, c device.Change) {
	s.t.Helper()
	must(s.t, p.Modify(s.t.Context(), c))
}

// wantStatus checks that a device's call was refused with a status.
func (s *stack) wantStatus(err error, status int) {
	s.t.Helper()
	if refusal, ok := errors.AsType[*device.StatusError](err); !ok || refusal.Status != status {
		s.t.Errorf("%v, want status %d", err, status)
	}
}

func TestKeyRotation(t *testing.T) {
	for release, mode := range modes {
		t.Run(release, func(t *testing.T) {
			s := start(t, options{nevis: nevis.Options{Mode: mode}})
			p := s.register("P-256")
			old := p.pushToken
			p.pushToken = s.google.Register()
			for _, c := range []device.Change{
				{NewKey: "P-384", Target: p.pushToken}, {NewKey: "RSA-2048", KeysAsText: true}, {NewKey: "P-256", Name: "another name"},
			} {
				s.modify(p, c)
				s.take(p, nevisfido.Authentication, "push")
				s.take(p, nevisfido.Authentication, "app-link")
			}
			if n := len(s.google.Unread(old)); n != 0 {
				t.Errorf("%d messages went to the old token", n)
			}
		})
	}
}

// nevisFIDO knows nothing of our dispatchers: it is shown the one that stands
// for them, and callers of the query service are shown ours.
func TestDispatcherNames(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	own := s.registerAs(device.Options{Dispatcher: nevisfido.BuiltInLink, Name: "own"}, device.Registration{})
	shown := func() map[string]string {
		r := s.send(http.MethodGet, "/nevisfido/token/dispatch/targets?username=jeff", "")
		var answer struct {
			DispatchTargets []struct{ Name, ID, Dispatcher string }
		}
		if err := json.Unmarshal(r.body, &answer); err != nil {
			t.Fatalf("%v in %s", err, r)
		}
		names := make(map[string]string)
		for _, target := range answer.DispatchTargets {
			names[target.ID] = target.Dispatcher
		}
		return names
	}
	want := func(id, ours, upstream string) {
		t.Helper()
		if got := shown()[id]; got != ours {
			t.Errorf("the query shows %q, want %q", got, ours)
		}
		if target, _ := s.nevis.Target(id); target.Dispatcher != upstream {
			t.Errorf("nevisFIDO has %q, want %q", target.Dispatcher, upstream)
		}
	}
	want(p.TargetID(), "push", "link")
	want(own.TargetID(), "link", "link")

	// nevisFIDO answers 422 to a name of ours; the change happens all the same.
	s.modify(p, device.Change{Dispatcher: "app-link"})
	want(p.TargetID(), "app-link", "link")
	if a := s.dispatch("", p.TargetID()); a.Info.Name != "app-link" || a.Result != nevisfido.Dispatched {
		t.Errorf("%s", a.body)
	}
	// Nobody knows this name, and this change is not one of the name alone.
	s.wantStatus(p.Modify(t.Context(), device.Change{Dispatcher: "pigeon"}), http.StatusUnprocessableEntity)
	s.wantStatus(p.Modify(t.Context(), device.Change{Dispatcher: "push", Name: "b"}), http.StatusUnprocessableEntity)
	want(p.TargetID(), "app-link", "link")
	// One of nevisFIDO's own is nevisFIDO's to change.
	s.modify(p, device.Change{Dispatcher: nevisfido.BuiltInFCM})
	want(p.TargetID(), nevisfido.BuiltInFCM, nevisfido.BuiltInFCM)
	s.take(p, nevisfido.Authentication, "push")
}

// What the device did not sign changes nothing, and disables nothing.
func TestForgedModifications(t *testing.T) {
	s := start(t, options{})
	p, attacker := s.register("P-256"), s.register("P-384")
	path := "/nevisfido/token/dispatch/targets/" + p.TargetID()
	replayed, err := p.Sign(device.Change{Name: "once"})
	must(t, err)
	must(t, p.SendSigned(t.Context(), replayed))
	foreign, err := attacker.Sign(device.Change{Target: attacker.pushToken})
	must(t, err)
	payload := fmt.Sprintf(`{"requestId":"r","creationTimeInEpochMillis":1,"dispatchTargetId":%q,"target":%q}`, p.TargetID(), attacker.pushToken)
	forged, err := attacker.SignatureKey().Sign([]byte(payload))
	must(t, err)
	header, rest, _ := strings.Cut(forged, ".")
	for name, jws := range map[string]string{
		"another device's key":    forged,
		"another device's change": foreign,
		"replay":                  replayed,
		"no signature":            header + "." + strings.Split(rest, ".")[0] + ".",
		"alg none":                "eyJhbGciOiJub25lIn0." + strings.Split(rest, ".")[0] + ".",
		"no JWS":                  "target=x",
		"nothing":                 "",
		"JSON":                    payload,
	} {
		r := s.send(http.MethodPatch, path, jws, "Content-Type", "application/jose;charset=UTF-8")
		if r.status != http.StatusUnauthorized && r.status != http.StatusBadRequest {
			t.Errorf("%s: %s", name, r)
		}
		s.take(p, nevisfido.Authentication, "push")
	}
	if n := len(s.google.Unread(attacker.pushToken)); n != 0 {
		t.Errorf("%d messages went to the attacker", n)
	}
}

// A nevisFIDO that is not there has changed nothing: who cannot prove anything
// must not be able to silence a device meanwhile.
func TestChangesWhileNevisFIDOIsAway(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	s.nevis.Close()
	target := "/nevisfido/token/dispatch/targets/" + p.TargetID()
	for _, r := range []reply{
		s.send(http.MethodDelete, target, ""),
		s.send(http.MethodPatch, target, "x", "Content-Type", "application/jose"),
		s.changeDevice(p, http.MethodDelete),
	} {
		if r.status != http.StatusBadGateway {
			t.Errorf("answered %s", r)
		}
	}
	l, err := net.Listen("tcp", s.upstream)
	must(t, err)
	again := &httptest.Server{Listener: l, Config: &http.Server{Handler: s.nevis}}
	again.Start()
	defer again.Close()
	s.take(p, nevisfido.Authentication, "push")
}

// nevisFIDO's device service takes the targets along.
func TestDeviceService(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	signed := func(c device.Change) []string {
		jws, err := p.Sign(c)
		must(t, err)
		return []string{"Device-Signature", jws}
	}
	path := "/nevisfido/devices/credentials/" + p.DeviceID()
	if r := s.send(http.MethodPatch, path, "", signed(device.Change{Name: "a"})...); r.status != http.StatusNoContent {
		t.Fatalf("modifying: %s", r)
	}
	s.take(p, nevisfido.Authentication, "push")
	sends := s.google.Sends()
	if r := s.send(http.MethodPatch, path, "{}", signed(device.Change{Name: "a"})...); r.status != http.StatusNoContent {
		t.Fatalf("modifying: %s", r)
	}
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchError) // what changed is not for us to read
	if r := s.send(http.MethodDelete, path, "", signed(device.Change{})...); r.status != http.StatusNoContent {
		t.Fatalf("deleting: %s", r)
	}
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetNotFound)
	if n := s.google.Sends() - sends; n != 0 {
		t.Errorf("%d push messages were sent", n)
	}
}

// Ids that would be paths lead nowhere, whoever brings them.
func TestHostileTargetIDs(t *testing.T) {
	s := start(t, options{})
	kept := s.register("P-256")
	for _, id := range []string{"", ".", "..", "../..", "../../..", "/", "a/../../b", strings.Repeat("x", 5000), "\\u0000", "oob/targets"} {
		s.nevis.Script(nevis.Members(map[string]string{"id": `"` + id + `"`}))
		fresh, err := device.New(device.Options{KeyKind: "P-256", Dispatcher: "push", Client: s.client})
		must(t, err)
		_ = fresh.Register(t.Context(), s.url()+"/nevisfido", device.Registration{}) // the device may find the id odd as well
		s.raw(http1("DELETE", "/nevisfido/token/dispatch/targets/"+strings.ReplaceAll(id, "\\", "%5c"), "", ""))
		s.raw(http1("PATCH", "/nevisfido/token/dispatch/targets/"+strings.ReplaceAll(id, "/", "%2F"), "Content-Type: application/jose\n", "a.b.c"))
	}
	s.take(kept, nevisfido.Authentication, "push")
}
