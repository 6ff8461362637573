package caddymodule

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	_ "github.com/oob-dispatch/oob-dispatch/targets/filesource"
	_ "github.com/oob-dispatch/oob-dispatch/targets/kv/redisstore"
	_ "github.com/oob-dispatch/oob-dispatch/targets/nevisidm"
)

// refusedValue is an option with a value that cannot be.
type refusedValue struct {
	kind    string // of the dispatcher; "" for an option of the handler itself, "dispatcher" for one of all dispatchers
	options string // the last line but the comment is at fault
	line    string // where that is not the last; the dispatcher is in line 3
	want    string
}

const (
	mail = "server mail.example.com\nfrom a@example.com\n"
	sms  = "url https://sms.example.com\n"
	push = "credentials /etc/firebase.json\n"
)

// There is one for each option of the README's grammar at least.
var refusedValues = []refusedValue{
	{"", "base_path nevisfido", "", `base_path "nevisfido" has to be a plain absolute path, such as /nevisfido`},
	{"", "base_path /a?b", "", "plain absolute path, such as /nevisfido"},
	{"", "namespace", "", "namespace takes a value"},
	{"", "upstream_dispatcher a b", "", "upstream_dispatcher takes one value"},
	{"", "redeem_url fido.example.com", "", "redeem_url: it has to be a web URL without query, such as https://fido.example.com/"},
	{"", "redeem_url https://fido.example.com/r?a=b", "", "redeem_url: it has to be a web URL without query"},
	{"", "redeem_url https://{http.request.host}/r", "", "redeem_url: it holds a placeholder that is unknown here; there are {env.NAME}"},
	{"", "token_lifetime registration 5", "", `token_lifetime: "5" is not a duration longer than zero, such as 5m`},
	{"", "token_lifetime login 5m", "", `token_lifetime: there is no operation "login": name registration, authentication or deregistration`},
	{"", "deadline 8", "", `deadline: "8" is not a duration longer than zero, such as 5m`},
	{"", "max_body 1MiB", "", `max_body: "1MiB" is not a size from 1KiB to 512KiB, such as 64KiB`},
	{"", "visual_code 1", "", `visual_code "1" is not a whole number from 2 to 8`},
	{"", "observe on", "", "observe takes no value"},
	{"", "store redis", "", "addresses takes one or more values"},
	{"", "store redis redis.example.com:6379", "", "address 1: it is "},
	{"", "store redis rediss://a.example.com rediss://b.example.com", "", "several addresses are those of Sentinels, with sentinel_master, or of a cluster"},
	{"", "store redis rediss://a:b@redis.example.com", "", "user and password belong into the options username and password"},
	{"", "store redis redis://127.0.0.1 {\nca /etc/ca.pem", "3", "have no meaning without TLS: use rediss:// addresses"},
	{"", "store redis redis://127.0.0.1 {\nkey_prefix a*", "", `key_prefix: it takes letters, digits and :._/-`},
	{"", "store redis redis://127.0.0.1 {\nusername a", "", "username has no meaning without password"},
	{"", "store redis redis://127.0.0.1 {\npassword {secret}", "", "password: it holds a placeholder that is unknown here"},
	{"", "store redis redis://127.0.0.1 {\naccept_unsealed", "", "accept_unsealed has no meaning without seal"},
	{"", "key_source nevisidm idm.example.com {\nclient 100\nauth bearer {env.T}", "3", "url: it is not a URL with a host, such as https://"},
	{"", "key_source nevisidm https://idm.example.com/nevisidm/api {\nclient 100\nauth bearer {env.T}", "3", "url: leave out /api/…, which is appended"},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100", "3", "auth is needed, such as: auth basic <user> {file./path}, or client_cert"},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nauth bearer {env.T}\napi entities\nscan", "7", "take scan away, or api entities"},
	{"", "key_source file {records}", "", "path: it holds a placeholder that is unknown here"},
	{"", "key_source file", "", "path takes one value"},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nproxy idm.example.com", "", "proxy: it is not an http or https URL, such as http://proxy.example.com:3128"},
	{"", "key_policy {\nmin_rsa_bits 3000", "", "key_policy: min_rsa_bits is 2048, 3072 or 4096, not 3000"},
	{"", "key_policy {\nmax_key_age old", "", `max_key_age: "old" is not a duration longer than zero`},
	{"", "limit target 5 5", "", `limit: "5" is not a duration longer than zero, such as 5m`},
	{"", "limit target five 5m", "", `limit: "five" is not a number`},
	{"", "limit target 5 5m\nlimit target 5 5m", "", "limit target 5 5m stands twice: remove one"},
	{"", "on_expired link", "", "on_expired takes a dispatcher that needs no address of a device, such as webhook"},
	{"", "on_expired webhook {\nurl https://a.example.com\naddress x", "", "on_expired sends no message to a device"},
	{"", "on_expired webhook {\nurl a.example.com", "", "url: it is not a URL with a host, such as https://"},
	{"", "on_expired webhook {\nmethod PUT", "3", "url <template> is needed, such as: url https://"},
	{"", "audit log a/b", "", `audit log "a/b": a name has 1 to 64 letters`},
	{"", "audit file {nothing}/a", "", "audit file: it holds a placeholder that is unknown here"},
	{"", "dispatcher a/b link", "", `dispatcher "a/b": a name has 1 to 64 letters`},

	{"dispatcher", "encryption on", "", `encryption "on": it is required, preferred or off`},
	{"dispatcher", "address {oob.user.mail}", "", "address: unknown placeholder {oob.user.mail}; there are {oob.operation}"},
	{"dispatcher", "base_url app.example.com/open", "", "base_url: a URL needs a scheme, such as https://app.example.com/open"},
	{"dispatcher", "base_url javascript:alert(1)", "", "base_url: a URL of scheme javascript opens no app"},
	{"dispatcher", "base_url https://app.example.com/{oob.target}", "", "base_url: it holds a placeholder that is unknown here"},
	{"dispatcher", "handle http://fido.example.com/oob", "", "handle: the URL must be https"},
	{"dispatcher", "handle https://fido.example.com", "", "handle: the URL needs a plain path of its own and no query, such as https://fido.example.com/oob"},
	{"dispatcher", "retries 0\nhandle https://fido.example.com/nevisfido/oob", "", `dispatcher "d": handle: the path /nevisfido/oob is nevisFIDO's, see base_path; choose another, such as /oob`},
	{"dispatcher", "timeout 5", "", `timeout: "5" is not a duration longer than zero`},
	{"dispatcher", "retries many", "", `retries "many" is not a whole number from 0 to 10`},
	{"dispatcher", "operations login", "", `operations: there is no operation "login": name registration, authentication or deregistration`},
	{"dispatcher", "limit phone 5 5m", "", `limit "phone": it counts per target, user or client`},
	{"dispatcher", "max_concurrent none", "", `max_concurrent "none" is not a whole number from 1 to 100000`},

	{"fcm", "credentials {\"type\":\"service_account\"}", "", "credentials: it takes the path of a file, and this is the content of one"},
	{"fcm", "credentials {credentials}", "", "credentials: it holds a placeholder that is unknown here; there are {env.NAME}, {file./path}"},
	{"fcm", "dry_run", "3", `credentials <path> of a service account's key file is needed, or application_default`},
	{"fcm", push + "application_default", "", "credentials and application_default exclude each other: remove one"},
	{"fcm", "application_default on", "", "application_default takes no value"},
	{"fcm", push + "project my/bank", "", "project: it is not a project id, such as my-bank-12345"},
	{"fcm", push + "endpoint fcm.example.com", "", "endpoint: it is not a URL with a host, such as https://"},
	{"fcm", push + "endpoint http://fcm.example.com", "", "endpoint: the URL must be https; plain http is for this machine only"},
	{"fcm", push + "endpoint https://fcm.example.com/v1", "", "endpoint: it must be scheme://host, without a path"},
	{"fcm", push + "proxy proxy.example.com:3128", "", "proxy: it is not an http or https URL, such as http://proxy.example.com:3128"},
	{"fcm", push + "ca `-----BEGIN CERTIFICATE-----`", "", "ca: it takes the path of a file, and this is the content of one"},
	{"fcm", push + "client_cert /etc/cert.pem {key}", "", "client_cert (key): it holds a placeholder that is unknown here"},
	{"fcm", push + "dry_run on", "", "dry_run takes no value"},
	{"fcm", push + "ttl 60", "", "ttl takes a duration longer than zero"},
	{"fcm", push + "title {oob.title}", "", "title: unknown placeholder {oob.title}; there are {oob.operation}"},
	{"fcm", push + "body {oob.token}", "", "body: unknown placeholder {oob.token}; there are {oob.operation}"},
	{"fcm", push + "keep_unregistered off", "", "keep_unregistered takes no value"},
	{"fcm", push + "handle https://fido.example.com/oob", "", `dispatcher "d": handle makes links short, and this type of dispatcher sends none: remove it`},

	{"smtp", "server mail_1.example.com:587", "", "server: write the host's name or IP address and a port, such as mail.example.com:587"},
	{"smtp", "server mail.example.com:smtp", "", "server: write the host's name or IP address and a port"},
	{"smtp", "from a@example.com", "3", "server <host:port> is needed, such as: server mail.example.com:587"},
	{"smtp", "server mail.example.com", "3", "from <address> is needed, such as: from login@example.com"},
	{"smtp", mail + "tls on", "", "tls: it takes starttls, implicit or off"},
	{"smtp", mail + "tls off", "", "tls off: server: it must be on this machine; use starttls or implicit"},
	{"smtp", mail + "auth login", "", "auth takes two values: the user and the password"},
	{"smtp", mail + "auth a {env.B}\nauth_type digest", "", "auth_type takes auto, plain, login"},
	{"smtp", "from Bank", "", "from: it is not a mail address; write login@example.com"},
	{"smtp", "from bank@localhost", "", "from: the domain has no dot"},
	{"smtp", mail + "subject {oob.subject}", "", "subject: unknown placeholder {oob.subject}; there are"},
	{"smtp", mail + "templates a b", "", "templates takes one value"},
	{"smtp", mail + "language {oob.lang} en", "", "language: unknown placeholder {oob.lang}; there are"},
	{"smtp", mail + "language {oob.data.language}", "", "language: the last value is used when no other one fits, so it must be one of de, en, fr, it"},
	{"smtp", mail + "helo me@here", "", "helo: it is not a host name, such as sidecar.example.com"},
	{"smtp", mail + "connections 101", "", "connections takes a whole number from 1 to 100"},
	{"smtp", mail + "proxy socks5://proxy.example.com", "", "proxy: it is not an http or https URL"},
	{"smtp", mail + "ca {ca}", "", "ca: it holds a placeholder that is unknown here"},
	{"smtp", mail + "client_cert /etc/cert.pem", "", "client_cert takes two arguments"},

	{"webhook", "method POST", "3", `url <template> is needed`},
	{"webhook", "url sms.example.com", "", "url: it is not a URL with a host, such as https://sms.example.com/messages"},
	{"webhook", "url http://sms.example.com", "", "url: the URL must be https; plain http is for this machine only"},
	{"webhook", "url https://{oob.data.host}/", "", "url: scheme and host cannot come from a request; placeholders may be used in path and query"},
	{"webhook", "url https://{env.HOST}/{webhook.nothing}", "", "url: there are only {webhook.address}, {webhook.id} and {webhook.text}"},
	{"webhook", sms + "method HEAD", "", "method: it takes POST, PUT, PATCH or GET"},
	{"webhook", sms + "method GET\nbody a", "", "body: method GET has none; put what it holds into url"},
	{"webhook", sms + "header Host a", "", "header Host: it is set otherwise; see the option secret"},
	{"webhook", sms + "header \"X Y\" a", "", "header: a name is made of letters, digits, hyphens and underscores, such as X-Api-Key"},
	{"webhook", sms + "header X-Y {oob.y}", "", "header X-Y: unknown placeholder {oob.y}; there are"},
	{"webhook", sms + "content_type json", "", "content_type: it is none that values can be escaped for: application/json"},
	{"webhook", sms + "body {oob.z}", "", "body: unknown placeholder {oob.z}; there are"},
	{"webhook", sms + "body `{\"to\":{webhook.address}}`", "", `body: it is not JSON once values are put in: placeholders belong inside of strings`},
	{"webhook", sms + "content_type text/plain", "", "body: the default is JSON; configure one of this content_type"},
	{"webhook", sms + "text {oob.links}", "", "text: unknown placeholder {oob.links}; there are"},
	{"webhook", sms + "text a\nbody `{}`", "5", "text: nothing uses it; put {webhook.text} into body"},
	{"webhook", sms + "sms_segments 0", "", "sms_segments takes a whole number from 1 to 255"},
	{"webhook", sms + "sms_segments 2", "", "sms_segments: there is no text to count; configure text <template>"},
	{"webhook", sms + "secret whsec_short", "", "secret: it is not of the form whsec_<base64 of 24 to 64 bytes>; make one with: echo"},
	{"webhook", sms + "success 302", "", "success: a status is 2xx, 4xx, or a number from 200 to 299"},
	{"webhook", sms + "success_body (", "", "success_body: it is not a regular expression"},
	{"webhook", sms + "failure_body ERR delivered", "", `failure_body: "delivered" is not a meaning; there are refused, temporary`},
	{"webhook", sms + "gone 302", "", "gone: a status is a number from 400 to 499, such as 410"},
	{"webhook", sms + "gone 410\nsuccess 2xx 410", "5", "gone: 410 means success as well"},
	{"webhook", sms + "proxy http://proxy.example.com/path", "", "proxy: a path, query or fragment has no meaning here: leave it out"},
	{"webhook", sms + "ca a b", "", "ca takes one value"},
	{"webhook", sms + "client_cert a", "", "client_cert takes two"},

	{"letter", "window left", "3", "a letter needs spool <dir> or printer <ipp_url>"},
	{"letter", "spool {spool}", "", "spool: it holds a placeholder that is unknown here"},
	{"letter", "spool /s\nmax_spool -1", "", "max_spool takes a whole number from 1 to 1000000"},
	{"letter", "printer ipps://p.example.com\nmax_spool 5", "", "max_spool is for a folder: add spool <dir>, or remove it"},
	{"letter", "printer https://p.example.com", "", "printer: it is not an ipps or ipp URL, such as ipps://printer.example.com/ipp/print"},
	{"letter", "printer ipp://p.example.com", "", "printer: the URL must be https; plain http is for this machine only (ipps is IPP over https"},
	{"letter", "spool /s\ntemplates {t}", "", "templates: it holds a placeholder that is unknown here"},
	{"letter", "spool /s\nlanguage ja", "", "language: the last value is used when no other one fits, so it must be one of de, en, fr, it"},
	{"letter", "spool /s\nlanguage", "", "language takes one or more values"},
	{"letter", "spool /s\nmin_lifetime 3", "", "min_lifetime takes a duration longer than zero"},
	{"letter", "spool /s\nsender \"山田銀行\"", "", "sender: the text or the address is in a script that the font lacks; Latin, Greek and Cyrillic can be printed"},
	{"letter", "spool /s\nwindow top", "", "window: it takes right or left"},
	{"letter", "spool /s\nproxy http://proxy.example.com", "3", "proxy, ca and client_cert are for a printer: add printer <ipp_url>, or remove them"},
	{"letter", "spool /s\nproxy proxy", "", "proxy: it is not an http or https URL"},
	{"letter", "spool /s\nca {ca}", "", "ca: it holds a placeholder that is unknown here"},
	{"letter", "spool /s\nclient_cert a", "", "client_cert takes two arguments"},

	{"web_push", "allow push.example.com", "3", `vapid <path> of a VAPID key is needed`},
	{"web_push", "vapid `{\"publicKey\":\"\"}`", "", "vapid: it takes the path of a file, and this is the content of one"},
	{"web_push", "vapid /v\nallow https://push.example.com/", "", "is not the name of a host such as push.example.com or *.push.example.com"},
	{"web_push", "vapid /v\nproxy proxy", "", "proxy: it is not an http or https URL"},
	{"web_push", "vapid /v\nca {ca}", "", "ca: it holds a placeholder that is unknown here"},
	{"web_push", "vapid /v\nclient_cert a", "", "client_cert takes two arguments"},

	{"fallback", "try push", "3", `dispatcher "d" names the dispatcher "push", which is not configured`},
	{"fallback", "try d", "3", `dispatcher "d" contains itself`},
	{"fallback", "try link\nretries 3", "", "address, base_url, handle, timeout and retries belong to the dispatchers that it uses"},
	{"fallback", "try link\nencryption off", "", "encryption here can only be required"},
	{"fallback", "try link\non failure", "", `on: "failure" is not an outcome: name expired, no_target`},
	{"fan_out", "to push", "3", `dispatcher "d" names the dispatcher "push", which is not configured`},
	{"fan_out", "to link\nsucceed most", "", `succeed: it takes first, any or all`},

	{"qr_code", "size big", "", "size takes a whole number from 64 to 1024"},
	{"qr_code", "level X", "", "level: it takes auto, L, M, Q or H"},
	{"qr_code", "colors \"black\" \"white\"", "", `unusable QR code color "black": write #rgb, #rrggbb or rgb(r, g, b)`},
}

