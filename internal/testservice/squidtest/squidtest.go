// Package squidtest runs a real Squid as the forward proxy of a test.
package squidtest

import (
	"context"
	"crypto/md5" //nolint:gosec // the one unsalted form that Squid reads
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// Options configure a Proxy. The zero value is an open proxy.
type Options struct {
	User, Password string // demanded by Basic authentication if a user is set

	// TLS makes clients reach the proxy by https, with a certificate for
	// 127.0.0.1 and localhost that CA vouches for.
	TLS bool

	// Refuse holds the statuses to refuse requests for a host:port with.
	Refuse map[string]int
}

// Proxy is a Squid with its own configuration on a port of 127.0.0.1.
type Proxy struct {
	options Options
	dir     string
	address string
	process *exec.Cmd
	ended   chan struct{}
}

const (
	program    = "/usr/sbin/squid"
	basicHelp  = "/usr/lib/squid/basic_ncsa_auth"
	folderMode = 0o777 // started by root, Squid gives its rights up
	fileMode   = 0o644
)

const squidConf = `
LISTEN
pid_filename none
cache_log DIR/cache.log
logformat test %rm %ru %un %>Hs
access_log stdio:DIR/access.log test
coredump_dir DIR
cache deny all
cache_mem 1 MB
max_filedescriptors 512
pinger_enable off
dns_nameservers 127.0.0.1
hosts_file DIR/hosts
visible_hostname proxy.example.com
shutdown_lifetime 0 seconds
AUTH
REFUSE
http_access allow USERS
http_access deny all
`

const basicAuth = `
auth_param basic program ` + basicHelp + ` DIR/users
auth_param basic realm proxy
acl users proxy_auth REQUIRED
http_access deny !users
`

// Start runs a Squid until the end of the test.
func Start(t *testing.T, o Options) *Proxy {
	t.Helper()
	for _, file := range []string{program, basicHelp} {
		testservice.Need(t, file)
	}
	dir, err := os.MkdirTemp("", "squid") //nolint:usetesting // Squid's other user has to get in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Proxy{options: o, dir: dir, address: testservice.FreeAddress(t)}
	p.configure(t)
	p.run(t)
	return p
}

func (p *Proxy) configure(t *testing.T) {
	t.Helper()
	if err := os.Chmod(p.dir, folderMode); err != nil {
		t.Fatal(err)
	}
	listen, auth, users := "http_port "+p.address, "", "all"
	if p.options.TLS {
		p.certify(t)
		listen = "https_port " + p.address + " tls-cert=DIR/ca.pem tls-key=DIR/key.pem"
	}
	if p.options.User != "" {
		hash := md5.Sum([]byte(p.options.Password)) //nolint:gosec // see above
		p.write(t, "users", p.options.User+":"+hex.EncodeToString(hash[:])+"\n")
		auth, users = basicAuth, "users"
	}
	fill := func(text string) string { return strings.ReplaceAll(text, "DIR", p.dir) }
	p.write(t, "hosts", "127.0.0.1 localhost\n") // Debian's own has ::1 too, where nothing listens
	p.write(t, "squid.conf", strings.NewReplacer(
		"LISTEN", fill(listen), "AUTH", fill(auth), "USERS", users, "REFUSE", p.refusals(), "DIR", p.dir,
	).Replace(squidConf))
}

// refusals returns the rules that refuse what the options say.
func (p *Proxy) refusals() string {
	var rules strings.Builder
	for address, status := range p.options.Refuse {
		name := "refused" + strconv.Itoa(rules.Len())
		fmt.Fprintf(&rules, "acl %[1]s url_regex ^(http://)?%[2]s(/|$)\ndeny_info %[3]d:ERR_ACCESS_DENIED %[1]s\nhttp_access deny %[1]s\n",
			name, regexp.QuoteMeta(address), status)
	}
	return rules.String()
}

// certify makes a certificate, which is its own CA.
func (p *Proxy) certify(t *testing.T) {
	t.Helper()
	certificate, ca, err := double.NewCertificate(double.Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "ca.pem", string(ca))
	p.write(t, "key.pem", string(double.KeyPEM(certificate)))
}

func (p *Proxy) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), fileMode); err != nil {
		t.Fatal(err)
	}
}

// run starts Squid and waits until it accepts connections.
func (p *Proxy) run(t *testing.T) {
	t.Helper()
	// In the foreground and as one process, so that it ends along with it.
	p.process = exec.CommandContext(context.WithoutCancel(t.Context()), program, "-N", "-n", p.service(), "-f", filepath.Join(p.dir, "squid.conf")) //nolint:gosec // a folder of ours
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func() {
		_ = p.process.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.Stop)
	testservice.Until(t, func() bool {
		select {
		case <-p.ended:
			t.Fatalf("Squid did not start\n%s", p.read("cache.log"))
		default:
		}
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, p.logs)
}

// Stop ends the proxy and every connection through it.
func (p *Proxy) Stop() {
	_ = p.process.Process.Kill() // it may have ended; a gentle end takes a second
	<-p.ended
	segments, _ := filepath.Glob("/dev/shm/" + p.service() + "-*")
	for _, segment := range segments {
		_ = os.Remove(segment)
	}
}

// service names this Squid's shared memory, which it would share with all other
// Squids of the machine.
func (p *Proxy) service() string { return filepath.Base(p.dir) }

// Addr is the proxy's host and port.
func (p *Proxy) Addr() string { return p.address }

// URL is the proxy's address, with the credentials that it demands.
func (p *Proxy) URL() string { return p.URLAs(p.options.User, p.options.Password) }

// URLAs is the proxy's address with other credentials; none without a user.
func (p *Proxy) URLAs(user, password string) string {
	u := url.URL{Scheme: "http", Host: p.address}
	if p.options.TLS {
		u.Scheme = "https"
	}
	if user != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String()
}

// CA is the PEM certificate to trust; nil without TLS.
func (p *Proxy) CA(t *testing.T) []byte {
	t.Helper()
	if !p.options.TLS {
		return nil
	}
	content, err := os.ReadFile(filepath.Join(p.dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Request is one that the proxy has dealt with. A tunnel is there once it has
// ended.
type Request struct {
	Method string
	URL    string // host:port of a tunnel
	User   string // "-" without
	Status int    // of the proxy's answer
}

// Requests waits until the proxy has dealt with n requests and returns them.
func (p *Proxy) Requests(t *testing.T, n int) []Request {
	t.Helper()
	var lines []string
	testservice.Until(t, func() bool {
		lines = nil
		for line := range strings.Lines(p.read("access.log")) {
			if whole, ok := strings.CutSuffix(line, "\n"); ok && !strings.Contains(whole, " error:") {
				lines = append(lines, whole)
			}
		}
		return len(lines) >= n
	}, p.logs)
	requests := make([]Request, 0, len(lines))
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) != 4 {
			t.Fatalf("the line %q in Squid's log", line)
		}
		status, err := strconv.Atoi(words[3])
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, Request{Method: words[0], URL: words[1], User: words[2], Status: status})
	}
	return requests
}

func (p *Proxy) read(name string) string {
	content, _ := os.ReadFile(filepath.Join(p.dir, name)) //nolint:gosec // a file of ours
	return string(content)
}

func (p *Proxy) logs() string { return p.read("access.log") + "\n" + p.read("cache.log") }
