package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

var modes = map[string]nevis.Mode{"LTS21": nevis.LTS21, "8.2511": nevis.V8_2511}

var channels = []string{"push", "app-link", "app-qr", "raw-qr"}

// Every channel, operation and kind of key, with a nevisFIDO that gives links
// in clear and with one that seals them itself, for phones that register in
// either way and with keys in either form.
func TestEveryChannelReachesThePhone(t *testing.T) {
	for release, mode := range modes {
		t.Run(release, func(t *testing.T) {
			s := start(t, options{nevis: nevis.Options{Mode: mode}})
			for i, kind := range []string{"RSA-2048", "RSA-3072", "RSA-4096", "P-256", "P-384", "P-521"} {
				for j, how := range []device.Registration{
					{Way: device.CreateTarget},
					{Way: device.CreateTarget, KeysAsText: true},
					{Way: device.InRegistration},
					{Way: device.InRegistration, KeysAsText: true},
				} {
					// The larger keys take long, and differ in the key only.
					if kind != "RSA-2048" && kind != "P-256" && j%2 != i%2 {
						continue
					}
					p := s.registerAs(device.Options{KeyKind: kind, RequireSealed: true}, how)
					for k, op := range nevisfido.Operations() {
						for l, channel := range channels {
							// Pictures take long: about one for each phone.
							if strings.HasSuffix(channel, "qr") && (i+j+k+l)%6 != 0 {
								continue
							}
							s.take(p, op, channel)
						}
					}
				}
			}
		})
	}
}

// take carries one message from the relying party to the redeemed token.
func (s *stack) take(p *phone, op nevisfido.Operation, channel string) {
	s.t.Helper()
	a := s.dispatchAs(op, channel, p.TargetID())
	if a.Info.Name != channel {
		s.t.Errorf("the answer names the dispatcher %q, want %q", a.Info.Name, channel)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		s.t.Errorf("Cache-Control is %q", got)
	}
	wire, m := s.receive(p, a)
	if channel == "push" && a.text() != "successful dispatch" {
		s.t.Errorf("the response of a push is %q", a.text())
	}
	if !m.Sealed || m.KeyThumbprint != p.Keys()[0].Public().Thumbprint() {
		s.t.Errorf("%s: sealed for the key %q", channel, m.KeyThumbprint)
	}
	if strings.Contains(wire, a.Token) || strings.Contains(wire, base64.RawURLEncoding.EncodeToString([]byte(a.Token))) {
		s.t.Errorf("%s: the token is readable on the way", channel)
	}
	s.check(p, op, a, m)
}

// check compares what the phone read with what the relying party got and gave,
// and redeems the token, once.
func (s *stack) check(p *phone, op nevisfido.Operation, a answer, m device.Message) {
	s.t.Helper()
	if m.Token != a.Token || a.Token == "" || a.SessionID == "" {
		s.t.Errorf("the phone reads another token than that of the answer %s", a.body)
	}
	if got := m.VisualCode(visualCodeDigits); got != a.VisualCode {
		s.t.Errorf("the browser shows %q, the phone %q", a.VisualCode, got)
	}
	if m.Operation() != op {
		s.t.Errorf("the message is for a %s, want %s", m.Operation(), op)
	}
	var got, want any
	if err := json.Unmarshal(m.Member("order"), &got); err != nil {
		s.t.Errorf("the relying party's data: %v", err)
	}
	must(s.t, json.Unmarshal([]byte(orderNumber), &want))
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("the relying party's data arrived as %v, want %v", got, want)
	}
	redeemed, err := p.Redeem(s.t.Context(), m)
	if err != nil {
		s.t.Fatalf("redeeming: %v", err)
	}
	if redeemed.Operation != op {
		s.t.Errorf("redeemed for a %s, want %s", redeemed.Operation, op)
	}
	if _, err := p.Redeem(s.t.Context(), m); err == nil {
		s.t.Error("a token was redeemed twice")
	}
}

