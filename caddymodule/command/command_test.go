package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/spf13/cobra"

	_ "github.com/oob-dispatch/oob-dispatch/caddymodule"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	_ "github.com/oob-dispatch/oob-dispatch/internal/guests"
	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// result is what a command gave.
type result struct {
	out, errOut string
	err         error
}

func (r result) text() string { return fmt.Sprint(r.out, r.errOut, r.err) }

// caddyOOB runs caddy oob.
func caddyOOB(t *testing.T, in string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	root := &cobra.Command{Use: "caddy", SilenceUsage: true, SilenceErrors: true}
	cmd := &cobra.Command{Use: "oob"}
	caddycmd.Commands()["oob"].CobraFunc(cmd)
	root.AddCommand(cmd)
	root.SetArgs(append([]string{"oob"}, args...))
	root.SetIn(strings.NewReader(in))
	root.SetOut(&out)
	root.SetErr(&errOut)
	err := root.ExecuteContext(t.Context())
	return result{out.String(), errOut.String(), err}
}

// wantError fails unless the command ended with an error that has the words.
func (r result) wantError(t *testing.T, words string) {
	t.Helper()
	if r.err == nil || !strings.Contains(r.err.Error(), words) {
		t.Errorf("%s\nwant an error with %q", r.text(), words)
	}
}

const oneLink = "\n\t\tdispatcher link link"

func inSite(options string) string {
	return ":8881 {\n\toob_dispatch {\n" + options + "\n\t}\n}\n"
}

// sidecar is a Caddyfile and a folder for its storage.
type sidecar struct {
	config, storage string
}

func newSidecar(t *testing.T, options string) *sidecar {
	t.Helper()
	dir := t.TempDir()
	s := &sidecar{config: filepath.Join(dir, "Caddyfile"), storage: filepath.Join(dir, "storage")}
	s.configure(t, options)
	return s
}

func (s *sidecar) configure(t *testing.T, options string) {
	t.Helper()
	writeFile(t, s.config, fmt.Sprintf("{\n\tstorage file_system %s\n}\n", s.storage)+inSite(oneLink+"\n"+options))
}

func (s *sidecar) run(t *testing.T, args ...string) result {
	t.Helper()
	return caddyOOB(t, "", append(append([]string{"targets"}, args...), "--config", s.config)...)
}

func (s *sidecar) mustRun(t *testing.T, args ...string) string {
	t.Helper()
	r := s.run(t, args...)
	if r.err != nil {
		t.Fatalf("%q: %v\n%s", args, r.err, r.errOut)
	}
	return r.out
}

