package testservice

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ProductVariable has a test binary be the product: its TestMain runs Caddy's command
// where the environment has it. So nothing has to be built for a test, and the
// product has the race detector where the test has it.
const ProductVariable = "OOB_TEST_PRODUCT"

// Product returns the path of the test binary, which is the product for all
// programs that the test starts.
func Product(t testing.TB) (path string) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(ProductVariable, "1")
	return path
}

// Process is a program that runs beside the test, with a folder of its own. It
// ends with the test.
type Process struct {
	Dir     string
	Address string // where it listens
	Args    []string
	Env     []string // beside that of the test
	Cmd     *exec.Cmd
	Healthy func() bool
}

// Start runs the program, and waits until it is healthy.
func (p *Process) Start(t testing.TB) {
	t.Helper()
	p.Launch(t)
	Until(t, p.Healthy, func() string { return "it was the start of " + filepath.Base(p.Args[0]) + " " + p.Dir })
}

// Launch runs the program.
func (p *Process) Launch(t testing.TB) {
	t.Helper()
	p.Cmd = exec.Command(p.Args[0], p.Args[1:]...) //nolint:gosec,noctx // arguments of tests; Finish ends it
	p.Cmd.Env = append(append(os.Environ(), "HOME="+p.Dir, "XDG_DATA_HOME="+p.Dir, "XDG_CONFIG_HOME="+p.Dir), p.Env...)
	out, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.Cmd.Stdout, p.Cmd.Stderr = out, out
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// Terminate lets the process end what it is at.
func (p *Process) Terminate(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	timer := time.AfterFunc(patience, func() { _ = p.Cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.Cmd.Wait(); err != nil {
		t.Errorf("%s ended with %v", filepath.Base(p.Args[0]), err)
	}
}

// Signal sends a signal to the process.
func (p *Process) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the process as abruptly as can be, if it runs.
func (p *Process) Kill() {
	if p.Cmd != nil && p.Cmd.ProcessState == nil {
		_ = p.Cmd.Process.Kill() // it may have ended
		_ = p.Cmd.Wait()
	}
}

// logFile has what the process writes to its standard outputs.
func (p *Process) logFile() string { return filepath.Join(p.Dir, "log") }

// Log returns what stands there.
func (p *Process) Log(t testing.TB) string {
	t.Helper()
	content, err := os.ReadFile(p.logFile())
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

// Finish ends the process and looks at what it had to say.
func (p *Process) Finish(t testing.TB) {
	t.Helper()
	p.Kill()
	text := p.Log(t)
	if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic") {
		t.Errorf("there was a panic or a race; the log of %s is\n%s", p.Args[0], text)
	} else if t.Failed() {
		t.Logf("the log of %s ends with\n%s", p.Args[0], text[max(0, len(text)-8000):])
	}
}

// NewRedis makes a Redis that loses nothing when it is killed.
func NewRedis(t testing.TB) *Process {
	t.Helper()
	program := Need(t, "redis-server")
	p := &Process{Dir: t.TempDir(), Address: FreeAddress(t)}
	_, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		t.Fatal(err)
	}
	p.Args = []string{
		program, "--port", port, "--bind", "127.0.0.1", "--dir", p.Dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always",
	}
	p.Healthy = func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	t.Cleanup(func() { p.Finish(t) })
	return p
}