// caddyfile returns a Caddyfile with the option, and its line.
func (r refusedValue) caddyfile() (text, line string) {
	options := strings.Count(r.options, "\n")
	if r.kind == "" {
		text = inSite(r.options + strings.Repeat("\n}", strings.Count(r.options, "{\n")) + oneLink)
		line = strconv.Itoa(3 + options)
	} else {
		kind := strings.Replace(r.kind, "dispatcher", "link", 1)
		text = inSite("dispatcher d " + kind + " {\n" + r.options + "\n}" + oneLink)
		line = strconv.Itoa(4 + options)
	}
	if r.line != "" {
		line = r.line
	}
	return text, line
}

// A value that cannot be is found before anything is loaded, with its line and
// what to write instead.
func TestRefusedValuesNameTheirLine(t *testing.T) {
	for _, r := range refusedValues {
		t.Run(r.kind+" "+r.options, func(t *testing.T) {
			text, line := r.caddyfile()
			_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
			if err == nil {
				t.Fatalf("adapted:\n%s", text)
			}
			if !strings.Contains(err.Error(), r.want) {
				t.Errorf("%v\nwant %s", err, r.want)
			}
			if !regexp.MustCompile(`Caddyfile:` + line + `\b`).MatchString(err.Error()) {
				t.Errorf("%v\ndoes not name line %s", err, line)
			}
		})
	}
}