// exported returns what export writes, sorted.
func (s *sidecar) exported(t *testing.T) string {
	t.Helper()
	return strings.Join(slices.Sorted(strings.Lines(s.mustRun(t, "export"))), "")
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// address is what no command but export may print.
const address = "push-token-secret"

// recordLine returns the record of a target, and its key.
func recordLine(t *testing.T, id, username string) (line string, key *encrypt.Key) {
	t.Helper()
	private, err := devicekey.GenerateKey("P-256")
	if err != nil {
		t.Fatal(err)
	}
	key = private.Public()
	moment := time.Now().Add(-49 * time.Hour).UTC()
	record := &targets.Target{
		ID: id, Username: username, DeviceID: "device-of-" + id, Name: "phone", Address: address, Dispatcher: "fcm",
		EncryptionKey: key.JWK(), Thumbprint: key.Thumbprint(), Source: targets.SourceCreate,
		Created: moment, Updated: moment,
	}
	data, err := targets.Encode(record, record.Ref())
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n", key
}

// fill imports three targets of two users.
func (s *sidecar) fill(t *testing.T) (lines string) {
	t.Helper()
	for _, id := range []string{"one", "two", "three"} {
		line, _ := recordLine(t, id, map[bool]string{true: "mary", false: "jeff"}[id == "three"])
		lines += line
	}
	path := filepath.Join(t.TempDir(), "targets.ndjson")
	writeFile(t, path, lines)
	s.mustRun(t, "import", path)
	return strings.Join(slices.Sorted(strings.Lines(lines)), "")
}

func TestCommandsAreFound(t *testing.T) {
	for _, args := range [][]string{{}, {"targets"}} {
		if r := caddyOOB(t, "", args...); r.err != nil || !strings.Contains(r.out, "Available Commands") {
			t.Errorf("%q: %s, error %v", args, r.out, r.err)
		}
	}
	for _, name := range []string{"list", "show", "import", "export", "forget", "reseal"} {
		if r := caddyOOB(t, "", "targets", name, "--help"); r.err != nil || !strings.Contains(r.out, "caddy oob targets "+name) {
			t.Errorf("%s: %s, error %v", name, r.out, r.err)
		}
	}
	for _, args := range [][]string{{"target"}, {"targets", "imprt"}} {
		caddyOOB(t, "", args...).wantError(t, "unknown command")
	}
}

func TestExportImportExport(t *testing.T) {
	first, second := newSidecar(t, ""), newSidecar(t, "")
	lines := first.fill(t)
	text := first.exported(t)
	if text != lines {
		t.Errorf("exported\n%s\nwant\n%s", text, lines)
	}
	path := filepath.Join(t.TempDir(), "targets.ndjson")
	if out := first.mustRun(t, "export", "--output", path); out != "" {
		t.Errorf("printed %q", out)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	second.mustRun(t, "import", path)
	if second.exported(t) != text {
		t.Error("the second export differs from the first")
	}
}

func TestListAndShow(t *testing.T) {
	s := newSidecar(t, "")
	lines := s.fill(t)
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"one", "three", "two"}},
		{[]string{"--user", "jeff"}, []string{"one", "two"}},
		{[]string{"--user", "jeff", "--device", "device-of-one"}, []string{"one"}},
		{[]string{"--state", "active", "--device", "device-of-three"}, []string{"three"}},
		{[]string{"--state", "stale"}, nil},
		{[]string{"--user", "JEFF"}, nil},
	} {
		var rows, objects []string
		for i, row := range strings.Split(strings.TrimSpace(s.mustRun(t, append([]string{"list"}, tt.args...)...)), "\n") {
			if i > 0 {
				rows = append(rows, strings.Fields(row)[0])
			}
		}
		for object := range strings.Lines(s.mustRun(t, append([]string{"list", "--json"}, tt.args...)...)) {
			var v operate.View
			if err := json.Unmarshal([]byte(object), &v); err != nil {
				t.Fatal(err)
			}
			objects = append(objects, v.ID)
		}
		slices.Sort(rows)
		slices.Sort(objects)
		if !slices.Equal(rows, tt.want) || !slices.Equal(objects, tt.want) {
			t.Errorf("list %q: rows %q, objects %q, want %q", tt.args, rows, objects, tt.want)
		}
		if r := s.run(t, append([]string{"list"}, tt.args...)...); (tt.want == nil) != strings.Contains(r.errOut, "no such target") {
			t.Errorf("list %q says %q", tt.args, r.errOut)
		}
	}
	if row := s.mustRun(t, "list", "--user", "mary"); !strings.Contains(row, "P-256") || !strings.Contains(row, "2d") || !strings.Contains(row, "fcm") {
		t.Errorf("listed %s", row)
	}
	var v operate.View
	if err := json.Unmarshal([]byte(s.mustRun(t, "show", "one", "--json")), &v); err != nil {
		t.Fatal(err)
	}
	if v.Username != "jeff" || v.Key != "P-256" || v.KeyAge != "2d" || !v.HasAddress || v.Hash != (targets.Ref{ID: "one"}).Hash() || v.State != "active" {
		t.Errorf("shown %+v", v)
	}
	if text := s.mustRun(t, "show", "one"); !strings.Contains(text, "username       jeff\n") || !strings.Contains(text, v.Thumbprint) {
		t.Errorf("shown\n%s", text)
	}
	mustHoldNoSecret(t, s, lines)
	s.run(t, "show", "nobody").wantError(t, `no target "nobody" in namespace ""`)
	s.run(t, "list", "--state", "gone").wantError(t, "use active, expired, stale or blocked")
}

// A target whose key was refused is not shown as one without.
func TestShowRefusedKey(t *testing.T) {
	line, _ := recordLine(t, "one", "jeff")
	record, err := targets.Decode([]byte(line), targets.Ref{ID: "one"}.Hash())
	if err != nil {
		t.Fatal(err)
	}
	record.EncryptionKey, record.Thumbprint, record.KeyRefused = nil, "", "rsa_size"
	data, err := targets.Encode(record, record.Ref())
	if err != nil {
		t.Fatal(err)
	}
	s := newSidecar(t, "")
	path := filepath.Join(t.TempDir(), "targets.ndjson")
	writeFile(t, path, string(data)+"\n")
	s.mustRun(t, "import", path)
	if text := s.mustRun(t, "show", "one"); !strings.Contains(text, "key refused    rsa_size\n") {
		t.Errorf("shown\n%s", text)
	}
}

