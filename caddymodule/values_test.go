package caddymodule

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// refusedValue is an option with a value that cannot be.
type refusedValue struct {
	kind    string // of the dispatcher; "" for an option of the handler itself, "dispatcher" for one of all dispatchers
	options string // the last line is at fault
	line    string // where it is not the last that is named; the dispatcher is in line 3
}

const (
	mail = "server mail.example.com\nfrom a@example.com\n"
	sms  = "url https://sms.example.com\n"
	push = "credentials /etc/firebase.json\n"
)

// There is one for each option of the README's grammar at least.
var refusedValues = []refusedValue{
	{"", "base_path nevisfido", ""},
	{"", "base_path /a?b", ""},
	{"", "namespace", ""},
	{"", "upstream_dispatcher a b", ""},
	{"", "redeem_url fido.example.com", ""},
	{"", "redeem_url https://fido.example.com/r?a=b", ""},
	{"", "redeem_url https://{http.request.host}/r", ""},
	{"", "key_policy{", ""},
	{"", "dispatcher q qr_code{", ""},
	{"", "dispatcher q qr_code {\ndispatcher l link", ""},
	{"", "encode gzip", ""},
	{"", "visual_code 1", ""},
	{"", "visual_code 0 picture", ""},
	{"", "visual_code picture", ""},
	{"", "visual_code 4 sound", ""},
	{"", "observe on", ""},
	{"", "shapes {shapes}", ""},
	{"", "store redis", ""},
	{"", "store redis redis.example.com:6379", ""},
	{"", "store redis rediss://a.example.com rediss://b.example.com", ""},
	{"", "store redis rediss://a:b@redis.example.com", ""},
	{"", "store redis redis://127.0.0.1 {\nca /etc/ca.pem", "3"},
	{"", "store redis redis://127.0.0.1 {\nkey_prefix a*", ""},
	{"", "store redis redis://127.0.0.1 {\nusername a", ""},
	{"", "store redis redis://127.0.0.1 {\npassword {secret}", ""},
	{"", "store redis redis://127.0.0.1 {\naccept_unsealed", ""},
	{"", "store redis redis://127.0.0.1 {\ncluster yes", ""},
	{"", "store redis redis://127.0.0.1 {\nsentinel_master", ""},
	{"", "store redis redis://127.0.0.1 {\nsentinel_username a", ""},
	{"", "store redis redis://127.0.0.1 {\nsentinel_password {secret}", ""},
	{"", "store redis redis://127.0.0.1 {\nreplicas none", ""},
	{"", "store redis redis://127.0.0.1 {\nreplicas 1 never", ""},
	{"", "store redis redis://127.0.0.1 {\ntimeout 0s", ""},
	{"", "store redis redis://127.0.0.1 {\nseal", ""},
	{"", "store redis redis://127.0.0.1 {\nclient_cert /etc/client.pem", ""},
	{"", "store redis redis://127.0.0.1 {\nserver_name", ""},
	{"", "store caddy {\nstorage pigeon", ""},
	{"", "store caddy {\ntimeout 0s", ""},
	{"", "store caddy {\nseal", ""},
	{"", "store caddy {\naccept_unsealed", ""},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nauth bearer {env.T}\nusername mail", ""},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nauth bearer {env.T}\ntimeout 0s", ""},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nauth bearer {env.T}\nmax_response much", ""},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nauth bearer {env.T}\nca", ""},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nauth bearer {env.T}\nclient_cert /etc/client.pem", ""},
	{"", "key_source nevisidm idm.example.com {\nclient 100\nauth bearer {env.T}", "3"},
	{"", "key_source nevisidm https://idm.example.com/nevisidm/api {\nclient 100\nauth bearer {env.T}", "3"},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100", "3"},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nauth bearer {env.T}\napi entities\nscan", "7"},
	{"", "key_source file {records}", ""},
	{"", "key_source file", ""},
	{"", "key_source nevisidm https://idm.example.com {\nclient 100\nproxy idm.example.com", ""},
	{"", "key_policy {\nmin_rsa_bits 3000", ""},
	{"", "key_policy {\nmax_key_age old", ""},
	{"", "limit target five 5m", ""},
	{"", "limit target 5 5m\nlimit target 5 5m", ""},
	{"", "on_expired link", ""},
	{"", "on_expired webhook {\nurl https://a.example.com\naddress x", ""},
	{"", "on_expired webhook {\nurl a.example.com", ""},
	{"", "on_expired webhook {\nmethod PUT", "3"},
	{"", "audit log a/b", ""},
	{"", "audit file {nothing}/a", ""},
	{"", "base_pth /x", ""},
	{"", "retries 2", ""},
	{"", "audit", ""},
	{"", "audit /var/log/audit", ""},
	{"", "audit syslog a", ""},
	{"", "audit file /a {\nroll_size 5", "4"},
	{"", "audit log a {\nroll_keep 5", "3"},
	{"", "audit file /a {\nsigning_key secret", "4"},
	{"", "hash_key secret", ""},
	{"", "audit file \"\"", ""},
	{"", "audit file a\naudit log b", ""},
	{"", "Dispatcher link link", ""},
	{"", "on_expired", ""},
	{"", "on_key_change", ""},
	{"", "on_key_change link", ""},
	{"", "on_key_change smtp {\nserver a.example.com\nfrom a@example.com", "3"},
	{"", "on_key_change smtp {\nserver a.example.com\nfrom a@example.com\naddress {oob.target}", "6"},
	{"", "on_key_change smtp {\nserver a.example.com\nfrom a@example.com\naddress {oob.user.email}\nbase_url https://a.example.com", "7"},
	{"", "on_key_change webhook {\nurl https://a.example.com\noperations authentication", ""},
	{"", "on_expired webhook {\nurl https://a.example\n}\non_expired webhook {\nurl https://a.example\n}", "6"},
	{"", "redeem_url https://a b", ""},
	{"", "token_lifetime 2m", ""},
	{"", "token_lifetime authentication 2m 3m", ""},
	{"", "token_lifetime login 2m", ""},
	{"", "token_lifetime authentication soon", ""},
	{"", "token_lifetime authentication 2m\ntoken_lifetime authentication 2m", ""},
	{"", "deadline -1s", ""},
	{"", "upstream_timeout 0s", ""},
	{"", "max_body 1GiB", ""},
	{"", "store", ""},
	{"", "store pigeon", ""},
	{"", "store caddy caddy", ""},
	{"", "store caddy {\npath /x\n}", "4"},
	{"", "limit", ""},
	{"", "limit target 5", ""},
	{"", "limit target 5 5m x", ""},
	{"", "limit phone 5 5m", ""},
	{"", "limit target 0 5m", ""},
	{"", "limit target 10001 5m", ""},
	{"", "limit target 5 0m", ""},
	{"", "limit off\nlimit target 5 5m", ""},
	{"", "limit target 5 5m\nlimit off", ""},
	{"", "dispatcher", ""},
	{"", "dispatcher push", ""},
	{"", "dispatcher my/push fcm", ""},
	{"", "dispatcher \"\" link", ""},
	{"", "dispatcher p pigeon", ""},
	{"", "dispatcher l link https://app.example.com", ""},
	{"", "dispatcher q qr_code 300", ""},
	{"", "dispatcher p fcm /etc/firebase.json", ""},

	{"dispatcher", "base_url app.example.com/open", ""},
	{"dispatcher", "base_url javascript:alert(1)", ""},
	{"dispatcher", "base_url https://app.example.com/{oob.target}", ""},
	{"dispatcher", "short_links http://fido.example.com/oob", ""},
	{"dispatcher", "short_links https://fido.example.com", ""},
	{"dispatcher", "retries 0\nshort_links https://fido.example.com/nevisfido/oob", ""},
	{"dispatcher", "operations login", ""},
	{"dispatcher", "limit phone 5 5m", ""},
	{"dispatcher", "encryption maybe", ""},
	{"dispatcher", "address {oob.user.mial}", ""},
	{"dispatcher", "address {oob.token}", ""},
	{"dispatcher", "address a b", ""},
	{"dispatcher", "timeout 0", ""},
	{"dispatcher", "retries 11", ""},
	{"dispatcher", "operations registration registration", ""},
	{"dispatcher", "max_concurrent 0", ""},

	{"fcm", "credentials {\"type\":\"service_account\"}", ""},
	{"fcm", "credentials {credentials}", ""},
	{"fcm", "dry_run", "3"},
	{"fcm", push + "application_default", ""},
	{"fcm", push + "project my/bank", ""},
	{"fcm", push + "endpoint fcm.example.com", ""},
	{"fcm", push + "endpoint http://fcm.example.com", ""},
	{"fcm", push + "endpoint https://fcm.example.com/v1", ""},
	{"fcm", push + "proxy proxy.example.com:3128", ""},
	{"fcm", push + "ca `-----BEGIN CERTIFICATE-----`", ""},
	{"fcm", push + "client_cert /etc/cert.pem {key}", ""},
	{"fcm", push + "dry_run on", ""},
	{"fcm", push + "ttl 60", ""},
	{"fcm", push + "title {oob.title}", ""},
	{"fcm", push + "body {oob.token}", ""},
	{"fcm", push + "keep_unregistered off", ""},
	{"fcm", push + "short_links https://fido.example.com/oob", ""},
	{"fcm", "server_key abc", ""},
	{"fcm", "ttl 29d", ""},

	{"smtp", "server mail_1.example.com:587", ""},
	{"smtp", "server mail.example.com:smtp", ""},
	{"smtp", "from a@example.com", "3"},
	{"smtp", "server mail.example.com", "3"},
	{"smtp", mail + "tls on", ""},
	{"smtp", mail + "tls off", ""},
	{"smtp", mail + "auth login", ""},
	{"smtp", mail + "auth a {env.B}\nauth_type digest", ""},
	{"smtp", mail + "auth_type plain", ""},
	{"smtp", "from Bank", ""},
	{"smtp", "from Example Bank login@example.com", ""},
	{"smtp", "from bank@localhost", ""},
	{"smtp", mail + "subject {oob.subject}", ""},
	{"smtp", mail + "templates a b", ""},
	{"smtp", mail + "language {oob.lang} en", ""},
	{"smtp", mail + "language {oob.data.language}", ""},
	{"smtp", mail + "helo me@here", ""},
	{"smtp", mail + "connections 101", ""},
	{"smtp", mail + "proxy socks5://proxy.example.com", ""},
	{"smtp", mail + "ca {ca}", ""},
	{"smtp", mail + "client_cert /etc/cert.pem", ""},

	{"webhook", "method POST", "3"},
	{"webhook", "url sms.example.com", ""},
	{"webhook", "url http://sms.example.com", ""},
	{"webhook", "url https://{oob.data.host}/", ""},
	{"webhook", "url https://{env.HOST}/{webhook.nothing}", ""},
	{"webhook", sms + "method DELETE", ""},
	{"webhook", sms + "success_body (", ""},
	{"webhook", sms + "failure_body ERR delivered", ""},
	{"webhook", sms + "failure_body", ""},
	{"webhook", sms + "failure_body a refused b", ""},
	{"webhook", sms + "failure_body a delivered\nfailure_body b", "5"},
	{"webhook", sms + "success_body (\ngone 410", "5"},
	{"webhook", sms + "gone 302", ""},
	{"webhook", sms + "gone 410\nsuccess 2xx 410", "5"},
	{"webhook", sms + "method GET\nbody a", ""},
	{"webhook", sms + "header Host a", ""},
	{"webhook", sms + "header \"X Y\" a", ""},
	{"webhook", sms + "header X-Y {oob.y}", ""},
	{"webhook", sms + "header X-Y", ""},
	{"webhook", sms + "header X-Y a b", ""},
	{"webhook", sms + "header \"\" a", ""},
	{"webhook", sms + "header X-Y a\nheader X-Y b", ""},
	{"webhook", sms + "header Host a\nheader X-Y b", "5"},
	{"webhook", sms + "content_type json", ""},
	{"webhook", sms + "body {oob.z}", ""},
	{"webhook", sms + "body `{\"to\":{webhook.address}}`", ""},
	{"webhook", sms + "content_type text/plain", ""},
	{"webhook", sms + "text {oob.links}", ""},
	{"webhook", sms + "text a\nbody `{}`", "5"},
	{"webhook", sms + "sms_segments 0", ""},
	{"webhook", sms + "sms_segments 2", ""},
	{"webhook", sms + "secret whsec_short", ""},
	{"webhook", sms + "success 302", ""},
	{"webhook", sms + "proxy http://proxy.example.com/path", ""},
	{"webhook", sms + "ca a b", ""},
	{"webhook", sms + "client_cert a", ""},

	{"letter", "window left", "3"},
	{"letter", "spool {spool}", ""},
	{"letter", "spool /s\nmax_spool -1", ""},
	{"letter", "printer ipps://p.example.com\nmax_spool 5", ""},
	{"letter", "printer https://p.example.com", ""},
	{"letter", "printer ipp://p.example.com", ""},
	{"letter", "spool /s\ntemplates {t}", ""},
	{"letter", "spool /s\nlanguage ja", ""},
	{"letter", "spool /s\nlanguage", ""},
	{"letter", "spool /s\nmin_lifetime 3", ""},
	{"letter", "spool /s\nsender \"山田銀行\"", ""},
	{"letter", "spool /s\nsender " + strings.Repeat("W", 60), ""},
	{"letter", "spool /s\nsender " + strings.Repeat("x", 100), ""},
	{"letter", "spool /s\nwindow top", ""},
	{"letter", "spool /s\nproxy http://proxy.example.com", "3"},
	{"letter", "spool /s\nproxy proxy", ""},
	{"letter", "spool /s\nca {ca}", ""},
	{"letter", "spool /s\nclient_cert a", ""},

	{"web_push", "allow push.example.com", "3"},
	{"web_push", "vapid `{\"publicKey\":\"\"}`", ""},
	{"web_push", "vapid /v\nallow https://push.example.com/", ""},
	{"web_push", "vapid /v\nproxy proxy", ""},
	{"web_push", "vapid /v\nca {ca}", ""},
	{"web_push", "vapid /v\nclient_cert a", ""},

	{"fallback", "try push", "3"},
	{"fallback", "try d", "3"},
	{"fallback", "try", ""},
	{"fallback", "on expired", "3"},
	{"fallback", "try link link", ""},
	{"fallback", "try link\ntry link", ""},
	{"fallback", "try link\non delivered", ""},
	{"fallback", "try link\non expired expired", ""},
	{"fallback", "try link\nretries 3", ""},
	{"fallback", "try link\nencryption off", ""},
	{"fallback", "try link\non failure", ""},

	{"fan_out", "to push", "3"},
	{"fan_out", "succeed any", "3"},
	{"fan_out", "to link\nsucceed most", ""},

	{"qr_code", "level X", ""},
	{"qr_code", "colors \"black\" \"white\"", ""},
	{"qr_code", "colour red", ""},
	{"qr_code", "size 63", ""},
	{"qr_code", "size 1025", ""},
	{"qr_code", "colors #000000 #ffffff", ""},
	{"qr_code", "colors \"#000000\"", ""},
	{"qr_code", "colors black white", ""},
	{"qr_code", "colors \"#000000\" \"#111111\"", ""},

	{"link", "size 300", ""},
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

