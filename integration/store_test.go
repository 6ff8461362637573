package integration

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// record returns the file in which a target is kept.
func (s *stack) record(p *phone) string {
	s.t.Helper()
	for path, content := range s.stored() {
		if strings.Contains(path, "/targets/") && strings.Contains(content, p.TargetID()) {
			return path
		}
	}
	s.t.Fatal("the target is not stored")
	return ""
}

// holds tells whether the storage has a record of the target with a text in it.
func (s *stack) holds(p *phone, text string) bool {
	s.t.Helper()
	for path, content := range s.stored() {
		if strings.Contains(path, "/targets/") && strings.Contains(content, p.TargetID()) && strings.Contains(content, text) {
			return true
		}
	}
	return false
}

func (s *stack) write(path, content string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
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

// leave takes the storage away until the function that it returns is called.
func (s *stack) leave() (back func()) {
	s.t.Helper()
	away := s.storage + ".away"
	if err := os.Rename(s.storage, away); err != nil {
		s.t.Fatal(err)
	}
	s.write(s.storage, "not a folder")
	return func() {
		s.t.Helper()
		if err := os.Remove(s.storage); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Rename(away, s.storage); err != nil {
			s.t.Fatal(err)
		}
	}
}

// changeDevice makes a call of the device service.
func (s *stack) changeDevice(p *phone, method string) reply {
	s.t.Helper()
	jws, err := p.Sign(device.Change{Name: "another"})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.send(method, "/nevisfido/devices/credentials/"+p.DeviceID(), "", "Device-Signature", jws)
}

// createFor makes a target with a key of its own whose id is that of a phone.
func (s *stack) createFor(p *phone, kind string) *phone {
	s.t.Helper()
	s.nevis.Script(nevis.Members(map[string]string{"id": `"` + p.TargetID() + `"`}))
	return s.register(kind)
}

// A record that cannot be read is no target without a key: nothing is sent,
// whatever the policy.
func TestDamagedRecords(t *testing.T) {
	for release, mode := range modes {
		t.Run(release, func(t *testing.T) {
			s := start(t, options{nevis: nevis.Options{Mode: mode}})
			p, other := s.register("RSA-2048"), s.register("P-256")
			path := s.record(p)
			good, foreign := s.stored()[path], s.stored()[s.record(other)]
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

// Whoever can write a record can, at worst, make it useless: never is another
// key used than the one that stands in a record that is whole.
func TestEveryDamagedByteOfAKey(t *testing.T) {
	s := start(t, options{nevis: nevis.Options{Mode: nevis.LTS21}})
	p := s.register("P-256")
	path := s.record(p)
	good := s.stored()[path]
	start := strings.Index(good, `"x":"`)
	if start < 0 {
		t.Fatalf("the record has another form than expected: %s", good)
	}
	for i := start + 5; i < start+48; i += 3 {
		letter := byte('A')
		if good[i] == letter {
			letter = 'B'
		}
		s.write(path, good[:i]+string(letter)+good[i+1:])
		a := s.dispatch("push", p.TargetID())
		if a.Result == nevisfido.Dispatched {
			t.Errorf("byte %d: a message was sent", i)
		}
		s.wantNoMessage(a.body)
	}
}

// While the storage is away nothing is sent and nothing changes behind its
// back; afterwards everything goes on, without a restart.
func TestStorageThatFails(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	away := s.storage + ".away"
	if err := os.Rename(s.storage, away); err != nil {
		t.Fatal(err)
	}
	s.write(s.storage, "not a folder")
	s.wantBroken("away", p)

	asked := len(s.nevis.Requests())
	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		if r := s.changeDevice(p, method); r.status != http.StatusServiceUnavailable {
			t.Errorf("%s of the device: %s", method, r)
		}
	}
	s.wantStatus(p.Modify(t.Context(), device.Change{Name: "another"}), http.StatusServiceUnavailable)
	if err := p.Delete(t.Context()); err == nil {
		t.Error("a target was deleted")
	} else {
		s.wantStatus(err, http.StatusServiceUnavailable)
	}
	create := `{"username":"jeff","name":"late","target":"token","dispatcher":"push"}`
	if r := s.send(http.MethodPost, "/nevisfido/token/dispatch/targets", create, "Content-Type", jsonType); r.status != http.StatusServiceUnavailable {
		t.Errorf("a creation: %s", r)
	}
	if n := len(s.nevis.Requests()) - asked; n != 0 {
		t.Errorf("%d changes reached nevisFIDO", n)
	}

	if err := os.Remove(s.storage); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, s.storage); err != nil {
		t.Fatal(err)
	}
	s.take(p, nevisfido.Authentication, "push")
	s.modify(p, device.Change{NewKey: "P-384"})
	s.take(p, nevisfido.Authentication, "push")
}

// nevisFIDO has made targets, one of them with a known id, and the storage could
// not be told: they are used at once, and not forgotten by a new configuration.
func TestCreationWhileStorageFails(t *testing.T) {
	s := start(t, options{handler: "observe"})
	as := device.Options{Dispatcher: nevisfido.BuiltInFCM, KeyKind: "P-256"}
	known := s.registerAs(as, device.Registration{})
	back := s.leave()
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
	for end := time.Now().Add(patience); !s.holds(again, "P-384") || !s.holds(late, "P-384"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the storage was not told")
		}
	}
	s.take(again, nevisfido.Authentication, "push")
	s.take(late, nevisfido.Authentication, "push")
}

// Whoever only observes cannot refuse a change while the storage fails. It is
// not forgotten when dispatching begins.
func TestObservedChangesWhileStorageFails(t *testing.T) {
	s := start(t, options{handler: "observe"})
	as := device.Options{Dispatcher: nevisfido.BuiltInFCM}
	modified, deleted, viaDevice := s.registerAs(as, device.Registration{}), s.registerAs(as, device.Registration{}), s.registerAs(as, device.Registration{})
	untouched, refused := s.registerAs(as, device.Registration{}), s.registerAs(as, device.Registration{})

	back := s.leave()
	s.modify(modified, device.Change{NewKey: "P-384"})
	if err := deleted.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.changeDevice(viaDevice, http.MethodPatch); r.status != http.StatusNoContent {
		t.Fatalf("modifying the device: %s", r)
	}
	r := s.send(http.MethodPatch, "/nevisfido/token/dispatch/targets/"+refused.TargetID(), "a.b.c", "Content-Type", "application/jose")
	if r.status/100 != 4 {
		t.Fatalf("a forged modification: %s", r)
	}
	s.config = strings.Replace(s.config, "observe", "", 1)
	s.load()
	back()

	s.wantResult(s.dispatch("push", modified.TargetID()), nevisfido.DispatchError)
	s.wantResult(s.dispatch("push", deleted.TargetID()), nevisfido.DispatchTargetNotFound)
	s.wantResult(s.dispatch("push", viaDevice.TargetID()), nevisfido.DispatchError)
	if n := s.google.Sends(); n != 0 {
		t.Errorf("%d push messages were sent", n)
	}
	s.take(untouched, nevisfido.Authentication, "push")
	s.take(refused, nevisfido.Authentication, "push")
}

// A damaged record ends with the next call that nevisFIDO accepts.
func TestDamagedRecordIsHealed(t *testing.T) {
	s := start(t, options{})
	for name, content := range map[string]string{"empty": "", "no JSON": "{", "sealed by another": "oob-seal1 and more, to be long enough"} {
		p := s.register("P-256")
		path := s.record(p)
		s.write(path, content)
		s.wantBroken(name, p)
		again := s.createFor(p, "P-384")
		s.take(again, nevisfido.Authentication, "push")

		s.write(path, content)
		if r := s.send(http.MethodDelete, "/nevisfido/token/dispatch/targets/"+p.TargetID(), ""); r.status != http.StatusNoContent {
			t.Errorf("%s: deleting: %s", name, r)
		}
		s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetNotFound)
	}
}

// Two releases on one storage: the later one's records have a member more.
func TestRollingUpgrade(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	path := s.record(p)
	later := func(version string) {
		t.Helper()
		content := s.stored()[path]
		if !strings.Contains(content, `"schema":2`) {
			t.Fatalf("the record has another form than expected: %s", content)
		}
		s.write(path, strings.Replace(content, `"schema":2`, version+`,"colour":"blue"`, 1))
	}
	later(`"schema":4,"min_schema":2`)
	s.take(p, nevisfido.Authentication, "push")
	s.modify(p, device.Change{Name: "another"})
	s.take(p, nevisfido.Authentication, "push")
	if content := s.stored()[path]; !strings.Contains(content, `"schema":4,"min_schema":2`) || !strings.Contains(content, `"colour":"blue"`) || !strings.Contains(content, "another") {
		t.Errorf("the later release finds %s", content)
	}
	s.modify(p, device.Change{NewKey: "P-384"})
	s.take(p, nevisfido.Authentication, "push")
	if content := s.stored()[path]; strings.Contains(content, "colour") {
		t.Errorf("another key, and the old one's members: %s", content)
	}
	later(`"schema":4,"min_schema":4`)
	s.wantBroken("a record that demands more", p)
	s.wantStatus(p.Delete(t.Context()), http.StatusServiceUnavailable)
}

// What is stored names nobody in a file name, and is for the owner to read.
func TestStoredRecords(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	path := s.record(p)
	for _, part := range []string{p.TargetID(), "jeff", p.DeviceID()} {
		if strings.Contains(path, part) {
			t.Errorf("%q stands in the name %s", part, path)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the record's mode is %s", info.Mode())
	}
	before := len(s.stored())
	if err := p.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := slices.DeleteFunc(slices.Collect(func(yield func(string) bool) {
		for path, content := range s.stored() {
			if !yield(fmt.Sprintf("%s: %s", path, content)) {
				return
			}
		}
	}), func(file string) bool { return !strings.Contains(file, p.pushToken) })
	if len(left) != 0 || before == 0 {
		t.Errorf("a deleted target is still stored: %s", left)
	}
}