// mustHoldNoSecret runs everything but export and looks for addresses and keys
// in what it prints.
func mustHoldNoSecret(t *testing.T, s *sidecar, lines string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "targets.ndjson")
	writeFile(t, path, lines+strings.ReplaceAll(lines, `"schema":2`, `"schema":"2"`))
	for _, args := range [][]string{
		{"list"},
		{"list", "--json"},
		{"show", "one"},
		{"show", "one", "--json"},
		{"import", "--dry-run", path},
		{"import", "--strict", path},
		{"reseal"},
	} {
		text := s.run(t, args...).text()
		for line := range strings.Lines(lines) {
			var record targets.Target
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatal(err)
			}
			var jwk struct{ X string }
			if err := json.Unmarshal(record.EncryptionKey, &jwk); err != nil || jwk.X == "" {
				t.Fatal(err)
			}
			if strings.Contains(text, jwk.X) || strings.Contains(text, address) {
				t.Errorf("%q prints a key or an address:\n%s", args, text)
			}
		}
	}
}

func TestListReportsDamagedRecords(t *testing.T) {
	s := newSidecar(t, "")
	s.fill(t)
	hash := targets.Ref{ID: "one"}.Hash()
	writeFile(t, filepath.Join(s.storage, "oob/targets", hash[:2], hash[2:]), "{")
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"export"}} {
		r := s.run(t, args...)
		if r.err == nil || !strings.Contains(r.err.Error(), "1 records cannot be read") || !strings.Contains(r.errOut, "record "+hash+": ") {
			t.Errorf("%q: error %v, printed %s", args, r.err, r.errOut)
		}
		if !strings.Contains(r.out, "two") || !strings.Contains(r.out, "three") {
			t.Errorf("%q: the others are missing:\n%s", args, r.out)
		}
	}
	s.run(t, "show", "one").wantError(t, "record "+hash)
	s.run(t, "forget", "one", "--yes").wantError(t, "add --damaged")
	if r := s.run(t, "forget", "--user", "jeff", "--yes"); r.err == nil || !strings.Contains(r.err.Error(), "nobody knows whose") || r.out != "1 target forgotten\n" {
		t.Errorf("forget --user: printed %s, error %v", r.out, r.err)
	}
	if out := s.mustRun(t, "forget", "--damaged", "one", "--yes"); out != "1 target forgotten\n" {
		t.Errorf("printed %q", out)
	}
	s.mustRun(t, "list")
	writeFile(t, filepath.Join(s.storage, "oob/targets", hash[:2], hash[2:]), "{")
	if r := s.run(t, "forget", hash, "--yes"); r.err == nil {
		t.Error("a hash was taken for an id")
	}
	if out := s.mustRun(t, "forget", "--damaged", hash, "--yes"); out != "1 target forgotten\n" {
		t.Errorf("printed %q", out)
	}
	s.mustRun(t, "list")
	s.run(t, "forget", "--damaged", hash, "--yes").wantError(t, "1 of 1 targets are not in the store")
}

func TestForget(t *testing.T) {
	s := newSidecar(t, "")
	s.fill(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "give ids, or a user's name"},
		{[]string{"--user", ""}, "give ids, or a user's name"},
		{[]string{"one", "--user", "jeff"}, "give ids, or a user's name"},
		{[]string{"--user", "jeff", "--damaged"}, "--damaged goes with ids"},
		{[]string{"one"}, "nothing was forgotten: there is no terminal to ask on; add --yes"},
		{[]string{"--user", "jeff"}, "nothing was forgotten: there is no terminal to ask on; add --yes"},
		{[]string{"nobody", "--yes"}, "1 of 1 targets are not in the store"},
		{[]string{"nobody", "--yes", "--damaged"}, "1 of 1 targets are not in the store"},
	} {
		s.run(t, append([]string{"forget"}, tt.args...)...).wantError(t, tt.want)
	}
	if n := strings.Count(s.exported(t), "\n"); n != 3 {
		t.Fatalf("%d targets are left, want 3", n)
	}
	if out := s.mustRun(t, "forget", "--user", "jeff", "--yes"); out != "2 targets forgotten\n" {
		t.Errorf("printed %q", out)
	}
	if text := s.exported(t); strings.Contains(text, "jeff") || strings.Count(text, "\n") != 1 {
		t.Errorf("left: %s", text)
	}
	if out := s.mustRun(t, "forget", "--user", "jeff"); out != "0 targets forgotten\n" {
		t.Errorf("again: %q", out)
	}
	if out := s.mustRun(t, "forget", "three", "-y"); out != "1 target forgotten\n" || s.exported(t) != "" {
		t.Errorf("printed %q", out)
	}
}