// A phone that is registered for the first time has no key yet: its message
// goes in clear to the caller's own screen, and not to a third party.
func TestFirstRegistration(t *testing.T) {
	for release, mode := range modes {
		t.Run(release, func(t *testing.T) {
			s := start(t, options{nevis: nevis.Options{Mode: mode}})
			for _, channel := range []string{"app-link", "app-qr", "raw-qr"} {
				fresh, err := device.New(device.Options{KeyKind: "P-256", Frontend: s.url(), Client: s.client})
				must(t, err)
				p := &phone{Device: fresh}
				a := s.dispatchAs(nevisfido.Registration, channel, "")
				_, m := s.receive(p, a)
				if m.Sealed {
					t.Errorf("%s: sealed for nobody", channel)
				}
				redeemed, err := fresh.Redeem(t.Context(), m)
				must(t, err)
				how := device.Registration{Way: device.InRegistration, UAFRequest: redeemed.UAFRequest}
				must(t, fresh.Register(t.Context(), s.url()+"/nevisfido", how))
				s.take(p, nevisfido.Authentication, channel)
			}
			a := s.dispatchAs(nevisfido.Registration, "push", "")
			s.wantResult(a, nevisfido.DispatchTargetNotFound)
			if n := s.google.Sends(); n != 0 {
				t.Errorf("%d push messages were sent", n)
			}
		})
	}
}

// No key, no message: not in clear, and without telling why.
func TestEncryptionPolicies(t *testing.T) {
	s := start(t, options{nevis: nevis.Options{Mode: nevis.LTS21}, handler: `
		dispatcher sealed-link link {
			encryption required
		}
		dispatcher clear-link link {
			encryption off
		}`})
	keyless := s.register(device.NoKey)
	keyed := s.register("P-256")

	for _, name := range []string{"push", "sealed-link"} {
		s.wantResult(s.dispatch(name, keyless.TargetID()), nevisfido.DispatchError)
	}
	if n := s.google.Sends(); n != 0 {
		t.Errorf("%d push messages were sent", n)
	}
	for name, p := range map[string]*phone{"app-link": keyless, "raw-qr": keyless, "clear-link": keyed} {
		a := s.dispatch(name, p.TargetID())
		_, m := s.receive(p, a)
		if m.Sealed {
			t.Errorf("%s: sealed", name)
		}
		s.check(p, nevisfido.Authentication, a, m)
	}
	for _, name := range []string{"app-link", "sealed-link"} {
		s.take(keyed, nevisfido.Authentication, name)
	}
	if lines := logged.lines("sends messages in clear", "clear-link"); len(lines) == 0 {
		t.Error("the clear dispatcher was loaded without a warning")
	}
	for _, id := range []string{"unknown", "..", "../..", ".", "a/b", strings.Repeat("x", 4096)} {
		s.wantResult(s.dispatch("push", id), nevisfido.DispatchTargetNotFound)
	}
}

// What another hand wrote reads the picture of the whole run.
func TestZbarReadsThePicture(t *testing.T) {
	zbarimg := testservice.Need(t, "zbarimg")
	s := start(t, options{})
	p := s.register("RSA-3072")
	for _, channel := range []string{"app-qr", "raw-qr"} {
		a := s.dispatch(channel, p.TargetID())
		picture, err := base64.StdEncoding.DecodeString(a.text())
		if err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
		file := filepath.Join(t.TempDir(), channel+".png")
		must(t, os.WriteFile(file, picture, 0o600))
		content, err := exec.CommandContext(t.Context(), zbarimg, "--quiet", "--raw", file).Output()
		if err != nil {
			t.Fatalf("zbarimg: %v", err)
		}
		m, err := p.Open(strings.TrimSpace(string(content)))
		must(t, err)
		s.check(p, nevisfido.Authentication, a, m)
	}
}
