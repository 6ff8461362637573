package smtp

import (
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	recipient = "jeff@example.com"
	token     = dispatcherstest.Token
	redeemURL = "https://login.example.com/nevisfido/token/redeem/authentication"
)

func startServer(t *testing.T, o mail.Options) *mail.Server {
	t.Helper()
	s, err := mail.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// load provisions a dispatcher as a configuration does.
func load(t *testing.T, options map[string]any) (*Mailer, error) {
	t.Helper()
	return dispatcherstest.Load[*Mailer](t, "smtp", options)
}

// mailer loads a dispatcher that has to load.
func mailer(t *testing.T, more map[string]any) *Mailer {
	t.Helper()
	options := map[string]any{"from": "Example Bank <login@example.com>"}
	maps.Copy(options, more)
	d, err := load(t, options)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// newMailer loads a dispatcher that sends to s; more adds options.
func newMailer(t *testing.T, s *mail.Server, more map[string]any) *Mailer {
	t.Helper()
	options := map[string]any{"server": s.Addr(), "ca": testservice.File(t, "ca.pem", s.CA())}
	maps.Copy(options, more)
	return mailer(t, options)
}

// serve starts a server, and loads a dispatcher that sends to it.
func serve(t *testing.T, o mail.Options, more map[string]any) (*mail.Server, *Mailer) {
	t.Helper()
	s := startServer(t, o)
	return s, newMailer(t, s, more)
}

// loginServer is a server that wants account("hunter2", "").
var loginServer = mail.Options{User: "bank", Password: "hunter2"}

func account(password, kind string) map[string]any {
	return map[string]any{"username": "bank", "password": password, "type": kind}
}

func dispatch(t *testing.T, d *Mailer, m *dispatchers.Message) {
	t.Helper()
	if _, err := d.Dispatch(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// fails ends the test unless the mail fails like this, and returns the error's text.
func fails(t *testing.T, d *Mailer, m *dispatchers.Message, class dispatchers.Class, reason string) string {
	t.Helper()
	_, err := d.Dispatch(t.Context(), m)
	wantFailure(t, err, class, reason)
	return err.Error()
}

func wantMails(t *testing.T, s *mail.Server, mails, connections int) {
	t.Helper()
	if m, c := len(s.Mails()), s.Connections(); m != mails || c != connections {
		t.Errorf("%d mails over %d connections, want %d over %d", m, c, mails, connections)
	}
}

// phone is a device that takes sealed messages only.
func phone(t *testing.T) *device.Device {
	t.Helper()
	d, err := device.New(device.Options{RequireSealed: true})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// message is one that is sealed for the phone, with a base_url.
func message(t *testing.T, p *device.Device, values map[string]string) *dispatchers.Message {
	t.Helper()
	content := nevisfido.NewContent(token, redeemURL)
	jwe, err := p.Keys()[0].Public().Seal(content.JSON())
	if err != nil {
		t.Fatal(err)
	}
	m := dispatcherstest.Message(recipient, values)
	m.Envelope = content.Envelope().Sealed(jwe)
	m.Dispatcher, m.Link, m.LinkConfigured = "mail", nevisfido.Link("https://app.example.com/open", m.Envelope), true
	return m
}

// plain is a message whose content does not matter.
func plain() *dispatchers.Message {
	m := dispatcherstest.Message(recipient, nil)
	m.Dispatcher, m.Expires = "mail", time.Time{}
	return m
}

func wantFailure(t *testing.T, err error, class dispatchers.Class, reason string) {
	t.Helper()
	dispatcherstest.WantFailure(t, err, class, reason, recipient, "jeff", "canary", "hunter2")
}

func read(t *testing.T, data []byte) *mail.Message {
	t.Helper()
	m, err := mail.Read(data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	return m
}

// zbar reads a QR code with zbarimg.
func zbar(t *testing.T, png []byte) string {
	t.Helper()
	bin := testservice.Need(t, "zbarimg")
	out, err := exec.CommandContext(t.Context(), bin, "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable",
		testservice.File(t, "qr.png", png)).Output()
	if err != nil {
		t.Fatalf("reading the QR code: %v", err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// checkMail opens all that a mail to the phone holds: the link in the text and
// in the HTML, and the QR code as two scanners read it.
func checkMail(t *testing.T, p *device.Device, m *dispatchers.Message, data []byte) *mail.Message {
	t.Helper()
	if strings.Contains(string(data), token) {
		t.Error("the clear token is in the mail")
	}
	got := read(t, data)
	if len(got.Pictures) != 1 {
		t.Fatalf("%d pictures", len(got.Pictures))
	}
	for id, picture := range got.Pictures {
		if !strings.Contains(got.HTML, `src="cid:`+id+`"`) {
			t.Errorf("the HTML does not show the picture %s", id)
		}
		if code := zbar(t, picture); code != m.Link {
			t.Errorf("zbar reads %q, want the link", code)
		}
		if opened, err := p.Open(string(picture)); err != nil || opened.Token != token || !opened.Sealed {
			t.Errorf("the phone opens the QR code: %v, %v", opened, err)
		}
	}
	i := strings.Index(got.Text, "https://app.example.com/open")
	if i < 0 {
		t.Fatalf("no link in the text:\n%s", got.Text)
	}
	link, _, _ := strings.Cut(got.Text[i:], "\n")
	if opened, err := p.Open(strings.TrimSpace(link)); err != nil || opened.Token != token || opened.RedeemURL != redeemURL {
		t.Errorf("the phone opens the link: %v, %v", opened, err)
	}
	if !strings.Contains(got.HTML, `href="`+m.Link+`"`) {
		t.Errorf("the HTML does not hold the link:\n%s", got.HTML)
	}
	return got
}

func TestDispatchDelivers(t *testing.T) {
	for name, mode := range map[string]mail.TLS{"starttls": mail.STARTTLS, "implicit": mail.Implicit} {
		t.Run(name, func(t *testing.T) {
			s, d := serve(t, mail.Options{TLS: mode, User: "bank", Password: "hunter2"}, map[string]any{
				"tls": name, "auth": account("hunter2", ""),
			})
			if n := s.Connections(); n != 0 {
				t.Fatalf("provisioning made %d connections", n)
			}
			p := phone(t)
			m := message(t, p, map[string]string{"oob.notification.title": "Confirm payment", "oob.notification.body": "to\nACME"})
			receipt, err := d.Dispatch(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Response != dispatchers.SuccessfulDispatch {
				t.Errorf("response %v", receipt.Response)
			}
			mails := s.Mails()
			if len(mails) != 1 {
				t.Fatalf("%d mails", len(mails))
			}
			got := mails[0]
			if got.From != "login@example.com" || len(got.To) != 1 || got.To[0] != recipient || !got.Encrypted || got.User != "bank" {
				t.Errorf("envelope %s to %v, encrypted %v, user %q", got.From, got.To, got.Encrypted, got.User)
			}
			opened := checkMail(t, p, m, got.Data)
			for header, want := range map[string]string{
				"From":                     `"Example Bank" <login@example.com>`,
				"To":                       "<jeff@example.com>",
				"Subject":                  "Confirm payment",
				"Message-Id":               "<3q2-7wAAAAAAAAAAAAAAAA_mail@example.com>",
				"Auto-Submitted":           "auto-generated",
				"X-Auto-Response-Suppress": "OOF, AutoReply",
				"User-Agent":               "",
				"Content-Type":             `multipart/related; type="multipart/alternative"; boundary=`,
				"X-Mailer":                 "",
			} {
				value := strings.Join(strings.Fields(opened.Header.Get(header)), " ")
				if header == "Content-Type" {
					value, _, _ = strings.Cut(value, "boundary=")
					value += "boundary="
				}
				if value != want {
					t.Errorf("%s: %q, want %q", header, value, want)
				}
			}
			if date, err := opened.Header.Date(); err != nil || time.Since(date) > time.Hour {
				t.Errorf("Date %v, %v", date, err)
			}
			for _, text := range []string{opened.Text, opened.HTML} {
				if !strings.Contains(text, "to\nACME") || strings.Contains(text, "http://") {
					t.Errorf("the text is\n%s", text)
				}
			}
		})
	}
}

func TestWithoutTLSOnThisMachine(t *testing.T) {
	s := startServer(t, mail.Options{TLS: mail.None})
	d := mailer(t, map[string]any{"server": s.Addr(), "tls": "off"})
	dispatch(t, d, plain())
	if got := s.Mails(); len(got) != 1 || got[0].Encrypted {
		t.Errorf("got %d mails", len(got))
	}
}

func TestAuthenticationMechanisms(t *testing.T) {
	for _, test := range []struct {
		offered []string
		kind    string
		used    string // "" for a failure before any credential is sent
	}{
		{[]string{"LOGIN", "PLAIN"}, "", "PLAIN"},
		{[]string{"LOGIN"}, "auto", "LOGIN"},
		{[]string{"XOAUTH2"}, "", ""},
		{[]string{"PLAIN", "LOGIN"}, "login", "LOGIN"},
		{[]string{"PLAIN"}, "plain", "PLAIN"},
		{[]string{"PLAIN", "XOAUTH2"}, "xoauth2", "XOAUTH2"},
		{[]string{"PLAIN"}, "scram-sha-256", ""},
		{[]string{"SCRAM-SHA-256-PLUS"}, "scram-sha-256", ""},
	} {
		t.Run(fmt.Sprint(test.kind, " of ", test.offered), func(t *testing.T) {
			s := startServer(t, mail.Options{User: "bank", Password: "hunter2", Mechanisms: test.offered})
			err := newMailer(t, s, map[string]any{"auth": account("hunter2", test.kind)}).Probe(t.Context())
			used := ""
			for _, command := range s.Commands() {
				if rest, ok := strings.CutPrefix(command, "AUTH "); ok {
					used, _, _ = strings.Cut(rest, " ")
				}
			}
			if used != test.used || (err == nil) != (test.used != "") {
				t.Errorf("used %q, want %q: %v", used, test.used, err)
			}
			if test.used == "" {
				wantFailure(t, err, dispatchers.Broken, "auth")
				return
			}
			wrong := newMailer(t, s, map[string]any{"auth": account("wrong", test.kind)})
			fails(t, wrong, plain(), dispatchers.Broken, "auth")
			if len(s.Mails()) != 0 {
				t.Error("a mail was sent")
			}
		})
	}
}

// TestMechanismsOfSeveralLines: the lines of AUTH are a union, in the old form as
// well.
func TestMechanismsOfSeveralLines(t *testing.T) {
	for _, lines := range []string{
		"250-AUTH PLAIN\r\n250 AUTH GSSAPI NTLM", "250-AUTH GSSAPI\r\n250-auth plain\r\n250 SIZE", "250 AUTH=LOGIN PLAIN",
	} {
		s := startServer(t, mail.Options{User: "bank", Password: "hunter2", TLS: mail.Implicit})
		s.Script(mail.AtEHLO, mail.Pass, mail.Reply("250-mail.example.com\r\n"+lines))
		d := newMailer(t, s, map[string]any{
			"tls": "implicit", "auth": account("hunter2", ""),
		})
		dispatch(t, d, plain())
		if got := s.Mails(); len(got) != 1 || got[0].User != "bank" {
			t.Errorf("%q: %d mails", lines, len(got))
		}
	}
}

func TestPasswordFileIsFollowed(t *testing.T) {
	s := startServer(t, loginServer)
	path := testservice.File(t, "password", []byte("old\n"))
	d := newMailer(t, s, map[string]any{"auth": account("{file."+path+"}", "")})
	fails(t, d, plain(), dispatchers.Broken, "auth")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dispatch(t, d, plain())
}

func TestProbeSendsNothing(t *testing.T) {
	s, d := serve(t, loginServer, map[string]any{"auth": account("hunter2", "")})
	if err := d.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	commands := strings.Join(s.Commands(), "\n")
	if !strings.HasSuffix(commands, "NOOP\nQUIT") || strings.Contains(commands, "MAIL") {
		t.Errorf("the commands were\n%s", commands)
	}
	s.Script(mail.AtNOOP, mail.Reply("421 4.3.2 Shutting down"))
	wantFailure(t, d.Probe(t.Context()), dispatchers.Temporary, "deferred")
}

// TestTLS: none of these servers gets to see a credential, a sender or a
// recipient.
func TestTLS(t *testing.T) {
	starttls, implicit, none := mail.Options{}, mail.Options{TLS: mail.Implicit}, mail.Options{TLS: mail.None}
	certified := func(o mail.Options, c double.Certificate) (mail.Options, string) {
		certificate, ca, err := double.NewCertificate(c)
		if err != nil {
			t.Fatal(err)
		}
		o.Certificate = &certificate
		return o, testservice.File(t, "ca.pem", ca)
	}
	type tc struct {
		server mail.Options
		tls    string
		ca     string // "" for that of another server
		reason string
	}
	cases := map[string]tc{
		"STARTTLS stripped, PLAIN offered in clear": {none, "starttls", "", "starttls"},
		"implicit to a server in clear":             {none, "implicit", "", "tls"},
	}
	for mode, server := range map[string]mail.Options{"starttls": starttls, "implicit": implicit} {
		unknown, _ := certified(server, double.Certificate{})
		cases["self-signed, "+mode] = tc{unknown, mode, "", "tls"}
		expired, ca := certified(server, double.Certificate{Expired: true})
		cases["expired, "+mode] = tc{expired, mode, ca, "tls"}
		wrong, ca := certified(server, double.Certificate{Host: "mail.example.org"})
		cases["wrong name, "+mode] = tc{wrong, mode, ca, "tls"}
	}
	old, ca := certified(none, double.Certificate{})
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{*old.Certificate}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
	})
	if err != nil {
		t.Fatal(err)
	}
	old.Listener = listener
	cases["TLS 1.1"] = tc{old, "implicit", ca, "tls"}

	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			test.server.User, test.server.Password = "bank", "hunter2"
			options := map[string]any{"tls": test.tls, "auth": account("hunter2", "")}
			if test.ca != "" {
				options["ca"] = test.ca
			}
			s, d := serve(t, test.server, options)
			fails(t, d, plain(), dispatchers.Broken, test.reason)
			for _, command := range s.Commands() {
				for _, secret := range []string{"AUTH", "MAIL", "RCPT", "bank", "hunter2", recipient, "login@"} {
					if strings.Contains(command, secret) {
						t.Errorf("the server was told %q", command)
					}
				}
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	certificate, ca, err := double.NewCertificate(double.Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]any{"cert": testservice.File(t, "cert.pem", ca), "key": testservice.File(t, "key.pem", double.KeyPEM(certificate))}
	for name, mode := range map[string]mail.TLS{"starttls": mail.STARTTLS, "implicit": mail.Implicit} {
		s := startServer(t, mail.Options{TLS: mode, ClientCA: ca})
		dispatch(t, newMailer(t, s, map[string]any{"tls": name, "client_cert": files}), plain())
		fails(t, newMailer(t, s, map[string]any{"tls": name}), plain(), dispatchers.Broken, "tls")
		if n := len(s.Mails()); n != 1 {
			t.Errorf("%s: %d mails, want 1", name, n)
		}
	}
}
