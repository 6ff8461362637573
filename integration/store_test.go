package integration

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

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
				"a later release's":       strings.Replace(good, `"schema":1`, `"schema":99`, 1),
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
	s.wantStatus(p.Modify(t.Context(), device.Change{Name: "another"}), http.StatusServiceUnavailable)
	if err := p.Delete(t.Context()); err == nil {
		t.Error("a target was deleted")
	} else {
		s.wantStatus(err, http.StatusServiceUnavailable)
	}
	if n := len(s.nevis.Requests()) - asked; n != 0 {
		t.Errorf("%d changes reached nevisFIDO", n)
	}
	late := s.register("P-256") // nevisFIDO has committed: the device hears of it

	if err := os.Remove(s.storage); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, s.storage); err != nil {
		t.Fatal(err)
	}
	s.take(p, nevisfido.Authentication, "push")
	s.wantResult(s.dispatch("push", late.TargetID()), nevisfido.DispatchTargetNotFound)
	s.modify(p, device.Change{NewKey: "P-384"})
	s.take(p, nevisfido.Authentication, "push")
}

// An empty storage knows nobody, and learns again.
func TestStorageThatVanished(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	if err := os.RemoveAll(s.storage); err != nil {
		t.Fatal(err)
	}
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetNotFound)
	s.take(s.register("P-256"), nevisfido.Authentication, "push")
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
