package command

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// state returns the state of a target that list shows.
func (s *sidecar) state(t *testing.T, id string) string {
	t.Helper()
	var v operate.View
	if err := json.Unmarshal([]byte(s.mustRun(t, "show", id, "--json")), &v); err != nil {
		t.Fatal(err)
	}
	return v.State
}

// serve runs the sidecar, and returns its admin address.
func (s *sidecar) serve(t *testing.T) string {
	t.Helper()
	dir := testservice.Folder(t)
	admin := "unix/" + filepath.Join(dir, "admin.sock")
	audit := "\n\t\taudit file " + filepath.Join(dir, "audit.jsonl")
	writeFile(t, s.config, "{\n\tadmin "+admin+"\n\tpersist_config off\n\tlog {\n\t\toutput discard\n\t}\n\tstorage file_system "+s.storage+"\n}\n"+
		strings.Replace(inSite(oneLink+" {\n\t\t\tbase_url https://a.example/open\n\t\t}"+audit), ":8881", "http://"+testservice.FreeAddress(t), 1))
	t.Cleanup(func() {
		if err := errors.Join(caddy.Load([]byte(`{"admin":{"disabled":true,"config":{"persist":false}}}`), true), caddy.Stop()); err != nil {
			t.Error(err)
		}
	})
	if err := caddy.Load(adapt(t, read(t, s.config)), true); err != nil {
		t.Fatal(err)
	}
	return admin
}

func TestBlock(t *testing.T) {
	for _, c := range []struct {
		name   string
		served bool
	}{{"in the store", false}, {"by the server", true}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSidecar(t, "")
			s.fill(t)
			var address []string
			if c.served {
				address = []string{"--address", s.serve(t)}
			}
			run := func(args ...string) result {
				t.Helper()
				return s.run(t, append(args, address...)...)
			}
			if r := run("block", "one"); r.err != nil || r.out != "1 target blocked\n" {
				t.Errorf("blocking: %s", r.text())
			}
			if r := run("block", "one"); r.err != nil || !strings.Contains(r.errOut, "blocked already") {
				t.Errorf("again: %s", r.text())
			}
			if got := s.state(t, "one"); got != "blocked" || s.state(t, "two") != "active" {
				t.Errorf("the state is %s", got)
			}
			if out := s.mustRun(t, "list", "--state", "blocked"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "\none ") {
				t.Errorf("blocked ones: %s", out)
			}
			if r := run("block", "one", "nobody"); r.err == nil || !strings.Contains(r.err.Error(), "1 of 2 targets are not known") || !strings.Contains(r.errOut, `no target "nobody"`) {
				t.Errorf("an unknown one: %s", r.text())
			}
			if r := run("unblock", "--user", "jeff"); r.err != nil || r.out != "2 targets unblocked\n" || s.state(t, "one") != "active" {
				t.Errorf("unblocking: %s", r.text())
			}
			if r := run("block", "--user", "jeff"); r.err != nil || s.state(t, "one") != "blocked" || s.state(t, "two") != "blocked" || s.state(t, "three") != "active" {
				t.Errorf("a user's: %s", r.text())
			}
			if r := run("forget", "one", "--yes"); r.err != nil || r.out != "1 target forgotten\n" {
				t.Errorf("forgetting: %s", r.text())
			}
			if r := run("forget", "one", "--yes"); r.err == nil {
				t.Errorf("forgetting again: %s", r.text())
			}
			if r := run("block", "--user", "nobody"); r.err == nil || !strings.Contains(r.err.Error(), "nothing was blocked") {
				t.Errorf("a user without targets: %s", r.text())
			}
			for _, args := range [][]string{{"block"}, {"block", "one", "--user", "jeff"}, {"unblock", "--user", ""}} {
				run(args...).wantError(t, "give ids, or a user's name")
			}
			out := caddyOOB(t, "", "explain", "--target", "two", "--config", s.config).out
			if told := strings.Contains(out, "a dispatch target was blocked") && strings.Contains(out, "through operator"); told != c.served {
				t.Errorf("the audit trail says %q", out)
			}
		})
	}
}