// Every option that the README names has a value that is refused.
func TestRefusedValuesCoverTheGrammar(t *testing.T) {
	tried := make(map[string]bool)
	for _, r := range refusedValues {
		for line := range strings.SplitSeq(r.options, "\n") {
			option, _, _ := strings.Cut(line, " ")
			tried[r.kind+" "+option] = true
		}
	}
	readme := readFile(t, "../README.md")
	_, rest, _ := strings.Cut(readme, "oob_dispatch [<matcher>] {\n")
	grammar, _, _ := strings.Cut(rest, "\n}\n")
	handler, all, _ := strings.Cut(grammar, "\tdispatcher <name> <type> [<args>] {\n")
	blocks := map[string]string{"": handler, "dispatcher": all}
	for _, m := range regexp.MustCompile(`(?s)\ndispatcher <name> (\w+) \{\n(.*?)\n\}`).FindAllStringSubmatch(readme, -1) {
		blocks[m[1]] = m[2]
	}
	if len(blocks) != 10 {
		t.Errorf("the README has %d blocks: %v", len(blocks), slices.Sorted(maps.Keys(blocks)))
	}
	for kind, block := range blocks {
		for _, m := range regexp.MustCompile(`(?m)^\t+([a-z_]+)`).FindAllStringSubmatch(block, -1) {
			if !tried[kind+" "+m[1]] {
				t.Errorf("no value of %s %s is tried", kind, m[1])
			}
		}
	}
}