func TestForgetLeavesOtherNamespaces(t *testing.T) {
	s := newSidecar(t, "")
	lines := s.fill(t)
	s.configure(t, "\t\tnamespace bank")
	if out := s.mustRun(t, "forget", "--user", "jeff", "--yes"); out != "0 targets forgotten\n" {
		t.Errorf("printed %q", out)
	}
	if text := s.exported(t); text != "" {
		t.Errorf("exported %s", text)
	}
	s.configure(t, "")
	if s.exported(t) != lines {
		t.Error("targets of another namespace were forgotten")
	}
}

func TestReseal(t *testing.T) {
	s := newSidecar(t, "")
	lines := s.fill(t)
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "old"), filepath.Join(dir, "fresh")
	writeFile(t, old, strings.Repeat("01", 32))
	writeFile(t, fresh, strings.Repeat("02", 32))
	store := func(options string) { s.configure(t, "\t\tstore caddy {\n"+options+"\n\t\t}") }

	if r := s.run(t, "reseal"); r.err != nil || !strings.Contains(r.errOut, "gives the store no key") {
		t.Errorf("without a key: %s, error %v", r.errOut, r.err)
	}
	store("seal " + old)
	s.run(t, "reseal").wantError(t, "records cannot be read")
	// Three targets, and the lists of their devices.
	for _, step := range []struct{ options, want string }{
		{"seal " + old + "\naccept_unsealed", "6 records resealed\n"},
		{"seal " + old, "0 records resealed\n"},
		{"seal " + fresh + " " + old, "6 records resealed\n"},
		{"seal " + fresh, "0 records resealed\n"},
	} {
		store(step.options)
		if out := s.mustRun(t, "reseal"); out != step.want {
			t.Errorf("%s: printed %q, want %q", step.options, out, step.want)
		}
	}
	if s.exported(t) != lines {
		t.Error("the targets are others")
	}
	store("seal " + old)
	if r := s.run(t, "reseal"); r.err == nil || r.out != "0 records resealed\n" || strings.Count(r.errOut, "cannot be read:") != 6 {
		t.Errorf("with a key that was taken away: %s%s, error %v", r.out, r.errOut, r.err)
	}
}

// The address of the site is taken: the commands do not listen.
func TestCommandsStartNoServer(t *testing.T) {
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := newSidecar(t, "")
	writeFile(t, s.config, strings.ReplaceAll(read(t, s.config), ":8881", "http://"+listener.Addr().String()))
	s.fill(t)
	if n := strings.Count(s.exported(t), "\n"); n != 3 {
		t.Errorf("%d targets", n)
	}
}

