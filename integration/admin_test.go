package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// exampleProcess is the product with the shipped Caddyfile.example, on free ports.
type exampleProcess struct {
	*testservice.Process
	internal, config, socket string
}

func startExample(t *testing.T) *exampleProcess {
	t.Helper()
	content, err := os.ReadFile("../Caddyfile.example")
	must(t, err)
	// The path of a socket is short, and that of t.TempDir need not be.
	dir := testservice.Folder(t)
	p := &exampleProcess{
		Process:  &testservice.Process{Dir: dir, Address: testservice.FreeAddress(t)},
		internal: testservice.FreeAddress(t), config: filepath.Join(dir, "Caddyfile"), socket: filepath.Join(dir, "oob-dispatch.sock"),
	}
	text := string(content)
	for from, to := range map[string]string{
		"{$FIDO_SITE:http://localhost:8080} {": "http://" + p.Address + " {\n\tbind 127.0.0.1", "http://127.0.0.1:2020": "http://" + p.internal,
		"reverse_proxy 127.0.0.1:9080": "reverse_proxy " + testservice.FreeAddress(t),
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("Caddyfile.example has no %q", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	p.configure(t, text)
	p.Args = []string{testservice.Product(t), "run", "--config", p.config, "--adapter", "caddyfile"}
	p.Healthy = func() bool { return healthy(http.DefaultTransport, p.internal+"/ready") }
	t.Cleanup(func() { p.Finish(t) })
	p.Start(t)
	return p
}

func (p *exampleProcess) configure(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile(p.config, []byte(text), 0o600))
}

// edit changes the Caddyfile.
func (p *exampleProcess) edit(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(p.config)
	must(t, err)
	if !strings.Contains(string(text), from) {
		t.Fatalf("the Caddyfile has no %q", from)
	}
	p.configure(t, strings.Replace(string(text), from, to, 1))
}

// run runs another command of the product in the same environment.
func (p *exampleProcess) run(args ...string) (out string, err error) {
	cmd := exec.Command(p.Args[0], args...)
	cmd.Env = p.Cmd.Env
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err = cmd.Run()
	return text.String(), err
}

func (p *exampleProcess) mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.run(args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// ask asks the admin endpoint.
func (p *exampleProcess) ask(t *testing.T, method, path, body string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", p.socket)
		},
	}}
	r, err := http.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return string(text)
}

func (p *exampleProcess) mustHave(t *testing.T, dispatcher string) {
	t.Helper()
	if got := p.ask(t, http.MethodGet, "/oob/dispatchers", ""); !strings.Contains(got, `"name":"`+dispatcher+`"`) {
		t.Errorf("the dispatchers are %s, without %s", got, dispatcher)
	}
}

func (p *exampleProcess) waitForLog(t *testing.T, words string) {
	t.Helper()
	waitFor(t, "a log line with "+words, func() bool { return strings.Contains(p.Log(t), words) })
}

