package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// buildCaddy builds the product, with the race detector if the test has it.
func buildCaddy(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "caddy")
	args := []string{"build", "-o", path}
	race := debug.BuildSetting{Key: "-race", Value: "true"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, race) {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "../cmd/caddy")...).CombinedOutput()
	if err != nil {
		t.Fatalf("building caddy: %v\n%s", err, out)
	}
	return path
}

// process is a program that runs beside the test, with a folder of its own. It
// ends with the test.
type process struct {
	dir     string
	address string // where it listens
	args    []string
	cmd     *exec.Cmd
	healthy func() bool
}

func (p *process) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env = append(os.Environ(), "HOME="+p.dir, "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir)
	out, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the start of "+filepath.Base(p.args[0])+" "+p.dir, p.healthy)
}

// terminate lets the process end what it is at.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s ended with %v", filepath.Base(p.args[0]), err)
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (p *process) kill() {
	if p.cmd != nil && p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
	}
}

func (p *process) logFile() string { return filepath.Join(p.dir, "log") }

func (p *process) log(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(p.logFile())
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

// finish ends the process and looks at what it had to say.
func (p *process) finish(t *testing.T) {
	p.kill()
	text := p.log(t)
	if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic") {
		t.Errorf("there was a panic or a race; the log of %s is\n%s", p.args[0], text)
	} else if t.Failed() {
		t.Logf("the log of %s ends with\n%s", p.args[0], text[max(0, len(text)-8000):])
	}
}

// newRedis makes a Redis that loses nothing when it is killed.
func newRedis(t *testing.T) *process {
	t.Helper()
	program := testservice.Need(t, "redis-server")
	p := &process{dir: t.TempDir(), address: testservice.FreeAddress(t)}
	_, port, err := net.SplitHostPort(p.address)
	if err != nil {
		t.Fatal(err)
	}
	p.args = []string{
		program, "--port", port, "--bind", "127.0.0.1", "--dir", p.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always",
	}
	p.healthy = func() bool {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	t.Cleanup(func() { p.finish(t) })
	return p
}

const healthPath = "/healthz"

// newCaddy makes a sidecar whose site has the directives.
func newCaddy(t *testing.T, program, site string) *process {
	t.Helper()
	p := &process{dir: t.TempDir(), address: testservice.FreeAddress(t)}
	file := filepath.Join(p.dir, "Caddyfile")
	content := fmt.Sprintf(replicaText, p.dir, p.address, healthPath, site)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p.args = []string{program, "run", "--config", file, "--adapter", "caddyfile"}
	p.healthy = func() bool { return healthy(http.DefaultTransport, p.address) }
	t.Cleanup(func() { p.finish(t) })
	return p
}

// healthy asks a replica whether it takes requests.
func healthy(transport http.RoundTripper, address string) bool {
	r, err := http.NewRequest(http.MethodGet, "http://"+address+healthPath, nil)
	if err != nil {
		return false
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// waitFor waits for something that happens in its own time.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	testservice.Until(t, done, func() string { return "it was " + what })
}
