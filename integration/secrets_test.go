package integration

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// sinks returns everything that an operator or another user of the machine
// might read: all logs at DEBUG, the metrics, the configuration.
func (s *stack) sinks() map[string]string {
	s.t.Helper()
	sinks := map[string]string{"log": logged.text()}
	for name, path := range map[string]string{"metrics": "/metrics", "configuration": "/config/"} {
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+adminAddress()+path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		answer, err := s.exchange(r)
		if err != nil || answer.status != http.StatusOK || len(answer.body) == 0 {
			s.t.Fatalf("%s: %v, %s", path, err, answer)
		}
		sinks[name] = string(answer.body)
	}
	return sinks
}

// stored returns all files of the storage.
func (s *stack) stored() map[string]string {
	s.t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(s.storage, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// spellings returns the ways in which a secret may be written.
func spellings(secret string) []string {
	return []string{
		secret,
		base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret)),
		hex.EncodeToString([]byte(secret)),
		url.QueryEscape(secret),
		url.PathEscape(secret),
		strings.Trim(fmt.Sprintf("%q", secret), `"`),
	}
}

func (s *stack) search(sinks map[string]string, secrets map[string]string) {
	s.t.Helper()
	for kind, secret := range secrets {
		if len(secret) < 8 {
			s.t.Errorf("%s, %q, is too short to be searched for", kind, secret)
		}
		for sink, text := range sinks {
			for _, spelling := range spellings(secret) {
				if i := strings.Index(text, spelling); i >= 0 {
					s.t.Errorf("%s stands in the %s: …%.300s", kind, sink, text[max(0, i-200):])
					break
				}
			}
		}
	}
}

// wantNowhere checks that secrets are neither shown nor stored.
func (s *stack) wantNowhere(secrets map[string]string) {
	s.t.Helper()
	s.search(s.sinks(), secrets)
	s.search(s.stored(), secrets)
}

// logFormats returns how Caddyfile.example formats the log of its sites, and
// the default log, which gets everything else, such as errors; "" where it
// leaves that to Caddy.
func logFormats(t *testing.T) (site, other string) {
	t.Helper()
	content, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	example := string(content)
	snippet := regexp.MustCompile(`(?ms)^\((\w+)\) \{\n(.*?)^\}\n`)
	for _, m := range snippet.FindAllStringSubmatch(example, -1) {
		example = strings.ReplaceAll(strings.Replace(example, m[0], "", 1), "import "+m[1]+"\n", strings.ReplaceAll(m[2], "\t", "\t\t"))
	}
	global, sites, _ := strings.Cut(example, "\n}\n")
	inLog := regexp.MustCompile(`(?ms)^\tlog \{\n(.*?)^\t\}\n`)
	if m := inLog.FindStringSubmatch(sites); m != nil {
		site = m[1]
	}
	if m := inLog.FindStringSubmatch(global + "\n"); m != nil {
		other = m[1]
	}
	if site == "" {
		t.Fatal("the sites of Caddyfile.example have no log")
	}
	return site, other
}