// advice is what tells the reader of an error what to write instead.
var advice = regexp.MustCompile(`takes?|such as|see the option|there (is|are)|remove|leave|use |write|configure|must |choose|put |quote|make one|needs|needed|it has none|its options|belong|per target|with sentinel|can be|may be|cannot|not configured|a status is|escaped for|scheme|no dot|alike|means|name |shorten|is missing`)

// A value that cannot be is found before anything is loaded. The error names the
// option, its line, and what to write instead.
func TestRefusedValues(t *testing.T) {
	for _, r := range refusedValues {
		t.Run(r.kind+" "+r.options, func(t *testing.T) {
			text, line := r.caddyfile()
			var options []string
			for option := range strings.SplitSeq(r.options, "\n") {
				option, _, _ = strings.Cut(option, " ")
				options = append(options, regexp.QuoteMeta(option))
			}
			wantRefused(t, text, line, regexp.MustCompile(`\b(`+strings.Join(append(options, r.kind, `dispatcher "d"`), "|")+`)`))
		})
	}
	for name, tc := range map[string]struct{ text, line, want string }{
		"no block":        {":8881 {\n\toob_dispatch\n}", "2", "dispatcher"},
		"no dispatcher":   {inSite("visual_code 4"), "2", "dispatcher"},
		"argument":        {":8881 {\n\toob_dispatch * push {\n\t}\n}", "2", "oob_dispatch"},
		"name too long":   {inSite("dispatcher " + strings.Repeat("a", 65) + " link"), "3", "a name has 1 to 64 letters"},
		"two of one name": {inSite(oneLink + oneLink), "5", `dispatcher "link": it is configured twice`},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, tc.text, tc.line, regexp.MustCompile(regexp.QuoteMeta(tc.want))) })
	}
}

func wantRefused(t *testing.T, text, line string, option *regexp.Regexp) {
	t.Helper()
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err == nil {
		t.Fatalf("adapted:\n%s", text)
	}
	for _, want := range []*regexp.Regexp{option, advice, regexp.MustCompile(`Caddyfile:` + line + `\b`)} {
		if !want.MatchString(err.Error()) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	if n := strings.Count(err.Error(), "Caddyfile:"); n != 1 {
		t.Errorf("%v\nnames %d lines", err, n)
	}
}

// What only a file or the environment tells is not a matter of the Caddyfile, and
// the defaults of a type do not show in what it adapts to.
func TestPlaceholdersAdaptUnresolved(t *testing.T) {
	const missing = "{env.OOB_TEST_UNSET}"
	for _, tc := range []struct{ kind, options string }{
		{"link", "base_url " + missing + "\nshort_links https://" + missing + "/oob"},
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
	writeFile(t, records, "")
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
