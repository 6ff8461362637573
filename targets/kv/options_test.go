package kv

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key whose base64 begins with a slash, as a path does, and has characters
// that the two alphabets of base64 spell differently.
var canary = append([]byte{0xff, 0xef, 0xbe}, secret(7)[3:]...)

func write(t *testing.T, name string, content []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

// forms are how a key may be written.
func forms() map[string]string {
	return map[string]string{
		"hex":             hex.EncodeToString(canary),
		"upper-case hex":  strings.ToUpper(hex.EncodeToString(canary)),
		"base64":          base64.StdEncoding.EncodeToString(canary),
		"base64url":       base64.RawURLEncoding.EncodeToString(canary),
		"with line break": base64.StdEncoding.EncodeToString(canary) + "\n",
	}
}

func mustSealWithCanary(t *testing.T, name string, text string) {
	t.Helper()
	out := new(bytes.Buffer)
	r, err := loadRing(Options{Keys: []string{text}}, slog.New(slog.NewTextHandler(out, nil)))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	want, err := NewRing(canary)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := want.Open(r.Seal([]byte("record"), "place"), "place"); err != nil || out.Len() > 0 {
		t.Errorf("%s: sealed with another key, or logged %q", name, out)
	}
}

func TestKeyIsLoaded(t *testing.T) {
	mustSealWithCanary(t, "raw file", write(t, "key", canary, 0o600))
	for name, text := range forms() {
		path := write(t, "key", []byte(text), 0o600)
		t.Setenv("OOB_KEY", strings.TrimSpace(text))
		t.Setenv("OOB_FOLDER", filepath.Dir(path))
		mustSealWithCanary(t, name+" in a file", path)
		mustSealWithCanary(t, name+" in a file by placeholder", "{file."+path+"}")
		mustSealWithCanary(t, name+" in the environment", "{env.OOB_KEY}")
		mustSealWithCanary(t, name+" in a folder of the environment", "{env.OOB_FOLDER}/key")
	}
}

func TestLoadRefuses(t *testing.T) {
	good := write(t, "key", canary, 0o600)
	t.Setenv("OOB_KEY", "canary")
	discard := slog.New(slog.DiscardHandler)
	for want, o := range map[string]Options{
		"there is no file":             {Keys: []string{"/nowhere/key"}},
		"there is no file of this":     {Keys: []string{"/a/path/that/is/base64/of/a/whole/key/as/wo"}},
		"is not a regular file":        {Keys: []string{filepath.Dir(good)}},
		"chmod go-w":                   {Keys: []string{write(t, "key", canary, 0o620)}},
		"holds no key":                 {Keys: []string{write(t, "key", []byte("canary"), 0o600)}},
		"holds no key ":                {Keys: []string{write(t, "key", []byte("canary, a text of 32 characters."), 0o600)}},
		"holds no key of 32":           {Keys: []string{write(t, "key", canary[:31], 0o600)}},
		"holds no key of 32 bytes":     {Keys: []string{write(t, "key", nil, 0o600)}},
		"key 2 is given twice":         {Keys: []string{good, good}},
		"placeholder without a value":  {Keys: []string{"canary{env.OOB_UNSET}"}},
		"brings neither a key nor":     {Keys: []string{"{env.OOB_KEY}"}},
		"if it is the key itself":      {Keys: []string{base64.StdEncoding.EncodeToString(canary)}},
		"has no meaning without seal":  {AcceptUnsealed: true},
		"itself, put that into a file": {Keys: []string{good, hex.EncodeToString(canary)}},
	} {
		_, err := loadRing(o, discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave error %v, want %q", o.Keys, err, want)
			continue
		}
		for name, form := range forms() {
			if strings.Contains(err.Error(), strings.TrimSpace(form)) || strings.Contains(err.Error(), "canary") {
				t.Errorf("the error %q quotes the key in %s", err, name)
			}
		}
	}
}

func TestLoadWarns(t *testing.T) {
	for want, o := range map[string]Options{
		"every user of this machine": {Keys: []string{write(t, "key", canary, 0o644)}},
		"not sealed are accepted":    {Keys: []string{write(t, "key", canary, 0o600)}, AcceptUnsealed: true},
	} {
		out := new(bytes.Buffer)
		if _, err := loadRing(o, slog.New(slog.NewTextHandler(out, nil))); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("logged %q, error %v, want %q", out, err, want)
		}
	}
}

// loadRing reads the keys as a store does when it is provisioned.
func loadRing(o Options, logger *slog.Logger) (*Ring, error) {
	err := OptionTable.Provision(&o, logger)
	return o.ring, err
}

func TestNoKeysNoRing(t *testing.T) {
	if r, err := loadRing(Options{}, slog.New(slog.DiscardHandler)); r != nil || err != nil {
		t.Errorf("ring %v, error %v", r, err)
	}
}
