package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

// importArguments makes a child process run an import with them, one a line.
const importArguments = "OOB_TEST_IMPORT"

func TestMain(m *testing.M) {
	if args := os.Getenv(importArguments); args != "" {
		cmd := &cobra.Command{Use: "oob"}
		oobCommand(cmd)
		cmd.SetArgs(strings.Split(args, "\n"))
		if err := cmd.Execute(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// recordLines returns records of n targets.
func recordLines(t *testing.T, n int) string {
	t.Helper()
	line, _ := recordLine(t, "an-id", "jeff")
	var all strings.Builder
	for i := range n {
		all.WriteString(strings.ReplaceAll(line, "an-id", fmt.Sprintf("%06d", i)))
	}
	return all.String()
}

// An import that is killed time and again, while it stores, ends with every
// target stored when it is repeated.
func TestImportOutlivesKills(t *testing.T) {
	const n = 2000
	s := newSidecar(t, "")
	lines := recordLines(t, n)
	file := filepath.Join(t.TempDir(), "targets.ndjson")
	writeFile(t, file, lines)
	args := []string{"targets", "import", file, "--config", s.config}
	for kills := range 4 {
		hash := targets.Ref{ID: fmt.Sprintf("%06d", 350*(kills+1))}.Hash()
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), importArguments+"="+strings.Join(args, "\n"))
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() {
			_ = child.Wait() // it is killed
			close(exited)
		}()
		waitForFile(filepath.Join(s.storage, "oob/targets", hash[:2], hash[2:]), exited)
		if err := child.Process.Kill(); err != nil {
			t.Fatalf("the import ended before it was killed: %v", err)
		}
		<-exited
	}
	out := s.mustRun(t, args[1:len(args)-2]...)
	var read, added, replaced, unchanged, kept, refused int
	_, err := fmt.Sscanf(out, "lines %d\nadded %d\nreplaced %d\nunchanged %d\nkept %d\nrefused %d", &read, &added, &replaced, &unchanged, &kept, &refused)
	if err != nil || read != n || added+unchanged != n || replaced+kept+refused != 0 || unchanged < 350 || added == 0 {
		t.Errorf("after the kills: %s, error %v", out, err)
	}
	if s.exported(t) != lines {
		t.Error("the store does not hold what was imported")
	}
}

// waitForFile returns when a file is there, or the process that is to make it
// is not any more.
func waitForFile(path string, exited chan struct{}) {
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		select {
		case <-exited:
			return
		case <-pause.C:
		}
	}
}

func TestImportReport(t *testing.T) {
	good := recordLines(t, 3)
	lines := good + "x\n" + strings.ReplaceAll(good, `"kty":"EC"`, `"kty":"EC","d":"AA"`) +
		strings.Replace(good[:strings.Index(good, "\n")], `{"schema":2`, `{"user":{"email":"a@example.com"},"schema":2`, 1)
	want := `lines      8
added      3
replaced   0
unchanged  1
kept       0
refused    4
  encryption_key private_members: 3, on line 5, 6, 7
    encryption_key: key refused (private_members): the JWK holds the private or symmetric member "d"
  not_json: 1, on line 4
    it is no JSON object, or not a strict one, at byte 0
1 records tell how to reach their users: no store keeps that; see the key source file
`
	s := newSidecar(t, "")
	r := caddyOOB(t, lines, "targets", "import", "-", "--dry-run", "--jobs", "1", "--config", s.config)
	dry := "dry run: nothing was stored\n" + strings.NewReplacer("added      3", "added      4", "unchanged  1", "unchanged  0").Replace(want)
	if r.out != dry || r.err == nil || r.err.Error() != "4 of 8 lines were refused" {
		t.Errorf("dry run: error %v\n%s\nwant\n%s", r.err, r.out, dry)
	}
	if s.exported(t) != "" {
		t.Error("the dry run stored something")
	}
	r = caddyOOB(t, lines, "targets", "import", "--config", s.config)
	if r.out != want || r.err == nil || r.err.Error() != "4 of 8 lines were refused" || r.errOut != "" {
		t.Errorf("error %v, on standard error %q\n%s\nwant\n%s", r.err, r.errOut, r.out, want)
	}
	if s.exported(t) != good {
		t.Error("not what was imported")
	}
	if list := lineNumbers(transfer.Refusal{Count: 3, Lines: []int64{1, 2}}); list != "1, 2, …" {
		t.Errorf("more lines than are listed: %s", list)
	}
}

func TestImportRefuses(t *testing.T) {
	s := newSidecar(t, "")
	for _, tt := range []struct {
		input string
		args  []string
		want  string
	}{
		{"", []string{"/nonexistent"}, "no such file"},
		{"", []string{t.TempDir()}, "is a directory"},
		{"", []string{"a", "b"}, "accepts at most 1 arg"},
		{"", []string{"--jobs", "0"}, "--jobs has to be between 1 and 64"},
		{"", []string{"--jobs", "65"}, "--jobs has to be between 1 and 64"},
		{"", []string{"--overwrite", "maybe"}, "use newer, never or always"},
		{"\nx\n", []string{"--strict"}, "the import ended after line 0: line 2: it is no JSON object"},
		{"\xff\xfe{\x00", nil, "line 1: the input is UTF-16"},
	} {
		caddyOOB(t, tt.input, append([]string{"targets", "import", "--config", s.config}, tt.args...)...).wantError(t, tt.want)
	}
	if r := caddyOOB(t, "", "targets", "import", "--config", "-"); r.err == nil {
		t.Error("configuration and targets were read from the same stream")
	}
	if s.exported(t) != "" {
		t.Error("something was stored")
	}
}

// The option of earlier releases is accepted, and makes no file.
func TestImportWithResume(t *testing.T) {
	s := newSidecar(t, "")
	dir := t.TempDir()
	file, state := filepath.Join(dir, "targets.ndjson"), filepath.Join(dir, "state")
	writeFile(t, file, recordLines(t, 3))
	s.mustRun(t, "import", file, "--resume", state)
	if _, err := os.Stat(state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a state file: %v", err)
	}
}

// The storage fails: nothing is passed over.
func TestImportEndsWhenTheStoreFails(t *testing.T) {
	s := newSidecar(t, "")
	dir := t.TempDir()
	file := filepath.Join(dir, "targets.ndjson")
	lines := recordLines(t, 3)
	writeFile(t, file, lines)
	writeFile(t, s.storage, "a file in place of the folder")
	r := s.run(t, "import", file)
	if r.err == nil || !strings.Contains(r.err.Error(), "storing the target") || !strings.Contains(r.err.Error(), "repeat it") {
		t.Errorf("error %v", r.err)
	}
	if err := os.Remove(s.storage); err != nil {
		t.Fatal(err)
	}
	s.mustRun(t, "import", file)
	if s.exported(t) != lines {
		t.Error("not all was stored")
	}
}
