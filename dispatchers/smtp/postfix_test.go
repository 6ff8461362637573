package smtp

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// postfix is a real Postfix with its own configuration and queue on this
// machine: two submission services, accounts in a SASL database, and one
// mailbox for everybody at example.com.
type postfix struct {
	dir       string
	starttls  string // host:port
	implicit  string
	ca        string // file
	delivered string // folder of new mails
}

func startPostfix(t *testing.T) *postfix {
	t.Helper()
	for _, program := range []string{"postfix", "saslpasswd2"} {
		testservice.Need(t, program)
	}
	testservice.NeedRoot(t, "Postfix")
	dir, err := os.MkdirTemp("", "postfix") //nolint:usetesting // Postfix's other users have to get in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &postfix{
		dir: dir, starttls: testservice.FreeAddress(t), implicit: testservice.FreeAddress(t),
		ca: filepath.Join(dir, "cert.pem"), delivered: filepath.Join(dir, "mail", "inbox", "new"),
	}
	p.configure(t)
	p.run(t)
	return p
}

// configure copies the files of testdata with their places filled in, and adds
// the certificate and the account.
func (p *postfix) configure(t *testing.T) {
	t.Helper()
	certificate, ca, err := double.NewCertificate(double.Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"queue", "data", "sasl", "mail"} {
		if err := os.Mkdir(filepath.Join(p.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"cert.pem": string(ca), "key.pem": string(double.KeyPEM(certificate))}
	fill := strings.NewReplacer("DIR", p.dir, "STARTTLS", p.starttls, "IMPLICIT", p.implicit)
	for _, name := range []string{"main.cf", "master.cf", "senders", "recipients", "late", "sasl/smtpd.conf"} {
		content, err := os.ReadFile(filepath.Join("testdata", "postfix", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = fill.Replace(string(content))
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.command(t, "hunter2", "saslpasswd2", "-p", "-c", "-f", filepath.Join(p.dir, "sasl", "db"), "-u", "example.com", "bank")
	for name, owner := range map[string]string{"data": "postfix", "sasl/db": "postfix", "mail": "65534:65534"} {
		p.command(t, "", "chown", owner, filepath.Join(p.dir, name))
	}
}

func (p *postfix) command(t *testing.T, input, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// run starts Postfix and waits until it answers; it ends along with the test.
func (p *postfix) run(t *testing.T) {
	t.Helper()
	cmd := exec.Command("postfix", "-c", p.dir, "start-fg")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the master process ends all others
		content, err := os.ReadFile(filepath.Join(p.dir, "queue", "pid", "master.pid"))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(content)))
		if err != nil || pid <= 0 || syscall.Kill(pid, syscall.SIGTERM) != nil {
			t.Errorf("Postfix is not stopped: %v\n%s", err, p.log())
		}
		_ = cmd.Wait()
	})
	for _, address := range []string{p.starttls, p.implicit} {
		testservice.Until(t, func() bool {
			c, err := net.Dial("tcp", address)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		}, p.log)
	}
}

func (p *postfix) log() string {
	content, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(content)
}

// next takes the one mail out of the mailbox, and waits for it if need be.
func (p *postfix) next(t *testing.T) []byte {
	t.Helper()
	var files []os.DirEntry
	testservice.Until(t, func() bool {
		files, _ = os.ReadDir(p.delivered)
		return len(files) > 0
	}, p.log)
	if len(files) != 1 {
		t.Fatalf("%d mails, want 1", len(files))
	}
	path := filepath.Join(p.delivered, files[0].Name())
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return content
}

func (p *postfix) dispatcher(t *testing.T, more map[string]any) *Mailer {
	t.Helper()
	options := map[string]any{"server": p.starttls, "ca": p.ca, "auth": account("hunter2", "")}
	maps.Copy(options, more)
	return mailer(t, options)
}

func TestPostfix(t *testing.T) {
	server := startPostfix(t)
	p := phone(t)

	t.Run("both ways of TLS", func(t *testing.T) {
		for mode, address := range map[string]string{"starttls": server.starttls, "implicit": server.implicit} {
			d := server.dispatcher(t, map[string]any{"tls": mode, "server": address})
			if err := d.Probe(t.Context()); err != nil {
				t.Fatalf("%s: %v\n%s", mode, err, server.log())
			}
			m := message(t, p, map[string]string{"oob.notification.title": "Zahlung bestätigen\r\nBcc: eve@example.com"})
			if _, err := d.Dispatch(t.Context(), m); err != nil {
				t.Fatalf("%s: %v\n%s", mode, err, server.log())
			}
			got := checkMail(t, p, m, server.next(t))
			if got.Subject != "Zahlung bestätigen Bcc: eve@example.com" || got.Header.Get("Bcc") != "" ||
				got.Header.Get("Delivered-To") != recipient || got.Header.Get("Message-Id") != "<"+m.DeliveryID()+"@example.com>" {
				t.Errorf("%s: subject %q, header %v", mode, got.Subject, got.Header)
			}
		}
		if log := server.log(); strings.Count(log, "sasl_method=SCRAM-SHA-256") != 2 {
			t.Errorf("auto did not take the best mechanism:\n%s", log)
		}
	})

	t.Run("mechanisms", func(t *testing.T) {
		for _, kind := range []string{"auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"} {
			right := server.dispatcher(t, map[string]any{"auth": account("hunter2", kind)})
			if err := right.Probe(t.Context()); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			wrong := server.dispatcher(t, map[string]any{"auth": account("wrong", kind)})
			wantFailure(t, wrong.Probe(t.Context()), dispatchers.Broken, "auth")
		}
		token := server.dispatcher(t, map[string]any{"auth": account("hunter2", "xoauth2")})
		wantFailure(t, token.Probe(t.Context()), dispatchers.Broken, "auth")
	})

	t.Run("answers", func(t *testing.T) {
		d := server.dispatcher(t, nil)
		for _, test := range []struct {
			to     string
			class  dispatchers.Class
			reason string
		}{
			{"gone@example.com", dispatchers.Expired, "no_mailbox"},
			{"busy@example.com", dispatchers.Temporary, "deferred"},
			{"full@example.com", dispatchers.Refused, "rejected"},
			{"late@example.com", dispatchers.Refused, "rejected"},
			{"slow@example.com", dispatchers.Temporary, "deferred"},
		} {
			m := message(t, p, nil)
			m.Address = test.to
			if text := fails(t, d, m, test.class, test.reason); strings.Contains(text, "@") {
				t.Errorf("the error quotes an address: %v", text)
			}
		}
		dispatch(t, d, message(t, p, nil))
		server.next(t)
		blocked := server.dispatcher(t, map[string]any{"from": "blocked@example.com"})
		fails(t, blocked, message(t, p, nil), dispatchers.Refused, "sender_rejected")
		nobody := server.dispatcher(t, map[string]any{"auth": nil})
		fails(t, nobody, message(t, p, nil), dispatchers.Refused, "rejected") // 554 5.7.1: no relay for strangers
	})

	t.Run("one connection for many mails", func(t *testing.T) {
		before := strings.Count(server.log(), ": connect from ")
		d := server.dispatcher(t, nil)
		for i := range 10 {
			m := message(t, p, nil)
			m.ID = fmt.Sprint("mail-", i)
			dispatch(t, d, m)
			if id := checkMail(t, p, m, server.next(t)).Header.Get("Message-Id"); id != "<"+m.DeliveryID()+"@example.com>" {
				t.Errorf("got the mail %s", id)
			}
		}
		if n := strings.Count(server.log(), ": connect from ") - before; n != 1 {
			t.Errorf("%d connections for 10 mails, want 1", n)
		}
	})
}
