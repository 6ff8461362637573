package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/webpush"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

// mustMake runs a command that makes a key, and returns what the file holds
// and what was printed.
func mustMake(t *testing.T, path string, args ...string) (content []byte, printed string) {
	t.Helper()
	r := caddyOOB(t, "", args...)
	if r.err != nil {
		t.Fatalf("%q: %v", args, r.err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%q: mode %v", args, info.Mode())
	}
	return []byte(read(t, path)), r.out
}

// The printed key is one that messages are sealed for, and a device opens them
// with the one in the file, which may come from standard input to `open`.
func TestKeygenDevice(t *testing.T) {
	for _, kind := range deviceKinds {
		path := filepath.Join(t.TempDir(), "phone.jwk")
		content, printed := mustMake(t, path, "keygen", "device", path, "--type", kind)
		public, err := encrypt.ParseKey([]byte(printed), encrypt.Policy{})
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if got := operate.KeyKind(public.JWK()); got != kind {
			t.Errorf("%s: made %s", kind, got)
		}
		sealed, err := public.Seal([]byte(openPlain))
		if err != nil {
			t.Fatal(err)
		}
		private, err := devicekey.ParsePrivateKey(content)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := private.Open(sealed); err != nil || string(plain) != openPlain {
			t.Errorf("%s: opened %q, %v", kind, plain, err)
		}
		message := filepath.Join(t.TempDir(), "message.txt")
		writeFile(t, message, sealed)
		v, r := openJSON(t, string(content), message, "--key", "-")
		if r.err != nil || v.JWE.For != kind || v.Key.Thumbprint != public.Thumbprint() || v.Payload["redeem_url"] != openRedeem {
			t.Errorf("%s: error %v, %s", kind, r.err, r.out)
		}
	}
}

func TestKeygenSeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	first, _ := mustMake(t, path, "keygen", "seal", path)
	s := newSidecar(t, "\t\tstore caddy {\nseal "+path+"\n}")
	lines := s.fill(t)
	if s.exported(t) != lines {
		t.Error("the store does not give back what it sealed")
	}
	other := filepath.Join(t.TempDir(), "seal.key")
	if second, _ := mustMake(t, other, "keygen", "seal", other); string(second) == string(first) {
		t.Error("the same key was made twice")
	}
	s.configure(t, "\t\tstore caddy {\nseal "+other+"\n}")
	if r := s.run(t, "list"); r.err == nil {
		t.Error("another key opens the records")
	}
}

func TestVAPID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vapid.json")
	content, printed := mustMake(t, path, "vapid", path, "--subject", "mailto:ops@example.com")
	var key struct{ Subject, PublicKey string }
	if err := json.Unmarshal(content, &key); err != nil {
		t.Fatal(err)
	}
	if key.PublicKey+"\n" != printed || key.Subject != "mailto:ops@example.com" {
		t.Errorf("printed %q for %+v", printed, key)
	}
	if _, err := dispatcherstest.Load[*webpush.WebPush](t, "web_push", map[string]any{"vapid": path}); err != nil {
		t.Errorf("web_push does not load the key: %v", err)
	}
}

// A command that fails makes no file and leaves one that is there alone.
func TestKeysAreNotReplaced(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	writeFile(t, there, "a key in use")
	fresh := filepath.Join(dir, "fresh")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"keygen", "device", there}, "was not touched"},
		{[]string{"keygen", "seal", there}, "was not touched"},
		{[]string{"vapid", there, "--subject", "mailto:ops@example.com"}, "was not touched"},
		{[]string{"keygen", "seal", filepath.Join(dir, "link")}, "was not touched"},
		{[]string{"keygen", "seal", filepath.Join(dir, "missing", "key")}, "no such file"},
		{[]string{"keygen", "device", fresh, "--type", "RSA-1024"}, "use one of RSA-2048"},
		{[]string{"keygen", "device", fresh, "--type", "ed25519"}, "use one of RSA-2048"},
		{[]string{"keygen", "device"}, "accepts 1 arg"},
		{[]string{"keygen", "sael", fresh}, "unknown command"},
		{[]string{"vapid", fresh}, "subject"},
		{[]string{"vapid", fresh, "--subject", "ops@example.com"}, "mailto:ops@example.com"},
	} {
		caddyOOB(t, "", tt.args...).wantError(t, tt.want)
	}
	if content := read(t, there); content != "a key in use" {
		t.Errorf("the file holds %q", content)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("there are %v", entries)
	}
}

func TestVersion(t *testing.T) {
	if r := caddyOOB(t, "", "version"); r.err != nil || !strings.Contains(r.out, "oob-dispatch  ") || !strings.Contains(r.out, runtime.Version()+"\n") {
		t.Errorf("printed %s, error %v", r.out, r.err)
	}
	r := caddyOOB(t, "", "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v["version"] == "" || v["commit"] == "" || v["caddy"] == "" || v["go"] != runtime.Version() {
		t.Errorf("printed %s, error %v", r.out, r.err)
	}
}
