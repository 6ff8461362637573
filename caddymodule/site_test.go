package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// site is a running Caddy with the handler, in front of a simulated nevisFIDO.
type site struct {
	t       *testing.T
	address string
	config  []byte
	client  *http.Client
	nevis   *nevis.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	return &site{t: t, address: testservice.FreeAddress(t), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// startSite runs Caddy with the handler's options. It is stopped at the end of
// the test.
func startSite(t *testing.T, options string) *site {
	t.Helper()
	upstream, err := nevis.Start(nevis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.nevis = upstream
	s.config = adapt(t, fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 1s
	storage file_system %s
	log {
		output discard
	}
}
http://%s {
	metrics /metrics
	oob_dispatch {
%s
	}
	reverse_proxy %s {
		transport http {
			keepalive off
		}
	}
}
`, testservice.Folder(t), s.address, options, upstream.Addr()))
	t.Cleanup(s.stop)
	s.load(s.config)
	return s
}

// load has Caddy run a configuration until the end of the test.
func load(t *testing.T, config []byte) {
	t.Helper()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
}

// loadSite runs a site of a Caddyfile, and returns the file of its log.
func loadSite(t *testing.T, site string) (log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	load(t, adapt(t, loggingTo(t, log, "{\n}\nhttp://127.0.0.1:0 {\n"+site+"}\n")))
	return log
}

func (s *site) load(config []byte) {
	s.t.Helper()
	if err := caddy.Load(config, true); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) stop() {
	if err := caddy.Stop(); err != nil {
		s.t.Error(err)
	}
	s.nevis.Close()
}

func (s *site) do(method, path, body string) string {
	s.t.Helper()
	var err error
	for range 20 {
		// Connections that wait to be accepted are dropped on a reload.
		var content string
		if content, err = s.try(method, path, body); err == nil {
			return content
		}
	}
	s.t.Fatal(err)
	return ""
}

func (s *site) try(method, path, body string) (string, error) {
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := s.client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return string(content), err
}

const dispatchPath = "/nevisfido/token/dispatch/authentication"

func dispatchRequest(dispatcher, username string) string {
	return fmt.Sprintf(`{"dispatcher":%q,"getUafRequest":{"op":"Auth","context":"{\"username\":\"%s\"}"}}`, dispatcher, username)
}

// dispatch returns the dispatchResult.
func (s *site) dispatch(dispatcher, username string) string {
	s.t.Helper()
	var answer struct {
		Result string `json:"dispatchResult"`
	}
	content := s.do(http.MethodPost, dispatchPath, dispatchRequest(dispatcher, username))
	if err := json.Unmarshal([]byte(content), &answer); err != nil {
		s.t.Fatalf("%v: %s", err, content)
	}
	return answer.Result
}

func (s *site) holders() int {
	n, _ := limiters.References("|" + defaultBasePath)
	return n
}

// metric returns the value of a series.
func (s *site) metric(series string) float64 {
	s.t.Helper()
	for line := range strings.Lines(s.do(http.MethodGet, "/metrics", "")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// loggingTo has a configuration, which begins with global options, log into a
// file.
func loggingTo(t *testing.T, path, config string) string {
	t.Helper()
	return strings.Replace(config, "{\n", "{\n\tadmin off\n\tpersist_config off\n\tstorage file_system "+testservice.Folder(t)+"\n\tlog {\n\t\toutput file "+path+"\n\t}\n", 1)
}

// appears waits for a text in a file.
func appears(path, text string, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
