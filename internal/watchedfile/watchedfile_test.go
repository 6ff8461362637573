package watchedfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func newLogger() (*slog.Logger, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return slog.New(slog.NewTextHandler(out, nil)), out
}

func parse(content []byte) (string, error) {
	if !bytes.HasPrefix(content, []byte("good")) {
		return "", errors.New("it is not good")
	}
	return string(content), nil
}

func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(fresh, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
}

func TestFileIsChecked(t *testing.T) {
	tests := []struct {
		name    string
		content string
		mode    os.FileMode
		public  bool
		want    string // of the error; "" if it opens
		warns   bool
	}{
		{"private", "good", 0o600, false, "", false},
		{"readable by the group", "good", 0o640, false, "", false},
		{"readable by everybody", "good", 0o644, false, "", true},
		{"public and readable by everybody", "good", 0o644, true, "", false},
		{"writable by the group", "good", 0o620, false, "chmod go-w", false},
		{"writable by others", "good", 0o602, false, "chmod go-w", false},
		{"public and writable by others", "good", 0o646, true, "chmod go-w", false},
		{"not what it should be", "canary", 0o600, false, "it is not good", false},
		{"as large as can be", "good" + strings.Repeat("x", maxFileSize-4), 0o600, false, "", false},
		{"too large", "good" + strings.Repeat("x", maxFileSize-3), 0o600, false, "larger than", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			logger, logged := newLogger()
			path := filepath.Join(t.TempDir(), "file")
			put(t, path, tt.content, tt.mode)
			open := Open[string]
			if tt.public {
				open = OpenPublic[string]
			}
			f, err := open("key", path, parse, logger)
			if tt.want != "" {
				wantError(t, err, "key: ", path, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Value() != tt.content {
				t.Error("another content")
			}
			if warned := logged.Len() > 0; warned != tt.warns {
				t.Errorf("logged %q", logged)
			}
		})
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want an error with %q", err, part)
		}
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("the error %q quotes the file", err)
	}
}

func TestWhatIsNoFile(t *testing.T) {
	logger, _ := newLogger()
	folder := t.TempDir()
	_, err := Open("key", filepath.Join(folder, "missing"), parse, logger)
	wantError(t, err, "key: there is no file", folder)
	_, err = Open("key", folder, parse, logger)
	wantError(t, err, "key: ", "not a regular file")
}

func TestChangesArePickedUp(t *testing.T) {
	logger, logged := newLogger()
	path := filepath.Join(t.TempDir(), "file")
	link := path + ".link" // Kubernetes mounts are links
	put(t, path, "good 1", 0o600)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	f, err := Open("key", link, parse, logger)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name   string
		change func()
		want   string
		logs   int // lines that the change adds, however often the file is used
		faulty bool
	}{
		{"unchanged", func() {}, "good 1", 0, false},
		{"replaced", func() { put(t, path, "good 2", 0o600) }, "good 2", 1, false},
		{"rewritten in place", func() {
			_ = os.WriteFile(path, []byte("good 2"), 0o600)
			_ = os.WriteFile(path, []byte("good 3"), 0o600)
			_ = os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour))
		}, "good 3", 1, false},
		{"broken", func() { put(t, path, "canary", 0o600) }, "good 3", 1, true},
		{"broken in another way", func() { put(t, path, "good 4", 0o606) }, "good 3", 1, true},
		{"gone", func() { _ = os.Remove(path) }, "good 3", 1, true},
		{"back", func() { put(t, path, "good 5", 0o600) }, "good 5", 1, false},
		{"opened to writers", func() { _ = os.Chmod(path, 0o666) }, "good 5", 1, true},
		{"closed again", func() { _ = os.Chmod(path, 0o600) }, "good 5", 1, false},
		{"opened once more", func() { _ = os.Chmod(path, 0o666) }, "good 5", 1, true},
	}
	for _, step := range steps {
		step.change()
		logged.Reset()
		for range 3 {
			if got := f.Value(); got != step.want {
				t.Errorf("%s: got %q, want %q", step.name, got, step.want)
			}
		}
		if err := f.Err(); (err != nil) != step.faulty {
			t.Errorf("%s: error %v", step.name, err)
		}
		if n := strings.Count(logged.String(), "\n"); n != step.logs {
			t.Errorf("%s: %d log lines, want %d: %s", step.name, n, step.logs, logged)
		}
		if strings.Contains(logged.String(), "canary") {
			t.Errorf("%s: the log quotes the file", step.name)
		}
	}
}

func TestFileIsSafeForConcurrentUse(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	path := filepath.Join(t.TempDir(), "file")
	put(t, path, "good 0", 0o600)
	f, err := Open("key", path, parse, logger)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if !strings.HasPrefix(f.Value(), "good") {
					t.Error("a value that was never good")
				}
			}
		})
	}
	for range 20 {
		put(t, path, "good again", 0o600)
		put(t, path, "bad", 0o600)
	}
	wg.Wait()
}

// A value is not released while it is used, and waiting for a changed file ends
// with the context.
func TestUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	put(t, path, "1", 0o600)
	proceed, released := make(chan struct{}, 1), make(chan string, 2)
	proceed <- struct{}{}
	f, err := Follow(path, Kind[string]{
		Read: func(file *os.File) (string, error) {
			defer file.Close()
			<-proceed
			content, err := io.ReadAll(file)
			return string(content), err
		},
		Release: func(value string) { released <- value },
		Changed: func(*slog.Logger, string) {},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, "2", 0o600)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Use(ctx, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that of the context", err)
	}
	close(proceed)
	if got := f.Value(); got != "2" {
		t.Errorf("got %q, want the new value", got)
	}
	if got := <-released; got != "1" {
		t.Errorf("%q was released", got)
	}
	if err := f.Use(t.Context(), func(string) {
		if len(released) > 0 {
			t.Error("the value in use was released")
		}
	}); err != nil {
		t.Error(err)
	}
	if err := f.Destruct(); err != nil || <-released != "2" {
		t.Errorf("the last value was not released, error %v", err)
	}
}

func TestSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	put(t, path, "first\n", 0o600)
	t.Setenv("OOB_TEST_SECRET", "from the environment")
	t.Setenv("OOB_TEST_LINES", "canary\ncanary")
	logger, logged := newLogger()
	for text, want := range map[string]string{
		"{file." + path + "}":   "first",
		"{env.OOB_TEST_SECRET}": "from the environment",
		"x{file." + path + "}":  "xfirst",
	} {
		if secret, err := OpenSecret("password", text, ParseLine, logger); err != nil || secret.Value() != want {
			t.Errorf("%s: error %v", text, err)
		}
	}
	if logged.Len() > 0 {
		t.Errorf("logged %s", logged)
	}
	secret, err := OpenSecret("password", "{file."+path+"}", ParseLine, logger)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ content, want string }{{"second", "second"}, {"\n", "second"}, {"third\r\n", "third"}} {
		put(t, path, step.content, 0o600)
		if got := secret.Value(); got != step.want {
			t.Errorf("after a change to %q it is %q", step.content, got)
		}
	}
	for _, text := range []string{"{env.OOB_TEST_LINES}", "{file." + path + ".missing}", "{env.OOB_TEST_UNSET}", ""} {
		_, err := OpenSecret("password", text, ParseLine, logger)
		wantError(t, err, "password")
	}
}
