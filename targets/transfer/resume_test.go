package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets/kv/storetest"
	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

// The store fails again and again; each run goes on where the last one ended,
// and what is refused is counted once.
func TestResume(t *testing.T) {
	lines := crowd(t, 1000) + "x\n" + crowd(t, 2500)
	store := empty()
	im := newImport(store)
	im.State = filepath.Join(t.TempDir(), "state")
	runs, done := 0, int64(-1)
	var report *transfer.Report
	for {
		writes := 0
		im.Jobs = 1
		store.SetFault(func(_ context.Context, op storetest.Op) error {
			if op != storetest.Write {
				return nil
			}
			if writes++; writes > 700 {
				return errors.New("down")
			}
			return nil
		})
		var err error
		runs++
		if report, err = im.Run(t.Context(), strings.NewReader(lines)); err == nil {
			break
		}
		if report.Lines <= done || !strings.Contains(err.Error(), "storing the target") {
			t.Fatalf("run %d: report %+v, error %v", runs, report, err)
		}
		done = report.Lines
	}
	want := &transfer.Report{Lines: 3501, Added: report.Added, Unchanged: 3500 - report.Added, Refused: report.Refused}
	if runs < 3 || !reflect.DeepEqual(report, want) || report.RefusedLines() != 1 || report.Refused["not_json"].Lines[0] != 1001 {
		t.Errorf("after %d runs: %+v", runs, report)
	}
	if exported(t, store, "") != crowd(t, 2500) {
		t.Error("not all was stored")
	}
	if again := mustRun(t, im, lines); !reflect.DeepEqual(again, report) {
		t.Errorf("run after the end: %+v", again)
	}
	grown := mustRun(t, im, lines+encode(t, target(9999)))
	if grown.Lines != 3502 || grown.Added+grown.Unchanged != 3501 {
		t.Errorf("the input has grown: %+v", grown)
	}
	load(t, store, target(9999).ID)
}

func TestStateIsForItsOwnerAndNamesNoTarget(t *testing.T) {
	im := newImport(empty())
	im.State = filepath.Join(t.TempDir(), "state")
	mustRun(t, im, crowd(t, 3))
	content, err := os.ReadFile(im.State)
	if err != nil || strings.Contains(string(content), "push-token") || strings.Contains(string(content), "target-0") {
		t.Errorf("state %s, error %v", content, err)
	}
	if info, err := os.Stat(im.State); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
}

func TestResumeRefuses(t *testing.T) {
	lines := crowd(t, 10)
	tests := []struct {
		name   string
		change func(im *transfer.Import, state string) string // returns the input
		want   string
	}{
		{"another destination", func(im *transfer.Import, _ string) string { im.Destination = "there"; return lines }, "another store or namespace"},
		{"another input", func(*transfer.Import, string) string {
			return strings.Replace(lines, "target-000003", "target-000099", 1)
		}, "does not begin with what was imported"},
		{"a shorter input", func(*transfer.Import, string) string { return crowd(t, 9) }, "does not begin with what was imported"},
		{"no input", func(*transfer.Import, string) string { return "" }, "does not begin with what was imported"},
		{"a damaged state", func(_ *transfer.Import, s string) string { write(t, s, `{"version":1`); return lines }, "not the state of an import"},
		{"an empty state", func(_ *transfer.Import, s string) string { write(t, s, ""); return lines }, "not the state of an import"},
		{"a newer state", func(_ *transfer.Import, s string) string { write(t, s, `{"version":2}`); return lines }, "not the state of an import"},
		{"negative numbers", func(_ *transfer.Import, s string) string {
			write(t, s, `{"version":1,"destination":"here","bytes":-1}`)
			return lines
		}, "not the state of an import"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := empty()
			im := newImport(store)
			im.State = filepath.Join(t.TempDir(), "state")
			mustRun(t, im, lines)
			input := tt.change(im, im.State)
			report, err := im.Run(t.Context(), strings.NewReader(input))
			if err == nil || !strings.Contains(err.Error(), tt.want) || report != nil {
				t.Errorf("report %+v, error %v, want %s", report, err, tt.want)
			}
		})
	}
}

func TestStateCannotBeWritten(t *testing.T) {
	im := newImport(empty())
	im.State = filepath.Join(t.TempDir(), "no", "folder", "state")
	if _, err := im.Run(t.Context(), strings.NewReader(crowd(t, 1))); err == nil || !strings.Contains(err.Error(), "writing the state file") {
		t.Errorf("error %v", err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
