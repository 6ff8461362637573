package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

func (s *stack) modify(p *phone, c device.Change) {
	s.t.Helper()
	if err := p.Modify(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
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
			for _, c := range []device.Change{
				{NewKey: "P-384"}, {NewKey: "RSA-2048", KeysAsText: true}, {NewKey: "P-256", Name: "another name"},
			} {
				s.modify(p, c)
				s.take(p, nevisfido.Authentication, "push")
				s.take(p, nevisfido.Authentication, "app-link")
			}
		})
	}
}

func TestNewPushToken(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	old := p.pushToken
	p.pushToken = s.google.Register()
	s.modify(p, device.Change{Target: p.pushToken})
	s.take(p, nevisfido.Authentication, "push")
	if n := len(s.google.Unread(old)); n != 0 {
		t.Errorf("%d messages went to the old token", n)
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
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SendSigned(t.Context(), replayed); err != nil {
		t.Fatal(err)
	}
	foreign, err := attacker.Sign(device.Change{Target: attacker.pushToken})
	if err != nil {
		t.Fatal(err)
	}
	payload := fmt.Sprintf(`{"requestId":"r","creationTimeInEpochMillis":1,"dispatchTargetId":%q,"target":%q}`, p.TargetID(), attacker.pushToken)
	forged, err := attacker.SignatureKey().Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
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

// Where nevisFIDO accepts what the known key did not sign, or its answer does
// not come, nobody knows which key holds: nothing is sent until a change that
// is certain.
func TestUncertainModifications(t *testing.T) {
	s := start(t, options{})
	for name, strike := range map[string]fault.Fault{
		"500":               fault.Answer(http.StatusInternalServerError, nil, ""),
		"302":               fault.Redirect("https://login.example.com/"),
		"no answer":         fault.ResetAfterDelivery,
		"accepted a forger": fault.Answer(http.StatusNoContent, nil, ""),
	} {
		p, other := s.register("P-256"), s.register("P-384")
		s.nevis.Script(strike)
		if name == "accepted a forger" {
			jws, err := other.SignatureKey().Sign(fmt.Appendf(nil, `{"dispatchTargetId":%q,"target":%q}`, p.TargetID(), other.pushToken))
			if err != nil {
				t.Fatal(err)
			}
			s.send(http.MethodPatch, "/nevisfido/token/dispatch/targets/"+p.TargetID(), jws, "Content-Type", "application/jose")
		} else if err := p.Modify(t.Context(), device.Change{NewKey: "P-384", Target: other.pushToken}); err == nil {
			t.Errorf("%s: the device heard of a success", name)
		}
		sends := s.google.Sends()
		for _, channel := range []string{"push", "app-link"} {
			s.wantResult(s.dispatch(channel, p.TargetID()), nevisfido.DispatchError)
		}
		if n := s.google.Sends() - sends; n != 0 {
			t.Errorf("%s: %d push messages were sent", name, n)
		}
		if name == "accepted a forger" {
			continue // the keys are in doubt: only a registration helps
		}
		s.modify(p, device.Change{NewKey: "P-256", Target: p.pushToken})
		s.take(p, nevisfido.Authentication, "push")
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
	if err != nil {
		t.Fatal(err)
	}
	again := &httptest.Server{Listener: l, Config: &http.Server{Handler: s.nevis}}
	again.Start()
	defer again.Close()
	s.take(p, nevisfido.Authentication, "push")
}

func TestDelete(t *testing.T) {
	s := start(t, options{})
	p, kept := s.register("P-256"), s.register("P-384")
	id := p.TargetID()
	if err := p.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"push", "app-link", ""} {
		if a := s.dispatch(channel, id); a.Result != nevisfido.DispatchTargetNotFound && channel != "" || a.Result == nevisfido.Dispatched {
			t.Errorf("%q: %s", channel, a.body)
		}
	}
	s.take(kept, nevisfido.Authentication, "push")
	if lines := logged.lines("level\":\"error"); len(lines) != 0 {
		t.Errorf("%s", lines)
	}
}

// nevisFIDO's device service takes the targets along.
func TestDeviceService(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	signed := func(c device.Change) []string {
		jws, err := p.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
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

// altered returns the JWK of a public key with other members.
func altered(t *testing.T, kind string, members map[string]any) string {
	t.Helper()
	jwk := make(map[string]any)
	if err := json.Unmarshal(keyOf(t, kind).Public().JWK(), &jwk); err != nil {
		t.Fatal(err)
	}
	maps.Copy(jwk, members)
	text, err := json.Marshal(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// nevisFIDO may take any key; we do not, and send nothing that needs one.
func TestHostileKeys(t *testing.T) {
	s := start(t, options{nevis: nevis.Options{Mode: nevis.LTS21}})
	private := string(keyOf(t, "RSA-2048").JWK())
	if !strings.Contains(private, `"d":`) {
		t.Fatal("the key is not a private one")
	}
	for i, jwk := range []string{
		private,
		string(keyOf(t, "P-256").JWK()),
		`{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"kty":"RSA","n":"AQAB","e":"AQAB"}`,
		`{"kty":"RSA","n":"","e":"AQAB"}`,
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		altered(t, "P-256", map[string]any{"use": "sig"}),
		altered(t, "RSA-2048", map[string]any{"alg": "RSA1_5"}),
		altered(t, "RSA-2048", map[string]any{"key_ops": []string{"verify"}}),
	} {
		pushToken := s.google.Register()
		r := s.send(http.MethodPost, "/nevisfido/token/dispatch/targets",
			fmt.Sprintf(`{"username":"jeff","name":"hostile %d","target":%q,"dispatcher":"push","encryptionKey":%s}`, i, pushToken, jwk), "Content-Type", jsonType)
		var created struct{ ID string }
		if err := json.Unmarshal(r.body, &created); err != nil || r.status != http.StatusCreated {
			t.Fatalf("%d: %s", i, r)
		}
		s.wantResult(s.dispatch("push", created.ID), nevisfido.DispatchError)
	}
	if n := s.google.Sends(); n != 0 {
		t.Errorf("%d push messages were sent", n)
	}
	var exponent struct{ D string }
	if err := json.Unmarshal([]byte(private), &exponent); err != nil {
		t.Fatal(err)
	}
	s.wantNowhere(map[string]string{"a private key": exponent.D})
}

// Ids that would be paths lead nowhere, whoever brings them.
func TestHostileTargetIDs(t *testing.T) {
	s := start(t, options{})
	kept := s.register("P-256")
	for _, id := range []string{"", ".", "..", "../..", "../../..", "/", "a/../../b", strings.Repeat("x", 5000), "\\u0000", "oob/targets"} {
		s.nevis.Script(nevis.Members(map[string]string{"id": `"` + id + `"`}))
		fresh, err := device.New(device.Options{KeyKind: "P-256", Dispatcher: "push", Client: s.client})
		if err != nil {
			t.Fatal(err)
		}
		_ = fresh.Register(t.Context(), s.url()+"/nevisfido", device.Registration{}) // the device may find the id odd as well
		s.raw(http1("DELETE", "/nevisfido/token/dispatch/targets/"+strings.ReplaceAll(id, "\\", "%5c"), "", ""))
		s.raw(http1("PATCH", "/nevisfido/token/dispatch/targets/"+strings.ReplaceAll(id, "/", "%2F"), "Content-Type: application/jose\n", "a.b.c"))
	}
	s.take(kept, nevisfido.Authentication, "push")
}
