package integration

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// record returns the file in which a target is kept, and what stands in it.
func (s *stack) record(p *phone) (path, content string) {
	s.t.Helper()
	for path, content := range s.stored() {
		if strings.Contains(path, "/targets/") && strings.Contains(content, p.TargetID()) {
			return path, content
		}
	}
	return "", ""
}

func (s *stack) write(path, content string) {
	s.t.Helper()
	must(s.t, os.WriteFile(path, []byte(content), 0o600))
}

// wantBroken checks that nothing is sent while the store cannot tell about a
// target, and that everything that needs no target goes on.
func (s *stack) wantBroken(name string, p *phone) {
	s.t.Helper()
	sends := s.google.Sends()
	for _, channel := range []string{"push", "app-link", "raw-qr", ""} {
		a := s.dispatch(channel, p.TargetID())
		if a.Result != nevisfido.InternalError {
			s.t.Errorf("%s, %q: %s, want internalError", name, channel, a.Result)
		}
		s.wantNoMessage(a.body)
	}
	if n := s.google.Sends() - sends; n != 0 {
		s.t.Errorf("%s: %d push messages were sent", name, n)
	}
	for _, channel := range []string{"app-link", nevisfido.BuiltInLink} {
		if a := s.dispatch(channel, ""); a.Result != nevisfido.Dispatched {
			s.t.Errorf("%s: without a target: %s", name, a.body)
		}
	}
	if r := s.send(http.MethodPost, "/nevisfido/status", `{"sessionId":"x"}`, "Content-Type", jsonType); r.status != http.StatusOK {
		s.t.Errorf("%s: the status service: %s", name, r)
	}
}

// leave takes the storage away until the function that it returns is called: a
// file is in its place, or nothing, as where a volume is not mounted.
func (s *stack) leave(unmounted bool) (back func()) {
	s.t.Helper()
	away := s.storage + ".away"
	must(s.t, os.Rename(s.storage, away))
	if !unmounted {
		s.write(s.storage, "not a folder")
	}
	return func() {
		s.t.Helper()
		if err := os.RemoveAll(s.storage); err != nil { // what was made in its place
			s.t.Fatal(err)
		}
		must(s.t, os.Rename(away, s.storage))
	}
}

// changeDevice makes a call of the device service.
func (s *stack) changeDevice(p *phone, method string) reply {
	s.t.Helper()
	jws, err := p.Sign(device.Change{Name: "another"})
	must(s.t, err)
	return s.send(method, "/nevisfido/devices/credentials/"+p.DeviceID(), "", "Device-Signature", jws)
}

// A record that cannot be read is no target without a key: nothing is sent,
// whatever the policy.
func TestDamagedRecords(t *testing.T) {
	for release, mode := range modes {
		t.Run(release, func(t *testing.T) {
			s := start(t, options{nevis: nevis.Options{Mode: mode}})
			p, other := s.register("RSA-2048"), s.register("P-256")
			path, good := s.record(p)
			_, foreign := s.record(other)
			for name, content := range map[string]string{
				"empty":                   "",
				"garbage":                 "\x00\xff\x00",
				"truncated":               good[:len(good)/2],
				"no JSON":                 "{",
				"another JSON":            `{"a":1}`,
				"null":                    "null",
				"another target's record": foreign,
				"a later release's":       strings.Replace(good, `"schema":2`, `"schema":99`, 1),
				"without an id":           strings.Replace(good, p.TargetID(), "", 1),
				"larger than any record":  good + strings.Repeat(" ", 1<<20),
			} {
				if content == good {
					t.Fatalf("%s: the record has another form than expected: %s", name, good)
				}
				s.write(path, content)
				s.wantBroken(name, p)
			}
			s.write(path, good)
			s.take(p, nevisfido.Authentication, "push")
		})
	}
}

// While the storage is away nothing is sent and nothing changes behind its
// back; afterwards everything goes on, without a restart. One that is not mounted
// is not an empty one.
func TestStorageThatFails(t *testing.T) {
	for _, unmounted := range []bool{false, true} {
		t.Run(fmt.Sprintf("unmounted %t", unmounted), func(t *testing.T) {
			s := start(t, options{})
			p := s.register("P-256")
			back := s.leave(unmounted)
			s.wantBroken("away", p)
			asked := len(s.nevis.Requests())
			for _, method := range []string{http.MethodPatch, http.MethodDelete} {
				if r := s.changeDevice(p, method); r.status != http.StatusServiceUnavailable {
					t.Errorf("%s of the device: %s", method, r)
				}
			}
			s.wantStatus(p.Modify(t.Context(), device.Change{Name: "another"}), http.StatusServiceUnavailable)
			s.wantStatus(p.Delete(t.Context()), http.StatusServiceUnavailable)
			create := `{"username":"jeff","name":"late","target":"token","dispatcher":"push"}`
			if r := s.send(http.MethodPost, "/nevisfido/token/dispatch/targets", create, "Content-Type", jsonType); r.status != http.StatusServiceUnavailable {
				t.Errorf("a creation: %s", r)
			}
			if n := len(s.nevis.Requests()) - asked; n != 0 {
				t.Errorf("%d changes reached nevisFIDO", n)
			}
			back()
			s.take(p, nevisfido.Authentication, "push")
			s.modify(p, device.Change{NewKey: "P-384"})
			s.take(p, nevisfido.Authentication, "push")
		})
	}
}

// nevisFIDO has made targets, one of them with a known id, and the storage could
// not be told: they are used at once, and not forgotten by a new configuration.
func TestCreationWhileStorageFails(t *testing.T) {
	s := start(t, options{handler: "observe"})
	as := device.Options{Dispatcher: nevisfido.BuiltInFCM, KeyKind: "P-256"}
	known := s.registerAs(as, device.Registration{})
	back := s.leave(false)
	s.nevis.Script(nevis.Members(map[string]string{"id": `"` + known.TargetID() + `"`}))
	as.KeyKind = "P-384"
	again, late := s.registerAs(as, device.Registration{}), s.registerAs(as, device.Registration{})
	if lines := logged.lines("only this process knows of it"); len(lines) != 2 {
		t.Errorf("the log says %q", lines)
	}
	s.config = strings.Replace(s.config, "observe", "", 1)
	s.load()
	s.take(again, nevisfido.Authentication, "push")
	s.take(late, nevisfido.Authentication, "push")
	back()
	for _, p := range []*phone{again, late} {
		waitFor(t, "the writing of the record", func() bool {
			_, content := s.record(p)
			return strings.Contains(content, "P-384")
		})
	}
	s.take(again, nevisfido.Authentication, "push")
	s.take(late, nevisfido.Authentication, "push")
}

// What is stored names nobody in a file name, and is for the owner to read.
func TestStoredRecords(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	path, _ := s.record(p)
	for _, part := range []string{p.TargetID(), "jeff", p.DeviceID()} {
		if strings.Contains(path, part) {
			t.Errorf("%q stands in the name %s", part, path)
		}
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the record's mode is %s", info.Mode())
	}
	must(t, p.Delete(t.Context()))
	for path, content := range s.stored() {
		if strings.Contains(content, p.pushToken) {
			t.Errorf("a deleted target is still stored: %s: %s", path, content)
		}
	}
}