func TestHandlerIsChosen(t *testing.T) {
	handler := func(options string) string { return "oob_dispatch {" + oneLink + "\n" + options + "\n}\n" }
	caddyfile := func(sites ...string) string {
		text := "{\n\tstorage file_system " + t.TempDir() + "\n}\n"
		for i, site := range sites {
			text += fmt.Sprintf("http://127.0.0.1:%d {\n%s}\n", 8881+i, site)
		}
		return text
	}
	two := caddyfile(handler("namespace a"), "route /b/* {\n"+handler("namespace b\nbase_path /b/nevisfido")+"}\n")
	tests := []struct {
		name, config string
		args         []string
		want         string // part of the error; none is none
	}{
		{"one", caddyfile(handler("")), nil, ""},
		{"the default store said out loud", caddyfile(handler(""), handler("store caddy")), nil, ""},
		{"two that share all", caddyfile(handler("namespace a"), handler("namespace a")), nil, ""},
		{"two", two, nil, `choose one with --namespace or --base-path: namespace "a" with base_path /nevisfido, namespace "b" with base_path /b/nevisfido`},
		{"by namespace", two, []string{"--namespace", "b"}, ""},
		{"by base path", two, []string{"--base-path", "/nevisfido"}, ""},
		{"by both", two, []string{"--namespace", "a", "--base-path", "/nevisfido"}, ""},
		{"by both, none", two, []string{"--namespace", "a", "--base-path", "/b/nevisfido"}, `no oob_dispatch handler has this namespace and base path; there are namespace "a"`},
		{"by the empty namespace", two, []string{"--namespace", ""}, "no oob_dispatch handler has this namespace"},
		{"the empty one of two", caddyfile(handler("namespace a"), handler("")), []string{"--namespace", ""}, ""},
		{"two stores", caddyfile(handler(""), handler("base_path /b\nstore caddy {\ntimeout 1s\n}")), nil, "choose one with"},
		{"none", caddyfile("respond hello\n"), nil, "the configuration has no oob_dispatch handler"},
		{"no Caddyfile", "nonsense {", nil, "adapting config"},
		{"a store that cannot be loaded", caddyfile(handler("store caddy {\nseal /nonexistent\n}")), nil, "loading the store"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "Caddyfile")
			writeFile(t, path, tt.config)
			r := caddyOOB(t, "", append([]string{"targets", "list", "--config", path}, tt.args...)...)
			if (r.err == nil) != (tt.want == "") || r.err != nil && !strings.Contains(r.err.Error(), tt.want) {
				t.Errorf("error %v, want %s", r.err, tt.want)
			}
		})
	}
}

func TestConfigurationIsFound(t *testing.T) {
	s := newSidecar(t, "")
	s.fill(t)
	t.Chdir(filepath.Dir(s.config))
	if r := caddyOOB(t, "", "targets", "show", "one"); r.err != nil {
		t.Errorf("adjacent Caddyfile: %v", r.err)
	}
	asJSON := filepath.Join(t.TempDir(), "caddy.json")
	writeFile(t, asJSON, string(adapt(t, read(t, s.config))))
	if r := caddyOOB(t, "", "targets", "show", "one", "--config", asJSON); r.err != nil {
		t.Errorf("JSON: %v", r.err)
	}
	t.Chdir(t.TempDir())
	caddyOOB(t, "", "targets", "list").wantError(t, "name one with --config")
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"": "-", "jeff": "jeff", "Jürg 山": "Jürg 山", "a\x1b[2J": `"a\x1b[2J"`, "a\nb": `"a\nb"`, "\u202ea": `"\u202ea"`, "\x9b1m": `"\x9b1m"`,
	} {
		if got := printable(text); got != want {
			t.Errorf("%q is printed as %s, want %s", text, got, want)
		}
	}
}

func TestTerminal(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\r\n": true, "": false, "\n": false, "n\n": false, "yellow\n": false} {
		var out bytes.Buffer
		if got := ask(strings.NewReader(answer), &out, "Forget 2 targets?"); got != want || out.String() != "Forget 2 targets? [y/N] " {
			t.Errorf("%q: %t, asked %q", answer, got, &out)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, stream := range []any{file, io.Discard, strings.NewReader("")} {
		if isTerminal(stream) {
			t.Errorf("%T is taken for a terminal", stream)
		}
	}
}

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	start := time.Now()
	p := &progressBar{out: &out, total: 1000}
	p.end()
	if out.Len() > 0 {
		t.Errorf("nothing was done, and %q was printed", &out)
	}
	p.update(100, 0, 250, start)
	p.update(101, 0, 251, start.Add(progressPause/2)) // too early
	p.update(2100, 3, 500, start.Add(2*time.Second))
	p.end()
	want := "\r\x1b[K[=======                       ]  25%  100 lines, 0 refused" +
		"\r\x1b[K[===============               ]  50%  2,100 lines, 3 refused, 1,000 a second\r\x1b[K"
	if out.String() != want {
		t.Errorf("printed %q\nwant    %q", out.String(), want)
	}
	out.Reset()
	(&progressBar{out: &out}).update(7, 0, 70, start)
	if out.String() != "\r\x1b[K7 lines, 0 refused" {
		t.Errorf("of unknown size: %q", out.String())
	}
}

// adapt returns the JSON of a Caddyfile.
func adapt(t *testing.T, text string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	return config
}
