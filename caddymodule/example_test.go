package caddymodule

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/webpush"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

// validateCaddyfile does what caddy validate does.
func validateCaddyfile(t *testing.T, text string) error {
	t.Helper()
	config := new(caddy.Config)
	if err := json.Unmarshal(adapt(t, text), config); err != nil {
		t.Fatal(err)
	}
	root, err := json.Marshal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config.StorageRaw = json.RawMessage(`{"module": "file_system", "root": ` + string(root) + `}`)
	if log := config.Logging.Logs["default"]; log != nil {
		log.WriterRaw = json.RawMessage(`{"output": "discard"}`)
	}
	return caddy.Validate(config)
}

// commented finds the options of the example that are commented out: a line
// that begins with a word of the language, up to the brace that closes it.
var commented = regexp.MustCompile(`(?m)^\t\t# (?:visual_code .*|(?:dispatcher|store|on_key_change) .* \{\n(?:\t\t#\t.*\n)+\t\t# \})$`)

func uncommented(block string) string {
	return regexp.MustCompile(`(?m)^\t\t# ?`).ReplaceAllString(block, "\t\t")
}

// serviceAccounts are the files of service accounts that the example names.
var serviceAccounts = sync.OnceValues(func() (map[string][]byte, error) {
	accounts := make(map[string][]byte)
	for name, project := range map[string]string{"firebase.json": "my-project", "firebase-test.json": "my-test-project"} {
		s, err := google.Start(google.Options{Project: project})
		if err != nil {
			return nil, err
		}
		s.Close()
		accounts[name] = s.ServiceAccountJSON()
	}
	return accounts, nil
})

// secretsFor replaces the paths of the example by generated files.
func secretsFor(t *testing.T, text string) string {
	t.Helper()
	t.Setenv("PROXY_USER", "user")
	t.Setenv("PROXY_PASSWORD", "password")
	t.Setenv("SMTP_PASSWORD", "password")
	t.Setenv("SMS_TOKEN", "token")
	vapid, err := webpush.NewVAPID("mailto:login@bank.example.com")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vapid.json")
	writeFile(t, path, string(vapid))
	text = strings.ReplaceAll(text, "/etc/oob-dispatch/vapid.json", path)
	text = strings.ReplaceAll(text, "/var/spool/oob-dispatch", t.TempDir())
	key := filepath.Join(t.TempDir(), "key")
	writeFile(t, key, base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n")
	for _, name := range []string{"redis.password", "seal.key"} {
		text = strings.ReplaceAll(text, "/etc/oob-dispatch/"+name, key)
	}
	if strings.Contains(text, "\t\tstore redis") {
		text = strings.Replace(text, "\t\tstore caddy\n", "", 1)
	}
	accounts, err := serviceAccounts()
	if err != nil {
		t.Fatal(err)
	}
	for name, account := range accounts {
		path := filepath.Join(t.TempDir(), name)
		writeFile(t, path, string(account))
		text = strings.ReplaceAll(text, "/etc/oob-dispatch/"+name, path)
	}
	return text
}

func TestExampleValidates(t *testing.T) {
	example := readFile(t, "../Caddyfile.example")
	if err := validateCaddyfile(t, example); err != nil {
		t.Fatalf("as it stands: %v", err)
	}
	blocks := commented.FindAllString(example, -1)
	if n := len(regexp.MustCompile(`(?m)^\s*# (?:(?:dispatcher|store) \S+ \S+ \{|on_key_change \S+ \{|visual_code \d)`).FindAllString(example, -1)); len(blocks) != n || n < 3 {
		t.Fatalf("found %d of the %d options that are commented out", len(blocks), n)
	}
	whole := example
	for _, block := range blocks {
		name, _, _ := strings.Cut(strings.TrimSpace(uncommented(block)), "\n")
		t.Run(name, func(t *testing.T) {
			if err := validateCaddyfile(t, secretsFor(t, strings.Replace(example, block, uncommented(block), 1))); err != nil {
				t.Error(err)
			}
		})
		whole = strings.Replace(whole, block, uncommented(block), 1)
	}
	if err := validateCaddyfile(t, secretsFor(t, whole)); err != nil {
		t.Errorf("everything at once: %v", err)
	}
}

// The proxy of the example gives nevisFIDO longer than upstream_timeout, and not
// without end. An idle connection uses up the time to read from it.
func TestExampleBoundsTheProxy(t *testing.T) {
	var config any
	if err := json.Unmarshal(adapt(t, readFile(t, "../Caddyfile.example")), &config); err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(find(config, "reverse_proxy"))
	if err != nil {
		t.Fatal(err)
	}
	var proxy struct {
		Transport struct {
			Dial   caddy.Duration `json:"dial_timeout"`
			Header caddy.Duration `json:"response_header_timeout"`
			Read   caddy.Duration `json:"read_timeout"`
			Idle   struct {
				Timeout caddy.Duration `json:"idle_timeout"`
			} `json:"keep_alive"`
		} `json:"transport"`
	}
	if err := json.Unmarshal(content, &proxy); err != nil {
		t.Fatal(err)
	}
	if p := proxy.Transport; p.Dial == 0 || p.Header <= caddy.Duration(30*time.Second) || p.Idle.Timeout == 0 || p.Read < p.Header+p.Idle.Timeout {
		t.Errorf("%+v", p)
	}
}

func fenced(t *testing.T, document, language string) string {
	t.Helper()
	_, rest, found := strings.Cut(document, "```"+language+"\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatalf("the README has no %s block", language)
	}
	return block
}

func TestReadmeJSONIsItsCaddyfile(t *testing.T) {
	readme := readFile(t, "../README.md")
	var adapted any
	if err := json.Unmarshal(adapt(t, fenced(t, readme, "caddyfile")), &adapted); err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal([]byte(fenced(t, readme, "json")), &want); err != nil {
		t.Fatal(err)
	}
	if got := find(adapted, "oob_dispatch"); !reflect.DeepEqual(got, want) {
		t.Errorf("the Caddyfile is\n%v\nand the JSON beside it\n%v", got, want)
	}
}

// find returns a handler of a configuration.
func find(v any, handler string) any {
	switch v := v.(type) {
	case map[string]any:
		if v["handler"] == handler {
			return v
		}
		for _, inner := range v {
			if h := find(inner, handler); h != nil {
				return h
			}
		}
	case []any:
		for _, inner := range v {
			if h := find(inner, handler); h != nil {
				return h
			}
		}
	}
	return nil
}
