package observability

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oob-dispatch/oob-dispatch" // the module
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

const caddyfile = `{
	admin off
	persist_config off
	auto_https off
	storage file_system %[1]q
	log {
		output discard
	}
}
http://%[2]s {
	bind 127.0.0.1
	oob_dispatch {
		dispatcher app link {
			base_url https://app.example.com/open
		}
		dispatcher once link {
			base_url https://app.example.com/open
			limit target 1 1h
		}
		dispatcher sms webhook {
			url http://%[4]s/
			client_cert %[6]s/cert.pem %[6]s/key.pem
			address +41790000000
			base_url https://app.example.com/open
			retries 0
		}
		dispatcher sms-or-app fallback {
			try sms app
		}
	}
	reverse_proxy %[3]s
}
http://%[5]s {
	bind 127.0.0.1
	metrics /metrics
}
`

// clientCertificate returns the folder of one.
func clientCertificate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	pair, certificate, err := double.NewCertificate(double.Certificate{CommonName: "sidecar"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := double.PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"cert.pem": certificate, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// scrape returns the metrics of a sidecar once everything has happened that it
// counts.
func scrape(t *testing.T) string {
	t.Helper()
	fido, err := nevis.Start(nevis.Options{Mode: nevis.LTS21}) // which leaves the encryption of links to us
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fido.Close)
	site, internal := testservice.FreeAddress(t), testservice.FreeAddress(t)
	config := fmt.Sprintf(caddyfile, testservice.Folder(t), site, fido.Addr(), testservice.FreeAddress(t), internal, clientCertificate(t))
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(adapted, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	phone, err := device.New(device.Options{Username: "jeff", Frontend: "http://" + site, Dispatcher: "sms"})
	if err != nil {
		t.Fatal(err)
	}
	if err := phone.Register(t.Context(), "http://"+site+"/nevisfido", device.Registration{}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct{ dispatcher, result string }{
		{"app", "dispatched"},
		{"once", "dispatched"},
		{"once", "dispatchError"},
		{"sms", "dispatchError"},
		{"sms-or-app", "dispatched"},
		{"nobody", "dispatcherNotFound"},
	} {
		body := fmt.Sprintf(`{"dispatcher":%q,"dispatchTargetId":%q,"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`, d.dispatcher, phone.TargetID())
		answer, err := http.Post("http://"+site+"/nevisfido/token/dispatch/authentication", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || !strings.Contains(string(text), `"dispatchResult":"`+d.result+`"`) {
			t.Fatalf("%s: %s, %v, want %s", d.dispatcher, text, err, d.result)
		}
	}
	answer, err := http.Get("http://" + internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s, %v", answer.Status, err)
	}
	return string(text)
}

// labels are the names of the labels of each series.
func labels(text string) map[string][]string {
	all := make(map[string][]string)
	for _, series := range regexp.MustCompile(`(?m)^(\w+)(\{.*\})? `).FindAllStringSubmatch(text, -1) {
		all[series[1]] = []string{} // it may have none
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(series[2], -1) {
			all[series[1]] = append(all[series[1]], l[1])
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`((?:caddy|process|go)_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\bby \(([^)]+)\)`)
	legend   = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
)

// What the alerts and the dashboard ask for is what a sidecar counts: its series,
// their labels, and values that the code knows. Prometheus' linter likes all that
// the sidecar adds to Caddy's own.
func TestQueriesAskForSeriesThatExist(t *testing.T) {
	text := scrape(t)
	lint(t, text)
	live, words := labels(text), literals(t)
	check := func(where, expr, text string) {
		known := []string{"namespace", "job", "instance"} // which Prometheus adds
		for _, s := range selector.FindAllStringSubmatch(expr, -1) {
			names, ok := live[s[1]]
			if !ok {
				t.Errorf("%s asks for %s, which is not on /metrics", where, s[1])
				continue
			}
			known = append(known, names...)
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				name, values := m[1], m[2]
				if strings.HasPrefix(values, "$") { // a variable of the dashboard
					continue
				}
				if !slices.Contains(names, name) {
					t.Errorf("%s: %s has no label %s", where, s[1], name)
				}
				for value := range strings.SplitSeq(values, "|") {
					if !words[value] {
						t.Errorf("%s: nothing in the code makes %s=%q of %s", where, name, value, s[1])
					}
				}
			}
		}
		var used []string
		for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
			used = append(used, strings.Split(g[1], ", ")...)
		}
		for _, l := range legend.FindAllStringSubmatch(text, -1) {
			used = append(used, l[1])
		}
		for _, name := range used {
			if !slices.Contains(known, name) {
				t.Errorf("%s uses the label %s, which its series lack", where, name)
			}
		}
	}
	for _, a := range alerts(t) {
		check(a.Alert, a.Expr, a.Annotations["summary"])
	}
	for _, q := range queries(t) {
		check(q.panel, q.expr, q.legend)
	}
}

func lint(t *testing.T, text string) {
	t.Helper()
	var ours strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "caddy_oob_") {
			ours.WriteString(line)
		}
	}
	cmd := exec.CommandContext(t.Context(), testservice.Need(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(ours.String())
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 || ours.Len() == 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// literals are the strings in the code of the product.
func literals(t *testing.T) map[string]bool {
	t.Helper()
	words := make(map[string]bool)
	for _, room := range []string{"caddymodule", "dispatchers", "internal", "nevisfido", "targets"} {
		err := filepath.WalkDir(filepath.Join("../..", room), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if text, err := strconv.Unquote(l.Value); err == nil {
						words[text] = true
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return words
}
