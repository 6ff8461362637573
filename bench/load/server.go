package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// A site is what the Caddyfile of a server is made of.
type site struct {
	handler  string // what stands before reverse_proxy
	upstream string
}

// productHandler has on what Caddyfile.example has on: the audit file and
// the default limits. Bare Caddy has the same global options: the log at INFO with
// its masks, and no metrics of HTTP.
func productHandler(folder, store string, pushes *fcm) string {
	return fmt.Sprintf(`	oob_dispatch {
		%[5]s
		audit file %[1]s/audit.jsonl
		dispatcher app-link link {
			base_url https://app.example.com/open
		}
		dispatcher app-qr qr_code {
			base_url https://app.example.com/open
		}
		dispatcher push fcm {
			credentials %[2]s
			endpoint %[3]s
			ca %[4]s
		}
	}
`, folder, pushes.credentials, pushes.url, pushes.ca, store)
}

// caddyfile is that of a server that listens on the address.
func (s site) caddyfile(folder, address string) (string, error) {
	example, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		return "", err
	}
	_, masked, ok := strings.Cut(string(example), "\n(masked) {")
	masked, _, ended := strings.Cut(masked, "\n}\n")
	if !ok || !ended {
		return "", errors.New("no snippet (masked) in Caddyfile.example")
	}
	return fmt.Sprintf(`(masked) {%[1]s
}
{
	admin off
	persist_config off
	auto_https off
	storage file_system %[2]q
	log {
		import masked
	}
}
http://%[3]s {
%[4]s	reverse_proxy %[5]s {
		transport http {
			keepalive_idle_conns_per_host 512
		}
	}
}
`, masked, folder, address, s.handler, s.upstream), nil
}

// A server is what is measured: a process of its own.
type server struct {
	address string
	cmd     *exec.Cmd
}

// startCaddy starts a Caddy with a site, whose storage is the folder.
func startCaddy(ctx context.Context, folder, binary string, s site) (*server, error) {
	return startServer(ctx, folder, func(address string) (*exec.Cmd, error) {
		config, err := s.caddyfile(folder, address)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(folder, "Caddyfile")
		return exec.CommandContext(ctx, binary, "run", "--config", path, "--adapter", "caddyfile"), os.WriteFile(path, []byte(config), 0o600)
	})
}

const redisServer = "redis-server"

// startRedis starts a Redis that writes nothing to disk.
func startRedis(ctx context.Context, folder string) (*server, error) {
	return startServer(ctx, folder, func(address string) (*exec.Cmd, error) {
		host, port, err := net.SplitHostPort(address)
		return exec.CommandContext(ctx, redisServer, "--bind", host, "--port", port, "--save", "", "--dir", folder), err
	})
}

// startServer starts what listens on the address that it is given. Its output goes to
// a file in the folder.
func startServer(ctx context.Context, folder string, command func(address string) (*exec.Cmd, error)) (*server, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	cmd, err := command(address)
	if err != nil {
		return nil, err
	}
	logFile, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{address, cmd}
	for range 300 {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
			return s, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.stop()
	text, _ := os.ReadFile(filepath.Join(folder, "log"))
	return nil, fmt.Errorf("it does not listen: %s", text)
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// The kinds of dispatch targets, as their ids begin.
const (
	kindClear = "clear"
	kindRSA   = "rsa"
	rsaKeys   = 50 // shared by many targets, as their number does not matter here
)

// makeTargets returns records as "caddy oob targets export" writes them.
func makeTargets(n int) ([]byte, error) {
	keys := make([]*encrypt.Key, rsaKeys)
	for i := range keys {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		if keys[i], err = encrypt.ParseKey(jwkOf(private.N), encrypt.Policy{}); err != nil {
			return nil, err
		}
	}
	var out []byte
	for i := range n {
		const record = `{"schema":1,"id":"%s-%d","username":"jeff","source":"import","state":"active",` +
			`"created":"2026-01-01T00:00:00Z","updated":"2026-01-01T00:00:00Z"`
		key := keys[i%rsaKeys]
		out = fmt.Appendf(out, record+"}\n", kindClear, i)
		out = fmt.Appendf(out, record+`,"target":%q,"encryption_key":%s,"thumbprint":%q}`+"\n", kindRSA, i, pushToken(i), key.JWK(), key.Thumbprint())
	}
	return out, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// importTargets fills the store of a server that is not running yet.
func importTargets(ctx context.Context, folder, binary string, s site, targets []byte) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	text, err := s.caddyfile(folder, "127.0.0.1:1")
	if err != nil {
		return err
	}
	config, input := filepath.Join(folder, "Caddyfile"), filepath.Join(folder, "targets.ndjson")
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(input, targets, 0o600)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, "oob", "targets", "import", "--config", config, input)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, lastLines(string(text)))
	}
	return nil
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// processors tells how much processor time was used, in clock ticks.
type processors struct{ busy, own, all int64 }

const ticksPerSecond = 100 // of Linux on all platforms that matter

func (p processors) othersSince(before processors) float64 {
	all := p.all - before.all
	if all == 0 {
		return 0
	}
	return max(0, float64(p.busy-before.busy-(p.own-before.own))/float64(all))
}

// usage reads /proc: what all processes used, and those that are measured with
// the load generator among them.
func usage(servers map[string]*server) (p processors) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line)[1:] {
		n, _ := strconv.ParseInt(field, 10, 64)
		p.all += n
		if i != 3 && i != 4 { // idle, iowait
			p.busy += n
		}
	}
	p.own = processTicks(os.Getpid())
	for _, s := range servers {
		p.own += processTicks(s.cmd.Process.Pid)
	}
	return p
}

// processTicks returns user and system time of a process (proc(5), fields 14
// and 15).
func processTicks(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return user + system
}
