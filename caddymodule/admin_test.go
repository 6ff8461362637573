package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// adminSite is a site whose admin endpoint is a unix socket.
type adminSite struct {
	*site
	admin *http.Client
	audit string
}

const adminOptions = `		dispatcher open link {
			base_url https://a.example/open
		}
		dispatcher paper letter {
			spool %[1]s
			sender "Bank | Main Street 1"
			address {http.request.header.X-User-Address}
			min_lifetime 1m
			limit target 2 1d
			base_url https://a.example/open
		}
		dispatcher either fallback {
			try paper open
			on refused temporary broken no_target no_key
		}
		audit file %[1]s/audit.jsonl
%[2]s`

func startAdminSite(t *testing.T, more string) *adminSite {
	t.Helper()
	dir := testservice.Folder(t)
	s := &adminSite{site: startSite(t, fmt.Sprintf(adminOptions, dir, more)), audit: filepath.Join(dir, "audit.jsonl")}
	socket := filepath.Join(dir, "admin.sock")
	off := []byte(`"disabled":true`)
	if !bytes.Contains(s.config, off) {
		t.Fatalf("the configuration does not switch the admin endpoint off: %s", s.config)
	}
	s.config = bytes.Replace(s.config, off, []byte(`"listen":"unix/`+socket+`"`), 1)
	s.load(s.config)
	s.admin = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	return s
}

// ask makes a request of the admin API.
func (s *adminSite) ask(method, path, body string) (status int, answer string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := s.admin.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func (s *adminSite) want(status int, words, method, path, body string) {
	s.t.Helper()
	got, answer := s.ask(method, path, body)
	if got != status || !strings.Contains(answer, words) {
		s.t.Errorf("%s %s: %d %s, want %d with %q", method, path, got, answer, status, words)
	}
	if got >= 400 {
		var e struct{ Error string }
		if err := json.Unmarshal([]byte(answer), &e); err != nil || e.Error == "" {
			s.t.Errorf("%s %s: the error is %s", method, path, answer)
		}
	}
}

const secretAddress = "push-token-secret"

// targetLine is a record for an import.
func targetLine(t *testing.T, namespace, id string) (line, thumbprint string) {
	t.Helper()
	private, err := devicekey.GenerateKey("P-256")
	if err != nil {
		t.Fatal(err)
	}
	key, moment := private.Public(), time.Now().Add(-time.Hour).UTC()
	record := &targets.Target{
		Namespace: namespace, ID: id, Username: "jeff", DeviceID: "device-1", Address: secretAddress, Dispatcher: "fcm",
		EncryptionKey: key.JWK(), Thumbprint: key.Thumbprint(), Source: targets.SourceCreate, Created: moment, Updated: moment,
	}
	data, err := targets.Encode(record, record.Ref())
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n", key.Thumbprint()
}

func (s *adminSite) send(body string) operate.Outcome {
	s.t.Helper()
	status, answer := s.ask(http.MethodPost, "/oob/send", body)
	var r operate.Outcome
	if err := json.Unmarshal([]byte(answer), &r); status != http.StatusOK || err != nil {
		s.t.Fatalf("%s: %d %s", body, status, answer)
	}
	return r
}

// waitForAudit waits for a line of the trail.
func (s *adminSite) waitForAudit(words ...string) {
	s.t.Helper()
	var text []byte
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		text, _ = os.ReadFile(s.audit)
	lines:
		for line := range strings.Lines(string(text)) {
			for _, word := range words {
				if !strings.Contains(line, word) {
					continue lines
				}
			}
			return
		}
	}
	s.t.Errorf("no audit line has %q:\n%s", words, text)
}