// A block outlives an export and an import, and an older export does not lift it.
func TestBlockIsExportedAndImported(t *testing.T) {
	s := newSidecar(t, "")
	s.fill(t)
	before, after := filepath.Join(t.TempDir(), "before"), filepath.Join(t.TempDir(), "after")
	s.mustRun(t, "export", "--output", before)
	s.mustRun(t, "block", "one")
	s.mustRun(t, "export", "--output", after)
	for _, args := range [][]string{{}, {"--overwrite", "always"}} {
		s.mustRun(t, append([]string{"import", before}, args...)...)
		if got := s.state(t, "one"); got != "blocked" {
			t.Errorf("after an import of what was before, with %q: %s", args, got)
		}
	}
	other := newSidecar(t, "")
	other.mustRun(t, "import", after)
	if got := other.state(t, "one"); got != "blocked" || other.state(t, "two") != "active" {
		t.Errorf("in another store: %s", got)
	}
	other = newSidecar(t, "")
	other.mustRun(t, "import", before)
	other.mustRun(t, "import", after)
	if got := other.state(t, "one"); got != "blocked" {
		t.Errorf("over what was before: %s", got)
	}
}

func TestSend(t *testing.T) {
	s := newSidecar(t, "")
	s.fill(t)
	address := s.serve(t)
	send := func(args ...string) result { return caddyOOB(t, "", append([]string{"send"}, args...)...) }
	byConfig := []string{"--config", s.config, "--dispatcher", "link", "--target", "one"}
	r := send(byConfig...)
	if r.err != nil || !strings.Contains(r.out, "delivered by link") || !strings.Contains(r.out, "sealed ECDH-ES+A256KW A256GCM") {
		t.Errorf("by the configuration: %s", r.text())
	}
	r = send("--address", address, "--dispatcher", "link", "--target", "one", "--json")
	var got operate.Outcome
	if err := json.Unmarshal([]byte(r.out), &got); r.err != nil || err != nil || got.Delivered != "link" || len(got.Attempts) != 1 {
		t.Errorf("as JSON: %s", r.text())
	}
	t.Chdir(filepath.Dir(s.config))
	if r := send("--dispatcher", "link", "--target", "one"); r.err != nil || !strings.Contains(r.out, "delivered by link") {
		t.Errorf("by the Caddyfile in the current folder: %s", r.text())
	}
	s.mustRun(t, "block", "one")
	r = send(byConfig...)
	if r.err == nil || !strings.Contains(r.err.Error(), "was not delivered: it was refused (blocked)") || !strings.Contains(r.out, "a caller would be told dispatchError") {
		t.Errorf("to a blocked target: %s", r.text())
	}
	if !strings.Contains(r.err.Error(), "caddy oob targets unblock") {
		t.Errorf("it does not say what to do: %v", r.err)
	}
	if out := caddyOOB(t, "", "explain", "--target", "one", "--config", s.config).out; !strings.Contains(out, "test of authentication over link: delivered") {
		t.Errorf("the audit trail says %q", out)
	}

	adminOff := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, adminOff, "{\n\tadmin off\n}\n")
	other := http.Server{Handler: http.NotFoundHandler()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = other.Serve(listener) }()
	defer other.Close()
	for want, args := range map[string][]string{
		"there is no dispatcher \"pigeon\"; there are link":  {"--address", address, "--dispatcher", "pigeon", "--target", "one"},
		"there is no such target":                            {"--address", address, "--dispatcher", "link", "--target", "nobody"},
		"there is no operation":                              {"--address", address, "--dispatcher", "link", "--target", "one", "--operation", "pay"},
		"no oob_dispatch handler has this namespace":         {"--address", address, "--dispatcher", "link", "--target", "one", "--namespace", "x"},
		"name a dispatcher with --dispatcher":                {"--address", address, "--target", "one"},
		"--header takes a name and a value":                  {"--address", address, "--dispatcher", "link", "--target", "one", "--header", "nonsense"},
		"no server can be reached at unix//nonexistent.sock": {"--address", "unix//nonexistent.sock", "--dispatcher", "link", "--target", "one"},
		"has no admin API of oob_dispatch":                   {"--address", listener.Addr().String(), "--dispatcher", "link", "--target", "one"},
		"the configuration has admin off":                    {"--config", adminOff, "--dispatcher", "link", "--target", "one"},
		"adapting config":                                    {"--config", broken(t), "--dispatcher", "link", "--target", "one"},
	} {
		if r := send(args...); r.err == nil || !strings.Contains(r.err.Error(), want) || r.out != "" {
			t.Errorf("%q: %s, want %q", args, r.text(), want)
		}
	}
	if r := s.run(t, "block", "two", "--address", "unix//nonexistent.sock"); r.err == nil || s.state(t, "two") != string(targets.Active) {
		t.Errorf("blocking through a server that is not there: %s", r.text())
	}
}

// broken is a Caddyfile that does not load.
func broken(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, path, "nonsense {")
	return path
}
