package secretfile

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newLogger() (*slog.Logger, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return slog.New(slog.NewTextHandler(out, nil)), out
}

func TestResolveSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OOB_SET", "value")
	t.Setenv("OOB_EMPTY", "")
	for text, test := range map[string]struct {
		want         string
		warns, fails bool
	}{
		"{env.OOB_SET}":               {"value", false, false},
		"{file." + path + "}":         {"from file", false, false},
		"canary":                      {"canary", true, false},
		"":                            {"", false, true},
		"{env.OOB_UNSET}":             {"", false, true},
		"{env.OOB_EMPTY}":             {"", false, true},
		"{file." + path + ".missing}": {"", false, true},
		"canary{canary}":              {"", false, true},
	} {
		logger, out := newLogger()
		got, err := ResolveSecret("password", text, logger)
		if got != test.want || (err != nil) != test.fails || (out.Len() > 0) != test.warns {
			t.Errorf("%q gave %q, error %v, logged %q", text, got, err, out)
		}
		if strings.Contains(out.String(), "canary") || err != nil && (strings.Contains(err.Error(), "canary") || !strings.HasPrefix(err.Error(), "password: ")) {
			t.Errorf("%q: the error %v or the log %q quotes the secret, or does not name the option", text, err, out)
		}
	}
}

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		size   int
		mode   os.FileMode
		public bool
		want   string // of the error
		warns  bool
	}{
		"private":                 {4, 0o600, false, "", false},
		"readable by the group":   {4, 0o640, false, "", false},
		"readable by all":         {4, 0o644, false, "", true},
		"public, readable by all": {4, 0o644, true, "", false},
		"writable by the group":   {4, 0o620, false, "chmod go-w", false},
		"writable by all":         {4, 0o602, false, "chmod go-w", false},
		"public, writable by all": {4, 0o646, true, "chmod go-w", false},
		"as large as can be":      {MaxSize, 0o600, false, "", false},
		"too large":               {MaxSize + 1, 0o600, false, "larger than", false},
	} {
		path := filepath.Join(t.TempDir(), "file")
		content := bytes.Repeat([]byte("x"), test.size)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil { // past the umask
			t.Fatal(err)
		}
		logger, out := newLogger()
		read := func() ([]byte, error) { return Read("key", path, logger) }
		if test.public {
			read = func() ([]byte, error) { return ReadPublic("key", path) }
		}
		got, err := read()
		if test.want == "" && (err != nil || !bytes.Equal(got, content)) ||
			test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "key: ")) {
			t.Errorf("%s: read %d bytes, error %v, want %q", name, len(got), err, test.want)
		}
		if (out.Len() > 0) != test.warns {
			t.Errorf("%s: logged %q", name, out)
		}
	}
}

func TestWhatIsNoFile(t *testing.T) {
	folder := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(folder, "missing"): "there is no file",
		folder:                           "not a regular file",
		"/dev/null":                      "not a regular file",
	} {
		if _, err := ReadPublic("ca", path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gave error %v, want %q", path, err, want)
		}
	}
}
