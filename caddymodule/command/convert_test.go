package command

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/caddymodule"
)

const fidoConfiguration = `
server:
  port: 9443
fido-uaf:
  app-id: https://fido.example.com/facets
  dispatchers:
    - type: firebase-cloud-messaging
      service-account-json: /var/opt/keys/fire base.json
      dry-run: true
      remove-unregistered-clients: false
      endpoint-base-url: mock.example.com
      proxy-url: http://proxy.example.com:3128
      proxy-user: jeff@example.com
      proxy-password: secret1
      registration-redeem-url: https://fido.example.com/nevisfido/token/redeem/registration
    - type: link
      base-url: ${env:APP_LINK}
      registration-redeem-url: https://fido.example.com/nevisfido/token/redeem/registration
      authentication-redeem-url: https://fido.example.com/nevisfido/token/redeem/authentication
    - type: link-png-qr-code
      link-base-url: "https://app.example.com/open"
    - type: png-qr-code
`

// handlerOf adapts a converted block and returns the handler, and the options of its
// dispatchers.
func handlerOf(t *testing.T, block string) (h *caddymodule.Handler, options []map[string]any) {
	t.Helper()
	found, err := findHandlers(adapt(t, ":8881 {\n"+block+"}\n"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d handlers, %v\n%s", len(found), err, block)
	}
	options = make([]map[string]any, len(found[0].Dispatchers))
	for i, d := range found[0].Dispatchers {
		if err := json.Unmarshal(d.DispatcherRaw, &options[i]); err != nil {
			t.Fatal(err)
		}
	}
	return found[0], options
}

// A password in the URL of the proxy is not printed.
func TestConvertProxyWithLogin(t *testing.T) {
	t.Setenv("PROXY_USER", "mia")
	for given, want := range map[string]string{
		"http://jeff:secret1@proxy.example.com:3128":                     "http://jeff:{env.OOB_PROXY_PASSWORD}@proxy.example.com:3128",
		"jeff:secret1@proxy.example.com:3128":                            "http://jeff:{env.OOB_PROXY_PASSWORD}@proxy.example.com:3128",
		"http://${env:PROXY_USER}:secret1@proxy.example.com":             "http://mia:{env.OOB_PROXY_PASSWORD}@proxy.example.com",
		"http://jeff:${env:PROXY_PASSWORD}@proxy.example.com":            "http://jeff:{env.PROXY_PASSWORD}@proxy.example.com",
		"http://jeff@proxy.example.com":                                  "http://jeff@proxy.example.com",
		"http://jeff:secret1@proxy.example.com\n      proxy-user: other": "http://other@proxy.example.com",
	} {
		r := caddyOOB(t, "fido-uaf:\n  dispatchers:\n    - type: firebase-cloud-messaging\n      service-account-json: /a.json\n      proxy-url: "+given+"\n", "convert", "-")
		if r.err != nil || strings.Contains(r.text(), "secret1") {
			t.Errorf("%s: %s", given, r.text())
			continue
		}
		_, options := handlerOf(t, r.out)
		if got := options[0]["proxy"]; got != want {
			t.Errorf("%s became %v, want %s", given, got, want)
		}
	}
}

// The block means what nevisfido.yml said, under the names that callers use.
func TestConvert(t *testing.T) {
	t.Setenv("APP_LINK", "https://app.example.com/env")
	path := filepath.Join(t.TempDir(), "nevisfido.yml")
	writeFile(t, path, fidoConfiguration)
	r := caddyOOB(t, "", "convert", path)
	if r.err != nil {
		t.Fatalf("%v\n%s", r.err, r.errOut)
	}
	if strings.Contains(r.text(), "secret1") {
		t.Error("the password is printed")
	}
	if !strings.Contains(r.errOut, "keep the dispatcher link") || !strings.Contains(r.errOut, proxyPassword) {
		t.Errorf("remarks: %s", r.errOut)
	}
	h, options := handlerOf(t, r.out)
	if h.RedeemURL != "https://fido.example.com/nevisfido/token/redeem" {
		t.Errorf("redeem_url %q", h.RedeemURL)
	}
	if len(h.Dispatchers) != 4 {
		t.Fatalf("%d dispatchers:\n%s", len(h.Dispatchers), r.out)
	}
	for i, want := range []struct {
		name, base string
		options    map[string]any
	}{
		{"firebase-cloud-messaging", "", map[string]any{
			"type": "fcm", "credentials": "/var/opt/keys/fire base.json", "dry_run": true, "keep_unregistered": true,
			"endpoint": "https://mock.example.com", "proxy": "http://jeff%40example.com:{env.OOB_PROXY_PASSWORD}@proxy.example.com:3128",
		}},
		{"link", "https://app.example.com/env", map[string]any{"type": "link"}},
		{"link-png-qr-code", "https://app.example.com/open", map[string]any{"type": "qr_code"}},
		{"png-qr-code", "", map[string]any{"type": "qr_code"}},
	} {
		if got := h.Dispatchers[i]; got.Name != want.name || got.BaseURL != want.base || !maps.Equal(options[i], want.options) {
			t.Errorf("dispatcher %+v with %v, want %+v", got, options[i], want)
		}
	}
	if again := caddyOOB(t, fidoConfiguration, "convert"); again.out != r.out {
		t.Error("standard input gives something else")
	}
}

// Each part without a counterpart is listed with its line; the rest stays a
// configuration that loads.
func TestConvertListsWhatIsMissing(t *testing.T) {
	const fcm = "dispatchers:\n- type: firebase-cloud-messaging\n  service-account-json: /key.json\n"
	const link = "- type: link\n  base-url: app://open\n  authentication-redeem-url: https://b.example.com/authentication\n"
	for name, tt := range map[string]struct {
		yaml    string
		options []string
		line    int
	}{
		"plug-in":                     {fcm + "- type: example-sms\n  gateway: https://sms.example.com\n", []string{"example-sms"}, 4},
		"no type":                     {fcm + "- gateway: https://sms.example.com\n", []string{"dispatcher"}, 4},
		"text for a dispatcher":       {fcm + "- link\n", []string{"dispatcher"}, 4},
		"second of a type":            {fcm + fcm[len("dispatchers:\n"):], []string{"firebase-cloud-messaging"}, 4},
		"unknown option":              {fcm + "  priority: high\n", []string{"firebase-cloud-messaging: priority"}, 4},
		"command":                     {fcm + "  proxy-url: ${exec:cat /proxy}\n", []string{"firebase-cloud-messaging: proxy-url"}, 4},
		"no boolean":                  {fcm + "  dry-run: perhaps\n", []string{"firebase-cloud-messaging: dry-run"}, 4},
		"user without proxy":          {fcm + "  proxy-user: jeff\n", []string{"firebase-cloud-messaging: proxy-user"}, 4},
		"list for a value":            {fcm + "  proxy-url: [a, b]\n", []string{"firebase-cloud-messaging: proxy-url"}, 4},
		"null for a value":            {fcm + "  proxy-url: ~\n", []string{"firebase-cloud-messaging: proxy-url"}, 4},
		"line break in a value":       {fcm + "  proxy-url: \"http://a\\n}\"\n", []string{"firebase-cloud-messaging: proxy-url"}, 4},
		"merged members":              {"x: &x {dry-run: true}\n" + fcm + "  <<: *x\n", []string{"firebase-cloud-messaging"}, 5},
		"redeem URL of another shape": {fcm + "  authentication-redeem-url: https://a.example.com/redeem\n", []string{"firebase-cloud-messaging: authentication-redeem-url"}, 4},
		"redeem URLs that differ":     {fcm + "  authentication-redeem-url: https://a.example.com/authentication\n" + link, []string{"firebase-cloud-messaging: authentication-redeem-url"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			r := caddyOOB(t, tt.yaml, "convert", "-", "--json")
			if r.err == nil {
				t.Error("no error")
			}
			var c conversion
			if err := json.Unmarshal([]byte(r.out), &c); err != nil {
				t.Fatal(err)
			}
			var options []string
			for _, m := range c.Missing {
				options = append(options, m.Option)
			}
			if !slices.Equal(options, tt.options) || c.Missing[0].Line != tt.line {
				t.Errorf("missing %+v, want %q on line %d", c.Missing, tt.options, tt.line)
			}
			if _, options := handlerOf(t, c.Caddyfile); options[0]["credentials"] != "/key.json" {
				t.Errorf("what has a counterpart is missing:\n%s", c.Caddyfile)
			}
			if text := caddyOOB(t, tt.yaml, "convert"); !strings.Contains(text.errOut, "no counterpart: line ") || text.out != c.Caddyfile {
				t.Errorf("as text: %s", text.text())
			}
		})
	}
}

// Values that mean something in a Caddyfile stay values.
func TestConvertQuotes(t *testing.T) {
	for _, path := range []string{`/a "b".json`, `/a\"b.json`, `/a#b.json`, `#.json`, `/ä b.json`, `C:\keys\key.json\`} {
		text, err := json.Marshal(path) // JSON is YAML
		if err != nil {
			t.Fatal(err)
		}
		r := caddyOOB(t, "- type: firebase-cloud-messaging\n  service-account-json: "+string(text)+"\n", "convert")
		if r.err != nil {
			t.Errorf("%s: %v", path, r.err)
			continue
		}
		tokens, err := caddyfile.Tokenize([]byte(r.out), "Caddyfile")
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(tokens, func(token caddyfile.Token) bool { return token.Text == "credentials" })
		if got := tokens[i+1].Text; got != path || tokens[i+2].Text != "}" {
			t.Errorf("%s became %s", path, got)
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ yaml, want string }{
		"nothing":        {"", "give nevisfido.yml"},
		"other file":     {"server:\n  port: 1\n", "give nevisfido.yml"},
		"no list":        {"fido-uaf:\n  dispatchers: none\n", "give nevisfido.yml"},
		"empty list":     {"fido-uaf:\n  dispatchers: []\n", "give nevisfido.yml"},
		"no YAML":        {"a:\n\t- secret1: [\n", "it is not YAML"},
		"nested in self": {"a: &a\n  dispatchers: *a\ndispatchers: *a\n", "give nevisfido.yml"},
	} {
		r := caddyOOB(t, tt.yaml, "convert")
		if r.err == nil || !strings.Contains(r.err.Error(), tt.want) || r.out != "" {
			t.Errorf("%s: printed %q, error %v", name, r.out, r.err)
		}
		if strings.Contains(r.text(), "secret1") {
			t.Errorf("%s: the file is quoted: %v", name, r.err)
		}
	}
	caddyOOB(t, "", "convert", filepath.Join(t.TempDir(), "missing.yml")).wantError(t, "no such file")
}
