package smtp

import (
	"crypto/x509"
	"encoding/pem"
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

const mainCF = `
compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = DIR
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.com
mydestination =
alias_maps =
alias_database =
virtual_mailbox_domains = example.com
virtual_mailbox_maps = static:inbox/
virtual_mailbox_base = DIR/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_cert_file = DIR/cert.pem
smtpd_tls_key_file = DIR/key.pem
smtpd_tls_session_cache_database =
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = example.com
cyrus_sasl_config_path = DIR/sasl
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sender_restrictions = check_sender_access texthash:DIR/senders
smtpd_recipient_restrictions = check_recipient_access texthash:DIR/recipients
smtpd_end_of_data_restrictions = check_recipient_access texthash:DIR/late
smtpd_delay_reject = no
`

const masterCF = `
STARTTLS inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=yes
IMPLICIT inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
rewrite  unix - - n - - trivial-rewrite
tlsmgr   unix - - n 1000? 1 tlsmgr
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
verify   unix - - n - 1 verify
proxymap unix - - n - - proxymap
anvil    unix - - n - 1 anvil
error    unix - - n - - error
retry    unix - - n - - error
discard  unix - - n - - discard
virtual  unix - n n - - virtual
postlog  unix-dgram n - n - 1 postlogd
`

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

func (p *postfix) configure(t *testing.T) {
	t.Helper()
	certificate, ca, err := double.NewCertificate(double.Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("DIR", p.dir, "STARTTLS", p.starttls, "IMPLICIT", p.implicit)
	for _, name := range []string{"queue", "data", "sasl", "mail"} {
		if err := os.Mkdir(filepath.Join(p.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"main.cf":   fill.Replace(mainCF),
		"master.cf": fill.Replace(masterCF),
		"cert.pem":  string(ca),
		"key.pem":   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"sasl/smtpd.conf": fill.Replace("pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: DIR/sasl/db\n" +
			"mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256\n"),
		"senders": "blocked@example.com 553 5.7.1 not yours, canary\n",
		"recipients": "gone@example.com 550 5.1.1 no such user gone@example.com\n" +
			"busy@example.com 450 4.2.0 greylisted busy@example.com\n" +
			"full@example.com 552 5.2.2 mailbox full\n",
		"late": "late@example.com 554 5.7.1 spam\nslow@example.com 451 4.7.1 come back later\n",
	} {
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
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		p.stop(t)
		<-ended
	})
	testservice.Until(t, func() bool {
		select {
		case <-ended:
			t.Fatalf("Postfix did not start\n%s", p.log())
		default:
		}
		for _, address := range []string{p.starttls, p.implicit} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				return false
			}
			_ = c.Close()
		}
		return true
	}, p.log)
}

// stop ends Postfix's master process, which ends all others.
func (p *postfix) stop(t *testing.T) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(p.dir, "queue", "pid", "master.pid"))
	if err != nil {
		t.Errorf("stopping Postfix: %v\n%s", err, p.log())
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Errorf("stopping Postfix: %v", err)
		return
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Errorf("stopping Postfix: %v", err)
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
	options := map[string]any{
		"server": p.starttls, "from": "Example Bank <login@example.com>", "ca": p.ca,
		"auth": map[string]any{"username": "bank", "password": "hunter2"},
	}
	maps.Copy(options, more)
	d, err := load(t, options)
	if err != nil {
		t.Fatal(err)
	}
	return d
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
			right := server.dispatcher(t, map[string]any{
				"auth": map[string]any{"username": "bank", "password": "hunter2", "type": kind},
			})
			if err := right.Probe(t.Context()); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			wrong := server.dispatcher(t, map[string]any{
				"auth": map[string]any{"username": "bank", "password": "wrong", "type": kind},
			})
			wantFailure(t, wrong.Probe(t.Context()), dispatchers.Broken, "auth")
		}
		token := server.dispatcher(t, map[string]any{
			"auth": map[string]any{"username": "bank", "password": "hunter2", "type": "xoauth2"},
		})
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
			_, err := d.Dispatch(t.Context(), m)
			wantFailure(t, err, test.class, test.reason)
			if strings.Contains(err.Error(), "@") {
				t.Errorf("the error quotes an address: %v", err)
			}
		}
		if _, err := d.Dispatch(t.Context(), message(t, p, nil)); err != nil {
			t.Fatal(err)
		}
		server.next(t)
		blocked := server.dispatcher(t, map[string]any{"from": "blocked@example.com"})
		_, err := blocked.Dispatch(t.Context(), message(t, p, nil))
		wantFailure(t, err, dispatchers.Refused, "sender_rejected")
		nobody := server.dispatcher(t, map[string]any{"auth": nil})
		_, err = nobody.Dispatch(t.Context(), message(t, p, nil))
		wantFailure(t, err, dispatchers.Refused, "rejected") // 554 5.7.1: no relay for strangers
	})

	t.Run("one connection for many mails", func(t *testing.T) {
		before := strings.Count(server.log(), ": connect from ")
		d := server.dispatcher(t, nil)
		for i := range 10 {
			m := message(t, p, nil)
			m.ID = fmt.Sprint("mail-", i)
			if _, err := d.Dispatch(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if id := checkMail(t, p, m, server.next(t)).Header.Get("Message-Id"); id != "<"+m.DeliveryID()+"@example.com>" {
				t.Errorf("got the mail %s", id)
			}
		}
		if n := strings.Count(server.log(), ": connect from ") - before; n != 1 {
			t.Errorf("%d connections for 10 mails, want 1", n)
		}
	})
}
