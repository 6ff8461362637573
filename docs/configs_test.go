package docs

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the directives beside ours
	"golang.org/x/mod/sumdb/note"

	_ "github.com/oob-dispatch/oob-dispatch" // the modules
	"github.com/oob-dispatch/oob-dispatch/caddymodule"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/webpush"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

// TestEveryCaddyfileIsValid: each block of a Caddyfile in the documentation does
// with caddy validate what its reader will do with it.
func TestEveryCaddyfileIsValid(t *testing.T) {
	for _, p := range pages(t) {
		for _, f := range p.fences() {
			if f.language != "caddyfile" || strings.HasPrefix(f.text, pager) {
				continue
			}
			if err := validate(t, whole(f.text)); err != nil {
				t.Errorf("%s:%d: %v", p.name, f.line, err)
			}
		}
	}
}

var handlerOptions = func() map[string]bool {
	words := map[string]bool{"dispatcher": true, "limit": true, "key_source": true}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[caddymodule.Handler]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		words[name] = true
	}
	return words
}()

// whole puts around a block what is around it in a Caddyfile: nothing where it
// begins with a site, a snippet or the global options.
func whole(block string) string {
	first := strings.Fields(block)[0]
	if handlerOptions[first] {
		block = "oob_dispatch {\n" + block
		if !strings.Contains(block, "\ndispatcher ") {
			block += "dispatcher app-link link\n"
		}
		block += "}\n"
		first = "oob_dispatch"
	}
	if strings.ContainsAny(first, "{(.:") {
		return block
	}
	return "http://127.0.0.1 {\n" + block + "reverse_proxy 127.0.0.1:9080\n}\n"
}

func validate(t *testing.T, text string) error {
	t.Helper()
	config, err := configuration(t, standIns(t, text))
	if err != nil {
		return err
	}
	return caddy.Validate(config)
}

// configuration reads a Caddyfile, and keeps what it does to the test: its storage, and
// a silent log.
func configuration(t *testing.T, text string) (*caddy.Config, error) {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	config := new(caddy.Config)
	if err := json.Unmarshal(adapted, config); err != nil {
		return nil, err
	}
	root, err := json.Marshal(testservice.Folder(t))
	if err != nil {
		return nil, err
	}
	config.StorageRaw = json.RawMessage(`{"module": "file_system", "root": ` + string(root) + `}`)
	if config.Logging == nil {
		config.Logging = new(caddy.Logging)
	}
	if config.Logging.Logs == nil {
		config.Logging.Logs = make(map[string]*caddy.CustomLog)
	}
	if config.Logging.Logs["default"] == nil {
		config.Logging.Logs["default"] = new(caddy.CustomLog)
	}
	config.Logging.Logs["default"].WriterRaw = json.RawMessage(`{"output": "discard"}`)
	return config, nil
}

var (
	fileName = regexp.MustCompile(`/(?:etc|var|run)/[A-Za-z0-9_./-]+`)
	variable = regexp.MustCompile(`\{env\.(\w+)\}`)
)

// standIns puts files and variables in the place of those that a configuration
// names.
func standIns(t *testing.T, text string) string {
	t.Helper()
	for _, name := range variable.FindAllStringSubmatch(text, -1) {
		t.Setenv(name[1], "value")
	}
	return fileName.ReplaceAllStringFunc(text, func(name string) string {
		path := filepath.Join(t.TempDir(), filepath.Base(name))
		if filepath.Ext(name) == "" {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return path
		}
		if content := contentOf(t, name); content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return path
	})
}

// serviceAccount is that of a Google which is not there any more.
var serviceAccount = sync.OnceValues(func() ([]byte, error) {
	s, err := google.Start(google.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.ServiceAccountJSON(), nil
})

// contentOf makes what stands in a file, judging by its name; nil for one that
// the server makes.
func contentOf(t *testing.T, name string) []byte {
	t.Helper()
	switch base := filepath.Base(name); {
	case strings.HasPrefix(name, "/var/"):
		return nil
	case strings.HasPrefix(base, "firebase"):
		account, err := serviceAccount()
		if err != nil {
			t.Fatal(err)
		}
		return account
	case base == "vapid.json":
		key, err := webpush.NewVAPID("mailto:login@bank.example.com")
		if err != nil {
			t.Fatal(err)
		}
		return key
	case base == "audit.key":
		private, _, err := note.GenerateKey(rand.Reader, "fido-1")
		if err != nil {
			t.Fatal(err)
		}
		return []byte(private)
	case strings.HasSuffix(base, ".pem"), strings.HasSuffix(base, ".crt"):
		_, ca, err := double.NewCertificate(double.Certificate{CommonName: "stand-in"})
		if err != nil {
			t.Fatal(err)
		}
		return ca
	case strings.HasSuffix(base, ".ndjson"):
		return []byte{}
	default: // a key or a password
		return []byte(base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n")
	}
}