// What only a file or the environment tells is no matter of the Caddyfile, and
// the defaults of a type do not show in what it adapts to.
func TestPlaceholdersAdaptUnresolved(t *testing.T) {
	const missing = "{env.OOB_TEST_UNSET}"
	for _, tc := range []struct{ kind, options string }{
		{"link", "base_url " + missing + "\nhandle https://" + missing + "/oob"},
		{"fcm", "credentials " + missing + "\nproject " + missing + "\nendpoint " + missing + "\nproxy " + missing + "\nca " + missing + "\nclient_cert " + missing + " /nonexistent/key"},
		{"fcm", "credentials /nonexistent/{system.hostname}.json"},
		{"smtp", "server " + missing + "\nfrom " + missing + "\nauth " + missing + " {file./nonexistent}\nhelo " + missing + "\ntemplates /nonexistent"},
		{"smtp", "server " + missing + "\ntls off\nfrom " + missing},
		{"smtp", "server mail.example.com\nfrom a@example.com\ntemplates /nonexistent\nlanguage rm"},
		{"webhook", "url " + missing + "\nheader Authorization \"Bearer " + missing + "\"\nsecret {file./nonexistent}\nbody `{\"n\":" + missing + "}`"},
		{"webhook", "url https://sms.example.com:{env.OOB_TEST_UNSET}/{webhook.address}"},
		{"letter", "spool " + missing + "\nprinter " + missing + "\ntemplates " + missing},
		{"web_push", "vapid " + missing},
	} {
		config := string(adapt(t, inDispatcher(tc.kind, tc.options)))
		for _, added := range []string{"fcm.googleapis.com", "starttls", "connections", "POST", "max_spool", "min_lifetime", "window", "application/json"} {
			if strings.Contains(config, added) {
				t.Errorf("%s: the JSON has the default %s: %s", tc.kind, added, config)
			}
		}
	}
	adapt(t, inSite("redeem_url https://"+missing+"/redeem\naudit file "+missing+oneLink))
}

