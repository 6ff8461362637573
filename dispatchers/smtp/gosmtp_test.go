package smtp

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	emersion "github.com/emersion/go-smtp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

// mailbox is a server made with go-smtp, which others have written.
type mailbox struct {
	addr string
	ca   string // file

	mu    sync.Mutex
	mails []delivery
}

type delivery struct {
	from string
	to   []string
	data []byte
}

func startGoSMTP(t *testing.T, implicit bool) *mailbox {
	t.Helper()
	certificate, ca, err := mail.NewCertificate(mail.Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &mailbox{addr: listener.Addr().String(), ca: write(t, "ca.pem", ca)}
	s := emersion.NewServer(emersion.BackendFunc(b.session))
	s.Domain = "mail.example.com"
	s.EnableSMTPUTF8 = true
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if implicit {
		listener = tls.NewListener(listener, s.TLSConfig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return b
}

func (b *mailbox) session(*emersion.Conn) (emersion.Session, error) {
	return &visit{mailbox: b}, nil
}

// visit is one connection.
type visit struct {
	mailbox *mailbox
	known   bool
	present delivery
}

func (v *visit) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "bank" || password != "hunter2" {
			return errors.New("wrong password")
		}
		v.known = true
		return nil
	}), nil
}

func (v *visit) Mail(from string, _ *emersion.MailOptions) error {
	if !v.known {
		return emersion.ErrAuthRequired
	}
	v.present = delivery{from: from}
	return nil
}

func (v *visit) Rcpt(to string, _ *emersion.RcptOptions) error {
	switch to {
	case "gone@example.com":
		return &emersion.SMTPError{Code: 550, EnhancedCode: emersion.EnhancedCode{5, 1, 1}, Message: "no " + to}
	case "busy@example.com":
		return &emersion.SMTPError{Code: 451, EnhancedCode: emersion.EnhancedCode{4, 7, 1}, Message: "later"}
	}
	v.present.to = append(v.present.to, to)
	return nil
}

func (v *visit) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if v.present.to[0] == "late@example.com" {
		return &emersion.SMTPError{Code: 554, EnhancedCode: emersion.EnhancedCode{5, 6, 0}, Message: "spam"}
	}
	v.present.data = data
	v.mailbox.mu.Lock()
	defer v.mailbox.mu.Unlock()
	v.mailbox.mails = append(v.mailbox.mails, v.present)
	return nil
}

func (v *visit) Reset()        { v.present = delivery{} }
func (v *visit) Logout() error { return nil }

func TestGoSMTP(t *testing.T) {
	for mode, implicit := range map[string]bool{"starttls": false, "implicit": true} {
		t.Run(mode, func(t *testing.T) {
			b := startGoSMTP(t, implicit)
			options := map[string]any{
				"server": b.addr, "tls": mode, "ca": b.ca, "from": "login@example.com",
				"auth": map[string]any{"username": "bank", "password": "hunter2"},
			}
			d, err := load(t, options)
			if err != nil {
				t.Fatal(err)
			}
			p := phone(t)
			m := message(t, p, nil)
			for _, test := range []struct {
				to     string
				class  dispatchers.Class
				reason string
			}{
				{"gone@example.com", dispatchers.Expired, "no_mailbox"},
				{"busy@example.com", dispatchers.Temporary, "deferred"},
				{"late@example.com", dispatchers.Refused, "rejected"},
			} {
				m.Address = test.to
				_, err := d.Dispatch(t.Context(), m)
				wantFailure(t, err, test.class, test.reason)
			}
			m.Address = recipient
			if _, err := d.Dispatch(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if len(b.mails) != 1 {
				t.Fatalf("%d mails, want 1", len(b.mails))
			}
			got := b.mails[0]
			if got.from != "login@example.com" || len(got.to) != 1 || got.to[0] != recipient {
				t.Errorf("from %s to %v", got.from, got.to)
			}
			checkMail(t, p, m, got.data)
		})
	}
}
