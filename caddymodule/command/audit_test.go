package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
)

func TestAuditVerifyCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	file := auditfile.New(path, auditfile.Options{Size: 1 << 20, Keep: 9}, func(int64, error) {})
	for range 3 {
		file.Append([]byte(`{"time":"2026-03-04T04:06:08.002Z","event":"dispatch"}`))
	}
	file.Close()
	r := caddyOOB(t, "", "audit", "verify", path)
	if r.err != nil || !strings.HasPrefix(r.out, "4 lines in order, ") || !strings.Contains(r.out, " to 2026-03-04T04:06:08.002Z, last hash ") {
		t.Fatal(r.text())
	}
	hash := strings.TrimSpace(r.out[strings.Index(r.out, "last hash ")+len("last hash "):])
	if r := caddyOOB(t, "", "audit", "verify", path, "--noted", hash); r.err != nil {
		t.Error(r.text())
	}
	whole := read(t, path)
	lines := strings.SplitAfter(whole, "\n")
	for name, tt := range map[string]struct {
		content, want string
		args          []string
	}{
		"changed":      {strings.Replace(whole, `"seq":3,`, `"seq":3, `, 1), "line 3 was changed", nil},
		"cut":          {strings.Join(lines[:3], ""), "no line has the noted hash " + hash, []string{"--noted", hash}},
		"no hash":      {whole, `--noted "abc": a hash has 64 hexadecimal digits`, []string{"--noted", "abc"}},
		"another kind": {"hello\n", "line 1 was changed or put in", nil},
		"empty":        {"", "the file is empty", nil},
	} {
		writeFile(t, path, tt.content)
		if r := caddyOOB(t, "", append([]string{"audit", "verify", path}, tt.args...)...); r.err == nil || !strings.Contains(r.err.Error(), tt.want) {
			t.Errorf("%s: %s, want %s", name, r.text(), tt.want)
		}
	}
	if r := caddyOOB(t, "", "audit", "verify", path+"x"); r.err == nil || !strings.Contains(r.err.Error(), "verifying the audit file: open ") {
		t.Error(r.text())
	}
	if r := caddyOOB(t, "", "audit", "verfy", path); r.err == nil || !strings.Contains(r.err.Error(), `unknown command "verfy"`) {
		t.Error(r.text())
	}
	writeFile(t, path, whole+lines[3][:50])
	file = auditfile.New(path, auditfile.Options{Size: 1 << 20, Keep: 9}, func(int64, error) {})
	file.Append([]byte(`{"n":1}`))
	file.Close()
	if r := caddyOOB(t, "", "audit", "verify", path); r.err != nil || !strings.Contains(r.out, ": 50 bytes of unfinished lines before it, 0 lines lost\n6 lines in order, ") {
		t.Error(r.text())
	}
}

// The full files are read as well, and errors name the file.
func TestAuditVerifyReadsFullFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	file := auditfile.New(path, auditfile.Options{Size: 300, Keep: 9}, func(int64, error) {})
	for range 5 {
		file.Append([]byte(`{"time":"2026-03-04T04:06:08.002Z","event":"dispatch"}`))
	}
	file.Close()
	full, err := filepath.Glob(path + ".*")
	if err != nil || len(full) < 2 {
		t.Fatalf("%q, %v", full, err)
	}
	if r := caddyOOB(t, "", "audit", "verify", path); r.err != nil || strings.Contains(r.out, "removed") {
		t.Error(r.text())
	}
	writeFile(t, full[1], strings.Replace(read(t, full[1]), "opened", "closed", 1))
	if r := caddyOOB(t, "", "audit", "verify", path); r.err == nil || !strings.Contains(r.err.Error(), "verifying "+full[1]+": line 1 was changed") {
		t.Error(r.text())
	}
	for _, name := range full[:2] {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if r := caddyOOB(t, "", "audit", "verify", path); r.err != nil || !strings.Contains(r.out, "older files were removed") {
		t.Error(r.text())
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