func TestAdminOfTargets(t *testing.T) {
	s := startAdminSite(t, "")
	line, thumbprint := targetLine(t, "", "one")
	s.want(http.StatusOK, `"added":1`, http.MethodPost, "/oob/targets/import?dry_run", line)
	s.want(http.StatusNotFound, "no such target", http.MethodGet, "/oob/targets/one", "")
	s.want(http.StatusOK, `"added":1`, http.MethodPost, "/oob/targets/import", line)
	s.waitForAudit(`"learned"`, `"source":"import"`, thumbprint)
	s.want(http.StatusOK, `"unchanged":1`, http.MethodPost, "/oob/targets/import", line)
	s.want(http.StatusOK, `"refused":{"not_json"`, http.MethodPost, "/oob/targets/import", "nonsense\n")
	s.want(http.StatusBadRequest, "line 1", http.MethodPost, "/oob/targets/import?strict", "nonsense\n")
	s.want(http.StatusBadRequest, "newer, never or always", http.MethodPost, "/oob/targets/import?overwrite=maybe", line)

	_, shown := s.ask(http.MethodGet, "/oob/targets/one", "")
	if !strings.Contains(shown, thumbprint) || !strings.Contains(shown, `"state":"active"`) || strings.Contains(shown, secretAddress) || strings.Contains(shown, `"kty"`) {
		t.Errorf("the target is shown as %s", shown)
	}

	s.want(http.StatusOK, `{"changed":true}`, http.MethodPost, "/oob/targets/one/block", "")
	s.want(http.StatusOK, `{"changed":false}`, http.MethodPost, "/oob/targets/one/block", "")
	s.want(http.StatusOK, `"state":"blocked"`, http.MethodGet, "/oob/targets/one", "")
	s.waitForAudit(`"event":"blocked"`, `"source":"operator"`, thumbprint)
	refused := s.do(http.MethodPost, "/nevisfido/token/dispatch/authentication", `{"dispatcher":"open","dispatchTargetId":"one"}`)
	if !strings.Contains(refused, `"dispatchError"`) || strings.Contains(refused, "block") {
		t.Errorf("the caller is told %s", refused)
	}
	s.want(http.StatusOK, `"unchanged":1`, http.MethodPost, "/oob/targets/import?overwrite=always", s.exported("one"))
	s.want(http.StatusOK, `"state":"blocked"`, http.MethodGet, "/oob/targets/one", "")
	s.want(http.StatusOK, `{"changed":true}`, http.MethodPost, "/oob/targets/one/unblock", "")
	s.waitForAudit(`"event":"unblocked"`)
	for _, path := range []string{"/oob/targets/nobody/block", "/oob/targets/nobody/unblock"} {
		s.want(http.StatusNotFound, "no such target", http.MethodPost, path, "")
	}
	s.want(http.StatusNotFound, "no such target", http.MethodDelete, "/oob/targets/nobody", "")
	line, thumbprint = targetLine(t, "", "one")
	s.want(http.StatusOK, `"replaced":1`, http.MethodPost, "/oob/targets/import?overwrite=always", line)
	s.waitForAudit(`"key_changed"`, `"source":"import"`, thumbprint)
	s.want(http.StatusNoContent, "", http.MethodDelete, "/oob/targets/one", "")
	s.waitForAudit(`"event":"forgotten"`, `"source":"operator"`)
	s.want(http.StatusNotFound, "no such target", http.MethodGet, "/oob/targets/one", "")
}

// exported is a record as an export writes it.
func (s *adminSite) exported(id string) string {
	s.t.Helper()
	h := handlersOf(runningRegistry())[0]
	record, err := h.exchange.Targets.Known(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := targets.Encode(record, record.Ref())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data) + "\n"
}

func TestAdminSend(t *testing.T) {
	s := startAdminSite(t, "")
	line, thumbprint := targetLine(t, "", "one")
	s.want(http.StatusOK, `"added":1`, http.MethodPost, "/oob/targets/import", line)
	counted := func() (lines []string) {
		for line := range strings.Lines(s.do(http.MethodGet, "/metrics", "")) {
			ofDispatches := strings.HasPrefix(line, "caddy_oob_dispatches_total") || strings.HasPrefix(line, "caddy_oob_delivery_attempts_total")
			if ofDispatches && !strings.HasSuffix(line, " 0\n") { // those with 0 come some time after the start
				lines = append(lines, line)
			}
		}
		return lines
	}
	before := counted()
	r := s.send(`{"dispatcher":"open","target":"one"}`)
	if r.Class != "delivered" || r.Delivered != "open" || r.Result != "dispatched" || r.Encryption != "sealed" || r.Thumbprint != thumbprint || len(r.Attempts) != 1 || !r.Attempts[0].Made || r.Token == "" {
		t.Errorf("over a link: %+v", r)
	}
	s.waitForAudit(`"event":"dispatch"`, `"test":true`, r.Token, r.Target)

	// The address comes from a header, and the letter is paper in the spool.
	r = s.send(`{"dispatcher":"either","target":"one","header":{"x-user-address":["Jeff | Main Street 2 | 8000 Zurich"]}}`)
	if r.Delivered != "paper" || len(r.Attempts) != 1 {
		t.Errorf("with an address: %+v", r)
	}
	if r = s.send(`{"dispatcher":"paper","target":"one"}`); r.Class != "no_target" || r.Result != "dispatchTargetNotFound" || r.Cause == "" {
		t.Errorf("without an address: %+v", r)
	}
	// A test counts against limits.
	r = s.send(`{"dispatcher":"either","target":"one","header":{"X-User-Address":["Jeff | Main Street 2 | 8000 Zurich"]}}`)
	if r.Delivered != "open" || len(r.Attempts) != 2 || r.Attempts[0].Reason != "limited" || r.Attempts[0].Made || len(r.Fallbacks) != 1 || r.Fallbacks[0].To != "open" {
		t.Errorf("a second letter: %+v", r)
	}
	s.want(http.StatusOK, "", http.MethodPost, "/oob/targets/one/block", "")
	if r = s.send(`{"dispatcher":"either","target":"one"}`); r.Class != "refused" || r.Reason != "blocked" || r.Result != "dispatchError" {
		t.Errorf("to a blocked target: %+v", r)
	}
	_, listed := s.ask(http.MethodGet, "/oob/dispatchers", "")
	for _, words := range []string{`"name":"open","type":"link","last_success"`, `"name":"either","type":"fallback"}`, `"base_path":"/nevisfido"`} {
		if !strings.Contains(listed, words) {
			t.Errorf("the dispatchers are %s, without %s", listed, words)
		}
	}
	if after := counted(); !slices.Equal(before, after) {
		t.Errorf("tests are counted: %q, before %q", after, before)
	}

	for body, words := range map[string]string{
		`{"dispatcher":"pigeon","target":"one"}`:                       `there is no dispatcher \"pigeon\"; there are open, paper, either`,
		`{"dispatcher":"open","target":"nobody"}`:                      "no such target",
		`{"dispatcher":"open"}`:                                        "must not be empty",
		`{"dispatcher":"open","target":"one","operation":"pay"}`:       `there is no operation`,
		`{"dispatcher":"open","target":"one","colour":"blue"}`:         "it is not, or has other members",
		`{"dispatcher":"open","target":"one"} x`:                       "it is not",
		``:                                                             "it is not",
		`{"dispatcher":"open","target":"` + strings.Repeat("x", 1<<17): "more than 64 KiB",
	} {
		status := http.StatusBadRequest
		if strings.Contains(words, "no such") || strings.Contains(words, "pigeon") {
			status = http.StatusNotFound
		}
		s.want(status, words, http.MethodPost, "/oob/send", body)
	}
}

