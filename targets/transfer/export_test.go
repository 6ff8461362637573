package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

func TestExportReportsDamagedRecords(t *testing.T) {
	store := empty()
	mustRun(t, newImport(store), crowd(t, 5))
	damaged := targets.Ref{Namespace: "bank", ID: "damaged"}
	store.Set(damaged, []byte("{"))
	store.Set(targets.Ref{ID: "newer"}, []byte(`{"schema":2}`))
	reported := make(map[string]bool)
	var out bytes.Buffer
	n, err := transfer.Export(t.Context(), store, "", &out, func(e *targets.RecordError) { reported[e.Hash] = true })
	if n != 5 || err != nil || len(reported) != 2 || !reported[damaged.Hash()] {
		t.Errorf("%d exported, error %v, damaged %v", n, err, reported)
	}
}

// twice lists everything two times, as Redis may while it rehashes.
type twice struct{ transfer.Lister }

func (l twice) Each(ctx context.Context, f func(*targets.Target, error) error) error {
	if err := l.Lister.Each(ctx, f); err != nil {
		return err
	}
	return l.Lister.Each(ctx, f)
}

func TestExportWritesEachTargetOnce(t *testing.T) {
	store := empty()
	mustRun(t, newImport(store), crowd(t, 50))
	store.Set(targets.Ref{ID: "damaged"}, []byte("{"))
	damaged := 0
	var out bytes.Buffer
	n, err := transfer.Export(t.Context(), twice{store}, "", &out, func(*targets.RecordError) { damaged++ })
	if n != 50 || strings.Count(out.String(), "\n") != 50 || damaged != 1 || err != nil {
		t.Errorf("%d exported, %d damaged, error %v", n, damaged, err)
	}
}

// broken is a listing that fails, without a record to blame.
type broken struct{ err error }

func (b broken) Each(_ context.Context, f func(*targets.Target, error) error) error {
	return f(nil, b.err)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestExportFails(t *testing.T) {
	store := empty()
	mustRun(t, newImport(store), crowd(t, 50))
	none := func(e *targets.RecordError) { t.Error(e) }
	if _, err := transfer.Export(t.Context(), store, "", full{}, none); err == nil || !strings.Contains(err.Error(), "writing the export: no space left") {
		t.Errorf("error %v", err)
	}
	down := errors.New("down")
	if _, err := transfer.Export(t.Context(), broken{down}, "", io.Discard, none); !errors.Is(err, down) {
		t.Errorf("error %v", err)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	put := func(text string, failure error) error {
		return transfer.WriteFile(path, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return errors.Join(err, failure)
		})
	}
	if err := os.WriteFile(path+".tmp", []byte("left by a process that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if err := put(text, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("three", errors.New("no")); err == nil {
		t.Error("no error")
	}
	content, err := os.ReadFile(path)
	if err != nil || string(content) != "two" {
		t.Errorf("%q, error %v", content, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("left over: %v, error %v", names, err)
	}
	for name, make := range map[string]func(path string) error{
		"folder":  func(path string) error { return os.Mkdir(path, 0o700) },
		"symlink": func(path string) error { return os.Symlink("elsewhere", path) },
	} {
		path = filepath.Join(t.TempDir(), name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if err := put("x", nil); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