// Nothing secret stands in any log line, metric or configuration, however
// things go, if logs are set up as in Caddyfile.example.
func TestSecretsStayOut(t *testing.T) {
	const (
		authorization = "Basic amVmZjpjYW5hcnktYXV0aG9yaXphdGlvbg=="
		secToken      = "canary-sec-token-4711"
		xToken        = "canary-x-token-4711"
		cookie        = "canary-cookie-4711"
		username      = "canary.user.4711"
		text          = "Canary payment of 4711"
	)
	site, other := logFormats(t)
	s := start(t, options{
		logs: other, accessLog: logAccess(site), push: "retries 0",
		nevis: nevis.Options{Mode: nevis.LTS21, Authorization: authorization, Users: []string{username, "jeff"}},
	})
	secrets := map[string]string{
		"Authorization": "canary-authorization", "SecToken": secToken, "X-Token": xToken, "Cookie": cookie, "the transaction": text,
	}
	header := http.Header{"Authorization": {authorization}, "SecToken": {secToken}, "X-Token": {xToken}, "Cookie": {"s=" + cookie}}
	p := s.registerAs(device.Options{Username: username, Header: header, KeyKind: "RSA-2048"}, device.Registration{})
	in := s.registerAs(device.Options{Username: username, Header: header}, device.Registration{Way: device.InRegistration})
	secrets["a push token"], secrets["another push token"] = p.pushToken, in.pushToken

	send := func(method, path, body string, more ...string) reply {
		return s.send(method, path, body, append([]string{
			"Authorization", authorization, "SecToken", secToken, "X-Token", xToken, "Cookie", "s=" + cookie,
			"Device-Signature", "canary-device.canary-signature.4711",
		}, more...)...)
	}
	secrets["Device-Signature"] = "canary-device.canary-signature.4711"
	note := func(kind string, r reply) {
		if m := regexp.MustCompile(`"token":"([\w-]{8,})"`).FindSubmatch(r.body); m != nil {
			secrets["the token of "+kind] = string(m[1])
		}
		if m := regexp.MustCompile(`dispatchTokenResponse=([\w-]+)`).FindSubmatch(r.body); m != nil {
			secrets["the message of "+kind] = string(m[1])[:60]
		}
	}
	ask := func(kind, channel, target string) {
		body := strings.Replace(request("authentication", channel, target), "Confirm payment 4711", text, 1)
		note(kind, send(http.MethodPost, authentication, strings.Replace(body, "jeff", username, 1), "Content-Type", jsonType))
	}
	for _, channel := range append(channels, "link", "unknown", "") {
		ask(channel, channel, p.TargetID())
	}
	for name, strike := range map[string]fault.Fault{
		"unregistered": google.Unregistered, "refused": google.InvalidArgument, "broken": fault.HTML(200), "reset": fault.Reset, "down": google.Unavailable(""),
	} {
		s.google.ScriptFor(in.pushToken, strike)
		ask(name, "push", in.TargetID())
	}
	for _, tt := range badAnswers {
		s.nevis.Script(tt.fault)
		r, err := s.try(http.MethodPost, authentication+"?username="+username, request("authentication", "push", p.TargetID()),
			"Content-Type", jsonType, "Authorization", authorization, "SecToken", secToken, "X-Token", xToken, "Cookie", "s="+cookie)
		if err == nil {
			note(tt.name, r)
		}
	}
	send(http.MethodGet, "/nevisfido/token/dispatch/targets?username="+username, "")
	send(http.MethodPost, authentication, `{"dispatcher":"`+secToken+`"`, "Content-Type", jsonType)
	send(http.MethodPost, "/nevisfido/token/dispatch/./authentication", secToken)
	if err := p.Modify(t.Context(), device.Change{NewKey: "P-256"}); err != nil {
		t.Fatal(err)
	}
	ask("the last", "push", p.TargetID())
	pushed := s.google.Unread(p.pushToken)
	for i, m := range pushed {
		secrets[fmt.Sprintf("the JWE of push message %d", i)] = m.Data["nma_data"][200:260]
	}
	for _, r := range s.google.Requests() {
		if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			secrets["Google's access token"] = bearer
		}
		if assertion := regexp.MustCompile(`assertion=([^&]{60})`).FindSubmatch(r.Body); assertion != nil {
			secrets["the assertion"] = string(assertion[1])
		}
	}
	if m := regexp.MustCompile(`-----\\n([^\\]{40})`).FindSubmatch(s.google.ServiceAccountJSON()); m != nil {
		secrets["the service account's key"] = string(m[1])
	}
	for _, kind := range []string{"Google's access token", "the assertion", "the service account's key", "the JWE of push message 0", "the token of push", "the message of app-link"} {
		if secrets[kind] == "" {
			t.Errorf("the test does not know %s", kind)
		}
	}
	s.search(s.sinks(), secrets)
	if got := len(logged.lines(`"uri":"`)); got == 0 || strings.Contains(logged.text(), "username="+username) {
		t.Errorf("a user name stands in the query of one of %d logged requests", got)
	}
}
