package filesource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/internal/conf/conftest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = must(devicekey.GenerateKey("P-256")).Public()

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// target is a record as an export has it.
func target(id string) *targets.Target {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return &targets.Target{
		Namespace: "bank", ID: id, Username: "jeff", DeviceID: "device-1", Address: "push-token", Dispatcher: "fcm",
		EncryptionKey: key.JWK(), Thumbprint: key.Thumbprint(),
		Source: "create", Created: at, Updated: at,
	}
}

// line is a record's line, with more members where they are given.
func line(t *targets.Target, more ...string) string {
	text := string(must(targets.Encode(t, targets.Ref{Namespace: t.Namespace, ID: t.ID})))
	for _, member := range more {
		text = strings.TrimSuffix(text, "}") + "," + member + "}"
	}
	return text + "\n"
}

func withUser(email string) string {
	return `"user":` + string(must(json.Marshal(map[string]string{"email": email, "mobile": "+41791234567", "address": "Jeff|Weg 1"})))
}

func ref(id string) targets.Ref { return targets.Ref{Namespace: "bank", ID: id} }

// newSource follows a file of this content.
func newSource(t *testing.T, content string) (s *Source, path string, logged *bytes.Buffer) {
	t.Helper()
	path, logged = filepath.Join(t.TempDir(), "targets.ndjson"), new(bytes.Buffer)
	testservice.Put(t, path, []byte(content))
	s = &Source{Path: path}
	if err := s.open(slog.New(slog.NewTextHandler(logged, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return s, path, logged
}

func TestFind(t *testing.T) {
	other := target("one")
	other.Namespace, other.Name = "other", "tablet"
	s, _, _ := newSource(t, "\n"+line(target("zero"))+line(target("one"), withUser("jeff@example.com"))+"\r\n"+
		line(other)+strings.TrimSuffix(line(target("last")), "\n"))
	for _, id := range []string{"zero", "one", "last"} {
		found, err := s.Find(t.Context(), ref(id))
		if err != nil || found.ID != id || found.Namespace != "bank" || found.Address != "push-token" ||
			!bytes.Equal(found.EncryptionKey, key.JWK()) {
			t.Errorf("%s: found %+v, error %v", id, found, err)
		}
	}
	if found, err := s.Find(t.Context(), targets.Ref{Namespace: "other", ID: "one"}); err != nil || found.Name != "tablet" {
		t.Errorf("in another namespace: found %+v, error %v", found, err)
	}
	for _, missing := range []targets.Ref{ref("two"), ref(""), {ID: "one"}, {Namespace: "bank2", ID: "one"}} {
		if found, err := s.Find(t.Context(), missing); !errors.Is(err, targets.ErrNotFound) {
			t.Errorf("%v: found %+v, error %v", missing, found, err)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	s, _, _ := newSource(t, "")
	if _, err := s.Find(t.Context(), ref("one")); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
	if _, err := s.User(t.Context(), "jeff"); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
}

func TestInactiveRecordsDoNotCount(t *testing.T) {
	stale, expired := target("stale"), target("expired")
	stale.Unsure = []string{"encryption_key"}
	expired.GoneAddress = expired.Address
	s, _, logged := newSource(t, line(stale)+line(expired)+line(target("one")))
	for _, id := range []string{"stale", "expired"} {
		if found, err := s.Find(t.Context(), ref(id)); !errors.Is(err, targets.ErrNotFound) {
			t.Errorf("%s: found %+v, error %v", id, found, err)
		}
	}
	if !strings.Contains(logged.String(), "targets=3 inactive=2") {
		t.Errorf("the log says %s", logged)
	}
}

func TestUser(t *testing.T) {
	of := func(id, username string) *targets.Target {
		record := target(id)
		record.Username = username
		return record
	}
	s, _, _ := newSource(t, line(of("1", "jeff"), withUser("jeff@example.com"))+line(of("2", "jeff"))+
		line(of("3", "jeff"), withUser("jeff@example.com"))+line(of("5", "mia"), withUser("mia@example.com"))+
		line(of("6", "two"), withUser("a@example.com"))+line(of("7", "two"), withUser("b@example.com"))+line(of("8", "none")))
	want := targets.User{Email: "jeff@example.com", Mobile: "+41791234567", Address: "Jeff|Weg 1"}
	if got, err := s.User(t.Context(), "jeff"); err != nil || *got != want {
		t.Errorf("got %+v, error %v", got, err)
	}
	if got, err := s.User(t.Context(), "mia"); err != nil || got.Email != "mia@example.com" {
		t.Errorf("got %+v, error %v", got, err)
	}
	for _, username := range []string{"none", "nobody", ""} {
		if got, err := s.User(t.Context(), username); !errors.Is(err, targets.ErrNotFound) {
			t.Errorf("%q: got %+v, error %v", username, got, err)
		}
	}
	if got, err := s.User(t.Context(), "two"); err == nil || errors.Is(err, targets.ErrNotFound) {
		t.Errorf("records that do not agree: got %+v, error %v", got, err)
	}
}

func TestBadFiles(t *testing.T) {
	good := line(target("one"))
	nameless := target("two")
	nameless.Username = ""
	for name, test := range map[string]struct{ content, want string }{
		"no JSON":               {good + "canary\n", "line 2: it is not a strict JSON"},
		"byte order mark":       {"\ufeff" + good, "line 1: it is not a strict JSON"},
		"two in a line":         {good + strings.TrimSpace(line(target("a"))) + line(target("b")), "line 2: "},
		"member twice":          {strings.Replace(good, "{", `{"id":"canary",`, 1), "line 1: "},
		"unknown member":        {line(target("one"), `"canary":1`), "line 1: "},
		"unknown user member":   {line(target("one"), `"user":{"canary":1}`), "line 1: "},
		"user without username": {line(nameless, withUser("canary")), "line 1: it has a user"},
		"newer schema":          {good + `{"schema":4,"id":"canary"}`, "line 2: schema 4"},
		"no schema":             {`{"id":"canary"}`, "line 1: "},
		"no id":                 {strings.Replace(good, `"id":"one"`, `"id":""`, 1), "line 1: "},
		"unknown state":         {strings.Replace(good, `"schema":2`, `"schema":1,"state":"canary"`, 1), "line 1: "},
		"no state":              {strings.Replace(good, `"schema":2`, `"schema":1`, 1), "line 1: "},
		"no thumbprint":         {strings.Replace(good, "thumbprint", "ext_id", 1), "encryption key and thumbprint"},
		"array":                 {"[" + strings.TrimSpace(good) + "]", "line 1: "},
		"bad UTF-8":             {strings.Replace(good, "jeff", "\xff", 1), "line 1: "},
		"cut off":               {good + good[:len(good)/2], "line 2: "},
		"long line":             {good + strings.Repeat("canary", maxLine/6+1) + "\n", "line 2: it has more than"},
		"target twice":          {good + line(target("two")) + "\n" + good, "line 4: it is a target that has been on line 1"},
	} {
		path := filepath.Join(t.TempDir(), "targets.ndjson")
		testservice.Put(t, path, []byte(test.content))
		_, err := follow(path, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got error %v, want one with %q that quotes nothing", name, err, test.want)
		}
	}
}

func TestProvision(t *testing.T) {
	dir := t.TempDir()
	good, shared := filepath.Join(dir, "good"), filepath.Join(dir, "shared")
	testservice.Put(t, good, []byte(line(target("one"))))
	testservice.Put(t, shared, []byte(line(target("one"))))
	if err := os.Chmod(shared, 0o620); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OOB_TEST_FILE", good)
	for path, want := range map[string]string{
		good:                          "",
		"{env.OOB_TEST_FILE}":         "",
		"":                            "path",
		"{env.OOB_TEST_UNSET}":        "placeholder",
		filepath.Join(dir, "missing"): "there is no file",
		dir:                           "not a regular file",
		shared:                        "written by others",
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		s := &Source{Path: path}
		err := s.Provision(ctx)
		switch {
		case want == "" && err == nil:
			if _, err := s.Find(t.Context(), ref("one")); err != nil {
				t.Errorf("%q: %v", path, err)
			}
		case want == "" || err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%q: got error %v, want %q", path, err, want)
		}
		if err := s.Cleanup(); err != nil {
			t.Errorf("%q: %v", path, err)
		}
		cancel()
	}
}

func TestChangesArePickedUp(t *testing.T) {
	s, path, logged := newSource(t, line(target("one")))
	for _, step := range []struct {
		name   string
		change func()
		want   string // the id that is known then
		logs   int    // lines that the change adds, however often the file is used
	}{
		{"unchanged", func() {}, "one", 0},
		{"replaced", func() { testservice.Put(t, path, []byte(line(target("two")))) }, "two", 1},
		{"broken", func() { testservice.Put(t, path, []byte(line(target("three"))+"canary")) }, "two", 1},
		{"written over", func() {
			_ = os.WriteFile(path, []byte(line(target("five"))+line(target("six"))), 0o600)
		}, "six", 1},
	} {
		logged.Reset()
		step.change()
		for range 3 {
			if _, err := s.Find(t.Context(), ref(step.want)); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
		}
		if n := strings.Count(logged.String(), "\n"); n != step.logs || strings.Contains(logged.String(), "canary") {
			t.Errorf("%s: %d log lines, want %d: %s", step.name, n, step.logs, logged)
		}
	}
}

// A file that is written over while it is read gives errors, and never the
// record of another target.
func TestOffsetsThatDoNotHoldAnyMore(t *testing.T) {
	s, path, _ := newSource(t, line(target("one"))+line(target("two")))
	before := must(os.Stat(path))
	// of the same size, with the records at other places
	if err := os.WriteFile(path, []byte(line(target("x"))+line(target("onetw"))), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Chtimes(path, time.Time{}, before.ModTime()) // as if nothing had changed
	if found, err := s.Find(t.Context(), ref("one")); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("found %+v, error %v", found, err)
	}
	if found, err := s.Find(t.Context(), ref("two")); err == nil || errors.Is(err, targets.ErrNotFound) {
		t.Errorf("found %+v, error %v", found, err)
	}
}

func TestConcurrentLookupsAndChanges(t *testing.T) {
	s, path, _ := newSource(t, line(target("one")))
	var lookups sync.WaitGroup
	for range 4 {
		lookups.Go(func() {
			for range 50 {
				if _, err := s.Find(t.Context(), ref("one")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 20 {
		testservice.Put(t, path, []byte(line(target(fmt.Sprint(i)))+line(target("one"))))
	}
	lookups.Wait()
}

func TestNothingStaysOpenAfterCleanup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.ndjson")
	testservice.Put(t, path, []byte(line(target("one"))))
	s := &Source{Path: path}
	if err := s.open(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := s.Cleanup(); err != nil {
		t.Fatal(err)
	}
	testservice.Put(t, path, []byte(line(target("two")))) // a lookup that comes late
	if found, err := s.Find(t.Context(), ref("two")); err == nil || errors.Is(err, targets.ErrNotFound) && found != nil {
		t.Errorf("found %+v, error %v", found, err)
	}
	if _, err := s.file.Value().file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file is open: %v", err)
	}
}

// Across a reload of the configuration, the old and the new source share what
// was read.
func TestReload(t *testing.T) {
	old, path, oldLog := newSource(t, line(target("one")))
	reload := func() (*Source, *bytes.Buffer, error) {
		t.Helper()
		s, logged := &Source{Path: path}, new(bytes.Buffer)
		err := s.open(slog.New(slog.NewTextHandler(logged, nil)))
		t.Cleanup(func() {
			if err := s.Cleanup(); err != nil {
				t.Error(err)
			}
		})
		return s, logged, err
	}
	s, logged, err := reload()
	if err != nil || s.file != old.file || logged.Len() > 0 {
		t.Errorf("an unchanged file: error %v, log %s", err, logged)
	}
	testservice.Put(t, path, []byte(line(target("two"))))
	if _, logged, err = reload(); err != nil || logged.Len() == 0 {
		t.Errorf("a changed file: error %v, log %s", err, logged)
	}
	testservice.Put(t, path, []byte("bad"))
	for range 2 { // found bad by the first, known to be so by the second
		if _, _, err = reload(); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("a bad file: error %v", err)
		}
	}
	if _, err := old.Find(t.Context(), ref("two")); err != nil {
		t.Error(err)
	}
	if n := strings.Count(oldLog.String(), "\n"); n != 1 {
		t.Errorf("the old logger was used again: %s", oldLog)
	}
}

// Records stay in the file.
func TestMemoryIsSmall(t *testing.T) {
	const n = 5_000
	var lines strings.Builder
	for i := range n {
		lines.WriteString(line(target(fmt.Sprint("target-", i))))
	}
	path := filepath.Join(t.TempDir(), "targets.ndjson")
	testservice.Put(t, path, []byte(lines.String()))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	table, err := readTable(must(os.Open(path)))
	if err != nil {
		t.Fatal(err)
	}
	defer table.close()
	if used := heap() - before; used > 32*n+64<<10 {
		t.Errorf("%d targets take %d bytes", n, used)
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		if _, err := table.target(ref(fmt.Sprint("target-", i))); err != nil {
			t.Errorf("target %d: %v", i, err)
		}
	}
}

// What is found fills gaps in the store, and repairs nothing: it is a copy.
func TestDirectory(t *testing.T) {
	s, _, _ := newSource(t, line(target("one")))
	d := &targets.Directory{
		Store: new(kvtest.Memory), Namespace: "bank", Unsynced: new(targets.Unsynced),
		Sources: []targets.NamedSource{{Name: "file", KeySource: s}},
	}
	found, err := d.Find(t.Context(), "one")
	if err != nil || found.Source != "file" || found.Thumbprint != key.Thumbprint() {
		t.Errorf("found %+v, error %v", found, err)
	}
	if _, live := any(s).(targets.LiveSource); live {
		t.Error("it would repair records")
	}
}

func TestCaddyfile(t *testing.T) {
	conftest.WantJSON(t, targets.KeySourceNamespace, map[string]string{
		"key_source file /a/b": `{"path":"/a/b"}`, "key_source file /a/b {\n}": `{"path":"/a/b"}`,
	})
	for input, want := range map[string]string{
		"key_source file":                   "path",
		`key_source file ""`:                "path",
		"key_source file /a /b":             "path",
		"key_source file `{\"a\":1}`":       "path",
		"key_source file /a {\nwatch\n}":    "watch",
		"key_source file /a {\npath /b\n}":  "path",
		"key_source file {\npath /a/b\n}\n": "path",
	} {
		if _, err := conftest.Unmarshal(targets.KeySourceNamespace, input); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q gave error %v, want one with a line number and %q", input, err, want)
		}
	}
}

// FuzzTable reads whole files. What is read of a line is found; an error quotes
// nothing. Only contents whose lines are in order are written to a file.
func FuzzTable(f *testing.F) {
	const secret = "Zx7Q-canary"
	f.Add([]byte(line(target("one")) + line(target("two"), withUser("jeff@example.com"))))
	f.Add([]byte(line(target("one"), withUser("jeff@example.com")) + line(target("two"), withUser("other@example.com"))))
	f.Add([]byte(line(target("one")) + "\n \r\n" + line(target("one"))))
	f.Add([]byte("\n\r\n{}\n"))
	f.Add([]byte(`{"schema":1,"id":"one","state":"active"}`))
	f.Add([]byte(`{"schema":2,"id":"` + secret + `","user":{"email":"` + secret + `"}}`))
	f.Add([]byte(`{"schema":2,"id":"one","` + secret + `":1}`))
	path := filepath.Join(f.TempDir(), "targets.ndjson")
	f.Fuzz(func(t *testing.T, content []byte) {
		for text := range bytes.Lines(content) {
			if text = bytes.TrimSpace(text); len(text) == 0 {
				continue
			}
			if _, err := parse(text); err != nil {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes the line: %v", err)
				}
				return
			}
		}
		testservice.Put(t, path, content)
		table, err := readTable(must(os.Open(path)))
		if err != nil {
			if len(content) <= maxLine && !strings.Contains(err.Error(), "has been on line") {
				t.Errorf("lines that are in order: %v", err)
			}
			return
		}
		defer table.close()
		for text := range bytes.Lines(content) {
			if text = bytes.TrimSpace(text); len(text) == 0 {
				continue
			}
			r, err := parse(text)
			if err != nil {
				t.Fatalf("a line of a file that is in order: %v", err)
			}
			found, err := table.target(r.Ref())
			if r.State() != targets.Active && !errors.Is(err, targets.ErrNotFound) || r.State() == targets.Active && (err != nil || found.Ref() != r.Ref() || found.Address != r.Address) {
				t.Errorf("a target that is %s: %+v, %v", r.State(), found, err)
			}
			if r.User == nil {
				continue
			}
			if user, err := table.user(r.Username); err == nil && (user.Email != r.User.Email || user.Mobile != r.User.Mobile || user.Address != r.User.Address) {
				t.Errorf("found %+v, want %+v", user, r.User)
			} else if errors.Is(err, targets.ErrNotFound) {
				t.Errorf("the user of a line: %v", err)
			}
		}
	})
}
