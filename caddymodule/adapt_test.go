package caddymodule

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddytest"

	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/fcm"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/link"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/qrcode"
)

// The files hold a Caddyfile, a line of dashes, and the JSON that it stands for.
func TestCaddyfileAdaptsToJSON(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(content), "----------\n")
			if !caddytest.CompareAdapt(t, file, input, "caddyfile", strings.TrimSpace(want)) {
				t.Error("the JSON is another one")
			}
		})
	}
}

// adapt returns the JSON of a Caddyfile.
func adapt(t *testing.T, text string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, text)
	}
	return config
}

func inSite(options string) string {
	return ":8881 {\n\toob_dispatch {\n" + options + "\n\t}\n}\n"
}

func inDispatcher(kind, options string) string {
	return inSite("\t\tdispatcher d " + kind + " {\n" + options + "\n\t\t}")
}

const oneLink = "\n\t\tdispatcher link link"

// Each refusal tells the place, and what to write instead.
func TestCaddyfileRefusals(t *testing.T) {
	fcm := func(options string) string { return inDispatcher("fcm", options) }
	tests := []struct {
		name, caddyfile string
		line            string
		want            string
	}{
		{"no block", ":8881 {\n\toob_dispatch\n}", "2", "has no dispatcher: add one, such as: dispatcher app-link link"},
		{"no dispatcher", inSite("\t\tvisual_code 4"), "4", "has no dispatcher: add one, such as: dispatcher app-link link"},
		{"argument", ":8881 {\n\toob_dispatch * push {\n\t}\n}", "2", `unexpected argument "push": the options stand in a block`},
		{"unknown option", inSite("\t\tbase_pth /x"), "3", `unrecognized option "base_pth" of oob_dispatch`},
		{"option of a dispatcher", inSite("\t\tretries 2"), "3", `unrecognized option "retries" of oob_dispatch`},
		{"audit alone", inSite("\t\taudit"), "3", "audit takes file and a path, or log and a name, such as: audit file /"},
		{"audit without kind", inSite("\t\taudit /var/log/audit"), "3", "audit takes file and a path, or log and a name"},
		{"audit kind", inSite("\t\taudit syslog a"), "3", "audit takes file and a path, or log and a name"},
		{"audit file empty", inSite("\t\taudit file \"\""), "3", "audit takes file and a path, or log and a name"},
		{"audit superfluous", inSite("\t\taudit file a b"), "3", "audit takes file and a path, or log and a name"},
		{"audit twice", inSite("\t\taudit file a\n\t\taudit log b"), "4", "option audit is given twice"},
		{"other letter case", inSite("\t\tDispatcher link link"), "3", `unrecognized option "Dispatcher" of oob_dispatch`},

		{"on_expired without a type", inSite("\t\ton_expired"), "3", "on_expired takes a type of dispatcher"},
		{"on_expired twice", inSite("\t\ton_expired webhook {\n\t\t\turl https://a.example\n\t\t}\n\t\ton_expired webhook {\n\t\t\turl https://a.example\n\t\t}"), "6", "option on_expired is given twice"},

		{"base_path missing", inSite("\t\tbase_path"), "3", "base_path takes a value"},
		{"base_path empty", inSite("\t\tbase_path \"\""), "3", "base_path takes a value"},
		{"base_path superfluous", inSite("\t\tbase_path /a /b"), "3", "base_path takes one value"},
		{"base_path twice", inSite("\t\tbase_path /a\n\t\tbase_path /a"), "4", "option base_path is given twice"},
		{"namespace superfluous", inSite("\t\tnamespace a b"), "3", "namespace takes one value"},
		{"upstream_dispatcher missing", inSite("\t\tupstream_dispatcher"), "3", "upstream_dispatcher takes a value"},
		{"redeem_url superfluous", inSite("\t\tredeem_url https://a b"), "3", "redeem_url takes one value"},

		{"token_lifetime alone", inSite("\t\ttoken_lifetime 2m"), "3", "such as: token_lifetime authentication 2m"},
		{"token_lifetime superfluous", inSite("\t\ttoken_lifetime authentication 2m 3m"), "3", "such as: token_lifetime authentication 2m"},
		{"token_lifetime operation", inSite("\t\ttoken_lifetime login 2m"), "3", `there is no operation "login": name registration, authentication or deregistration`},
		{"token_lifetime duration", inSite("\t\ttoken_lifetime authentication soon"), "3", `"soon" is not a duration longer than zero`},
		{"token_lifetime zero", inSite("\t\ttoken_lifetime authentication 0s"), "3", `"0s" is not a duration longer than zero`},
		{"token_lifetime twice", inSite("\t\ttoken_lifetime authentication 2m\n\t\ttoken_lifetime authentication 2m"), "4", "token_lifetime authentication is set twice"},

		{"deadline without unit", inSite("\t\tdeadline 8"), "3", `"8" is not a duration longer than zero`},
		{"deadline negative", inSite("\t\tdeadline -1s"), "3", `"-1s" is not a duration longer than zero`},
		{"deadline twice", inSite("\t\tdeadline 8s\n\t\tdeadline 8s"), "4", "option deadline is given twice"},
		{"upstream_timeout zero", inSite("\t\tupstream_timeout 0s"), "3", `upstream_timeout: "0s" is not a duration longer than zero`},
		{"upstream_timeout twice", inSite("\t\tupstream_timeout 8s\n\t\tupstream_timeout 8s"), "4", "option upstream_timeout is given twice"},
		{"max_body no size", inSite("\t\tmax_body much"), "3", `"much" is not a size from 1KiB to 512KiB`},
		{"max_body too large", inSite("\t\tmax_body 1GiB"), "3", `"1GiB" is not a size from 1KiB to 512KiB`},
		{"max_body too small", inSite("\t\tmax_body 100"), "3", `"100" is not a size from 1KiB to 512KiB`},
		{"visual_code too long", inSite("\t\tvisual_code 9"), "3", `visual_code "9" is not a whole number from 2 to 8`},
		{"visual_code zero", inSite("\t\tvisual_code 0"), "3", `visual_code "0" is not a whole number from 2 to 8`},
		{"visual_code word", inSite("\t\tvisual_code on"), "3", `visual_code "on" is not a whole number`},

		{"store missing", inSite("\t\tstore"), "3", "store takes a type, such as: store caddy"},
		{"store unknown", inSite("\t\tstore etcd"), "3", `there is no type "etcd" of oob.stores in this build; there are: caddy`},
		{"store superfluous", inSite("\t\tstore caddy caddy"), "3", "superfluous argument"},
		{"store option", inSite("\t\tstore caddy {\n\t\t\tpath /x\n\t\t}"), "4", "unrecognized option \"path\" of caddy"},
		{"store twice", inSite("\t\tstore caddy\n\t\tstore caddy"), "4", "option store is given twice"},

		{"limit alone", inSite("\t\tlimit"), "3", "such as: limit target 5 5m; or the word off"},
		{"limit short", inSite("\t\tlimit target 5"), "3", "such as: limit target 5 5m; or the word off"},
		{"limit superfluous", inSite("\t\tlimit target 5 5m x"), "3", "such as: limit target 5 5m; or the word off"},
		{"limit scope", inSite("\t\tlimit phone 5 5m"), "3", `limit "phone": it counts per target, user or client`},
		{"limit number", inSite("\t\tlimit target five 5m"), "3", `"five" is not a number`},
		{"limit zero", inSite("\t\tlimit target 0 5m"), "3", "the number has to be between 1 and 10000"},
		{"limit too high", inSite("\t\tlimit target 10001 5m"), "3", "the number has to be between 1 and 10000"},
		{"limit window", inSite("\t\tlimit target 5 0m"), "3", `"0m" is not a duration longer than zero`},
		{"limit off and on", inSite("\t\tlimit off\n\t\tlimit target 5 5m"), "4", "limit off stands beside another limit"},
		{"limit on and off", inSite("\t\tlimit target 5 5m\n\t\tlimit off"), "4", "limit off stands beside another limit"},

		{"dispatcher alone", inSite("\t\tdispatcher"), "3", "such as: dispatcher push fcm"},
		{"dispatcher without type", inSite("\t\tdispatcher push"), "3", "such as: dispatcher push fcm"},
		{"dispatcher name", inSite("\t\tdispatcher my/push fcm"), "3", "a name has 1 to 64 letters, digits, dots, underscores or hyphens"},
		{"dispatcher name empty", inSite("\t\tdispatcher \"\" link"), "3", "a name has 1 to 64 letters"},
		{"dispatcher name long", inSite("\t\tdispatcher " + strings.Repeat("a", 65) + " link"), "3", "a name has 1 to 64 letters"},
		{"dispatcher twice", inSite(oneLink + oneLink), "5", `dispatcher "link" is configured twice: give each a name of its own`},
		{"dispatcher type", inSite("\t\tdispatcher p pigeon"), "3", `there is no type "pigeon" of oob.dispatchers in this build; there are:`},

		{"encryption value", inDispatcher("link", "\t\t\tencryption maybe"), "4", `encryption "maybe": it is required, preferred or off`},
		{"encryption twice", inDispatcher("link", "\t\t\tencryption off\n\t\t\tencryption off"), "5", "option encryption is given twice"},
		{"address placeholder", inDispatcher("link", "\t\t\taddress {oob.user.mial}"), "4", "unknown placeholder {oob.user.mial}; there are"},
		{"address token", inDispatcher("link", "\t\t\taddress {oob.token}"), "4", "unknown placeholder {oob.token}; there are"},
		{"address superfluous", inDispatcher("link", "\t\t\taddress a b"), "4", "address takes one value; quote it if it has spaces"},
		{"base_url missing", inDispatcher("link", "\t\t\tbase_url"), "4", "base_url takes a value"},
		{"timeout zero", inDispatcher("link", "\t\t\ttimeout 0"), "4", `"0" is not a duration longer than zero`},
		{"retries negative", inDispatcher("link", "\t\t\tretries -1"), "4", `retries "-1" is not a whole number from 0 to 10`},
		{"retries too many", inDispatcher("link", "\t\t\tretries 11"), "4", `retries "11" is not a whole number from 0 to 10`},
		{"retries half", inDispatcher("link", "\t\t\tretries 1.5"), "4", `retries "1.5" is not a whole number from 0 to 10`},
		{"operations none", inDispatcher("link", "\t\t\toperations"), "4", "operations takes registration, authentication or deregistration"},
		{"operations unknown", inDispatcher("link", "\t\t\toperations login"), "4", `there is no operation "login"`},
		{"operations repeated", inDispatcher("link", "\t\t\toperations registration registration"), "4", "operations: registration is named twice"},
		{"operations twice", inDispatcher("link", "\t\t\toperations registration\n\t\t\toperations authentication"), "5", "option operations is given twice"},
		{"dispatcher limit", inDispatcher("link", "\t\t\tlimit target"), "4", "such as: limit target 5 5m; or the word off"},
		{"max_concurrent zero", inDispatcher("link", "\t\t\tmax_concurrent 0"), "4", `max_concurrent "0" is not a whole number from 1 to`},

		{"link argument", inSite("\t\tdispatcher l link https://app.example.com"), "3", "link has a superfluous argument"},
		{"link option", inDispatcher("link", "\t\t\tsize 300"), "4", `unrecognized option "size" of link; it has none`},

		{"qr_code argument", inSite("\t\tdispatcher q qr_code 300"), "3", "qr_code has a superfluous argument"},
		{"qr_code option", inDispatcher("qr_code", "\t\t\tcolour red"), "4", `unrecognized option "colour" of qr_code`},
		{"size missing", inDispatcher("qr_code", "\t\t\tsize"), "4", "size takes one value"},
		{"size word", inDispatcher("qr_code", "\t\t\tsize big"), "4", "size takes a whole number from 64 to 1024"},
		{"size zero", inDispatcher("qr_code", "\t\t\tsize 0"), "4", "size takes a whole number from 64 to 1024"},
		{"size too small", inDispatcher("qr_code", "\t\t\tsize 63"), "4", "64"},
		{"size too large", inDispatcher("qr_code", "\t\t\tsize 1025"), "4", "1024"},
		{"size twice", inDispatcher("qr_code", "\t\t\tsize 300\n\t\t\tsize 300"), "5", "option size is given twice"},
		{"level unknown", inDispatcher("qr_code", "\t\t\tlevel X"), "4", "level"},
		{"level superfluous", inDispatcher("qr_code", "\t\t\tlevel L M"), "4", "level takes one value"},
		{"colors unquoted", inDispatcher("qr_code", "\t\t\tcolors #000000 #ffffff"), "4", `such as: colors "#047d82" "#ffffff"`},
		{"colors one", inDispatcher("qr_code", "\t\t\tcolors \"#000000\""), "4", `such as: colors "#047d82" "#ffffff"`},
		{"colors no color", inDispatcher("qr_code", "\t\t\tcolors black white"), "4", "color"},
		{"colors alike", inDispatcher("qr_code", "\t\t\tcolors \"#000000\" \"#111111\""), "4", "too much alike"},

		{"fcm argument", inSite("\t\tdispatcher p fcm /etc/firebase.json"), "3", "fcm has a superfluous argument"},
		{"fcm option", fcm("\t\t\tserver_key abc"), "4", `unrecognized option "server_key" of fcm`},
		{"credentials missing", fcm("\t\t\tcredentials"), "4", "credentials takes one value"},
		{"credentials superfluous", fcm("\t\t\tcredentials a b"), "4", "credentials takes one value"},
		{"credentials twice", fcm("\t\t\tcredentials a\n\t\t\tcredentials b"), "5", "option credentials is given twice"},
		{"application_default argument", fcm("\t\t\tapplication_default on"), "4", "application_default takes no value"},
		{"project superfluous", fcm("\t\t\tproject a b"), "4", "project takes one value"},
		{"endpoint missing", fcm("\t\t\tendpoint"), "4", "endpoint takes one value"},
		{"proxy missing", fcm("\t\t\tproxy"), "4", "proxy takes one value"},
		{"proxy twice", fcm("\t\t\tproxy http://a\n\t\t\tproxy http://b"), "5", "option proxy is given twice"},
		{"ca superfluous", fcm("\t\t\tca a b"), "4", "ca takes one value"},
		{"client_cert one", fcm("\t\t\tclient_cert a"), "4", "client_cert takes two"},
		{"dry_run argument", fcm("\t\t\tdry_run yes"), "4", "dry_run takes no value"},
		{"dry_run twice", fcm("\t\t\tdry_run\n\t\t\tdry_run"), "5", "option dry_run is given twice"},
		{"ttl zero", fcm("\t\t\tttl 0s"), "4", "ttl takes a duration longer than zero"},
		{"ttl too long", fcm("\t\t\tttl 29d"), "4", "ttl takes a duration of at most"},
		{"title unquoted", fcm("\t\t\ttitle Confirm payment"), "4", "title takes one value"},
		{"keep_unregistered argument", fcm("\t\t\tkeep_unregistered off"), "4", "keep_unregistered takes no value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(tt.caddyfile), map[string]any{"filename": "Caddyfile"})
			if err == nil {
				t.Fatalf("adapted:\n%s", tt.caddyfile)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
			if place := regexp.MustCompile(`Caddyfile:` + tt.line + `\b`); !place.MatchString(err.Error()) {
				t.Errorf("%v\ndoes not name line %s", err, tt.line)
			}
		})
	}
}

// A proxy's URL may hold a password, which no error shows.
func TestRefusalsQuoteNoSecrets(t *testing.T) {
	for _, line := range []string{"proxy http://user:hunter2@proxy extra", "client_cert /a/hunter2", "credentials hunter2 hunter2"} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(inDispatcher("fcm", line)), nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", line, err)
		}
	}
}