// warnings returns what the log says while a configuration is loaded.
func warnings(t *testing.T, handler string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	config := configOf(t, handler)
	config.Logging.Logs["default"].WriterRaw = fmt.Appendf(nil, `{"output": "file", "filename": %q}`, path)
	if err := caddy.Validate(config); err != nil {
		t.Fatalf("%v\n%s", err, handler)
	}
	return readFile(t, path)
}

func TestUsersThatNoSourceKnows(t *testing.T) {
	records := filepath.Join(t.TempDir(), "records")
	if err := os.WriteFile(records, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	push := fmt.Sprintf(`{"type": "fcm", "credentials": %q, "title": "For {oob.user.email}"}`, credentials(t))
	mail := `{"type": "smtp", "server": "mail.example.com", "from": "a@example.com"}`
	for _, tc := range []struct {
		name, dispatcher, members string
		warns                     bool
	}{
		{"address", mail + `, "address": "{oob.user.email}"`, "", true},
		{"option of the type", push, "", true},
		{"from the request", mail + `, "address": "{http.request.header.X-User-Email}"`, "", false},
		{"with a source", push + `, "address": "{oob.user.mobile}"`, fmt.Sprintf(`, "key_sources": [{"type": "file", "path": %q}]`, records), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := warnings(t, `{"handler": "oob_dispatch", "dispatchers": [{"name": "first", "dispatcher": `+tc.dispatcher+`}]`+tc.members+`}`)
			warned := strings.Contains(log, "configure key_source nevisidm or file") && strings.Contains(log, `"dispatcher":"first"`)
			if warned != tc.warns {
				t.Errorf("the log says %s", log)
			}
		})
	}
}