func TestAdminAnswers(t *testing.T) {
	s := startAdminSite(t, "")
	s.want(http.StatusOK, `"ready":true`, http.MethodGet, "/oob/health", "")
	s.want(http.StatusNotFound, "docs/admin.md", http.MethodGet, "/oob/nonsense", "")
	s.want(http.StatusMethodNotAllowed, "use POST", http.MethodGet, "/oob/send", "")
	s.want(http.StatusMethodNotAllowed, "use DELETE, GET", http.MethodPut, "/oob/targets/one", "")
	s.want(http.StatusBadRequest, `there are namespace \"\" with base_path /nevisfido`, http.MethodGet, "/oob/targets/one?namespace=x", "")
	if _, listed := s.ask(http.MethodGet, "/oob/dispatchers?namespace=x", ""); listed != `{"oob_dispatch":[]}`+"\n" {
		t.Errorf("dispatchers of another namespace: %s", listed)
	}
	two := bytes.Replace(s.config, []byte(`{"audit":`), []byte(`{"namespace":"other","base_path":"/other","dispatchers":[],"handler":"oob_dispatch"},{"audit":`), 1)
	if bytes.Equal(two, s.config) {
		t.Fatalf("no handler begins with audit: %s", two)
	}
	s.load(two)
	s.want(http.StatusBadRequest, "choose one with namespace or base_path", http.MethodGet, "/oob/targets/one", "")
	line, _ := targetLine(t, "other", "one")
	s.want(http.StatusOK, `"added":1`, http.MethodPost, "/oob/targets/import?base_path=/other", line)
	s.want(http.StatusOK, `"namespace":"other"`, http.MethodGet, "/oob/targets/one?namespace=other", "")
	s.want(http.StatusNotFound, "no such target", http.MethodGet, "/oob/targets/one?namespace=", "")
	s.want(http.StatusBadRequest, "choose one", http.MethodPost, "/oob/send", `{"dispatcher":"open","target":"one"}`)
}

// FuzzTestCall reads the body of POST /oob/send. A test that is read is complete; an
// error quotes nothing; too long a body is not read to its end.
func FuzzTestCall(f *testing.F) {
	const secret = "Zx7Q-canary"
	for _, body := range []string{
		`{"dispatcher":"sms","target":"one","operation":"registration","header":{"X-User-Mobile":["` + secret + `"]}}`, `{"dispatcher":"sms","target":"one"}`,
		`{"dispatcher":"` + secret + `","target":""}`, `{"dispatcher":"a","target":"b","` + secret + `":1}`, `{"dispatcher":"a","dispatcher":"b"}`, `{"Dispatcher":"a","target":"b","operation":"Authentication"}`, `null`, `{} {}`, "",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/oob/send", bytes.NewReader(body))
		test, err := readTest(httptest.NewRecorder(), r)
		if err != nil {
			if strings.Contains(err.Error(), secret) && !strings.Contains(string(test.Operation), secret) {
				t.Errorf("the error quotes the body: %v", err)
			}
			return
		}
		if test.Dispatcher == "" || test.Target == "" || !slices.Contains(nevisfido.Operations(), test.Operation) || len(body) > maxTest {
			t.Errorf("%+v is read of %q", test, body)
		}
	})
}