// The admin endpoint of the example is a socket of the user, and nothing else:
// the configuration is reloaded through it, and an operator's commands work.
func TestAdminOfTheExample(t *testing.T) {
	p := startExample(t)
	address := "unix/" + p.socket
	info, err := os.Stat(p.socket)
	must(t, err)
	if info.Mode() != fs.ModeSocket|0o200 {
		t.Errorf("the socket has mode %s", info.Mode())
	}
	if got, want := p.listening(t), sorted(p.Address, p.internal); !slices.Equal(got, want) {
		t.Errorf("it listens on %q, want %q", got, want)
	}
	for _, site := range []string{p.Address, p.internal} {
		response, err := http.Get("http://" + site + "/oob/dispatchers")
		must(t, err)
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if strings.Contains(string(text), "app-link") {
			t.Errorf("%s gives away %s", site, text)
		}
	}

	p.edit(t, "dispatcher app-link link {", "dispatcher app-link-2 link {")
	p.mustRun(t, "reload", "--address", address, "--config", p.config, "--adapter", "caddyfile")
	p.mustHave(t, "app-link-2")
	p.edit(t, "dispatcher app-link-2 link {", "dispatcher app-link-3 pigeon {")
	if out, err := p.run("reload", "--address", address, "--config", p.config, "--adapter", "caddyfile"); err == nil || !strings.Contains(out, "pigeon") {
		t.Errorf("a Caddyfile that does not load: %v\n%s", err, out)
	}
	p.Signal(t, syscall.SIGUSR1)
	p.waitForLog(t, "failed to reload config from file")
	p.mustHave(t, "app-link-2")
	p.edit(t, "dispatcher app-link-3 pigeon {", "dispatcher app-link-4 link {")
	p.Signal(t, syscall.SIGUSR1) // also after a reload from the same file
	p.waitForLog(t, "successfully reloaded config from file")
	p.mustHave(t, "app-link-4")

	p.operate(t, address)

	// A configuration that came from elsewhere is not replaced by a signal.
	config := p.ask(t, http.MethodGet, "/config/", "")
	if answer := p.ask(t, http.MethodPost, "/load", config); answer != "" {
		t.Errorf("loading what there is: %s", answer)
	}
	p.Signal(t, syscall.SIGUSR1)
	p.waitForLog(t, "last config unknown, ignored SIGUSR1")
	p.Terminate(t)
	if log := p.Log(t); strings.Contains(log, exampleTarget) {
		t.Error("the log has the id of a target")
	}
}

const exampleTarget = "6b5ad8bb-3b0a-4d2c-9d1b-6f3d8d8b2c11"

// operate does what an operator may.
func (p *exampleProcess) operate(t *testing.T, address string) {
	t.Helper()
	private, err := devicekey.GenerateKey("P-256")
	must(t, err)
	key, moment := private.Public(), time.Now().Add(-time.Hour).UTC()
	record := &targets.Target{
		ID: exampleTarget, Username: "jeff", EncryptionKey: key.JWK(), Thumbprint: key.Thumbprint(), Source: targets.SourceCreate, Created: moment, Updated: moment,
	}
	line, err := targets.Encode(record, record.Ref())
	must(t, err)
	if report := p.ask(t, http.MethodPost, "/oob/targets/import", string(line)); !strings.Contains(report, `"added":1`) {
		t.Fatalf("importing: %s", report)
	}
	send := []string{"oob", "send", "--address", address, "--dispatcher", "app-qr", "--target", exampleTarget, "--json"}
	var sent struct{ Class, Thumbprint string }
	out := p.mustRun(t, send...)
	if err := json.Unmarshal([]byte(out[:strings.Index(out, "\n")+1]), &sent); err != nil || sent.Class != "delivered" || sent.Thumbprint != key.Thumbprint() {
		t.Errorf("a test: %s", out)
	}
	p.mustRun(t, "oob", "targets", "block", exampleTarget, "--address", address)
	if out, err := p.run(send...); err == nil || !strings.Contains(out, "(blocked)") {
		t.Errorf("a test to a blocked target: %v\n%s", err, out)
	}
	if out := p.mustRun(t, "oob", "targets", "list", "--state", "blocked", "--config", p.config); !strings.Contains(out, exampleTarget) || !strings.Contains(out, key.Thumbprint()) {
		t.Errorf("what is blocked: %s", out)
	}
	p.mustRun(t, "oob", "targets", "unblock", exampleTarget, "--config", p.config)
	p.mustRun(t, send...)
}

var socketInode = regexp.MustCompile(`^socket:\[(\d+)\]$`)

// listening returns the addresses on which the process listens for TCP.
func (p *exampleProcess) listening(t *testing.T) (addresses []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid)
	files, err := os.ReadDir(dir)
	must(t, err)
	all := listeners(t)
	for _, file := range files {
		to, _ := os.Readlink(filepath.Join(dir, file.Name())) // it may be closed
		if m := socketInode.FindStringSubmatch(to); m != nil && all[m[1]] != "" {
			addresses = append(addresses, all[m[1]])
		}
	}
	return sorted(addresses...)
}

func sorted(texts ...string) []string {
	slices.Sort(texts)
	return texts
}