func TestSecretsInTheConfigurationAreTraced(t *testing.T) {
	for _, tc := range []struct{ name, dispatcher, option string }{
		{"password", `{"type": "smtp", "server": "mail.example.com", "from": "a@example.com", "auth": {"username": "a", "password": "canary"}}`, "auth (password)"},
		{"header", `{"type": "webhook", "url": "https://sms.example.com", "headers": {"x-api-key": "canary"}}`, "header X-Api-Key"},
		{"key", `{"type": "webhook", "url": "https://sms.example.com", "secrets": ["whsec_` + strings.Repeat("Y2FuYXJ5", 5) + `"]}`, "secret"},
		{"proxy", fmt.Sprintf(`{"type": "fcm", "credentials": %q, "proxy": "http://a:canary@proxy.example.com"}`, credentials(t)), "proxy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := warnings(t, `{"handler": "oob_dispatch", "dispatchers": [{"name": "second", "dispatcher": `+tc.dispatcher+`}]}`)
			want := fmt.Sprintf(`"dispatcher":"second","option":%q`, tc.option)
			if !strings.Contains(log, "a secret stands in the configuration") || !strings.Contains(log, want) || strings.Contains(log, "canary") {
				t.Errorf("the log says %s\nwant %s", log, want)
			}
		})
	}
}
