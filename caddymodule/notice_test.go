package caddymodule

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	postbox "github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

// phone registers a phone at the site.
func (s *site) phone(o device.Options) *device.Device {
	s.t.Helper()
	phone, err := device.New(o)
	if err == nil {
		err = phone.Register(s.t.Context(), "http://"+s.address+"/nevisfido", device.Registration{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return phone
}

// A gateway hears of a new device and of a new key, and of nothing else. It is
// counted, and stands in the audit trail.
func TestWebhookHearsOfChangedKeys(t *testing.T) {
	sms, err := gateway.Start(gateway.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sms.Close)
	audit := filepath.Join(t.TempDir(), "audit.jsonl")
	s := startSite(t, `
		audit file `+audit+`
		on_key_change webhook {
			url `+sms.URL()+`
			header X-Event {oob.event}
		}
		dispatcher open link`)
	delivered := s.metric(`caddy_oob_notices_total{notice="on_key_change",outcome="delivered"}`) // which is there from the start
	phone := s.phone(device.Options{Username: "jeff", Name: "Jeff's phone"})
	wait := func(event string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		m, err := sms.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"event":"` + event + `"`, `"username":"jeff"`, `"target_id":"` + phone.TargetID() + `"`, `"dispatcher":"on_key_change"`} {
			if !strings.Contains(string(m.Body), want) {
				t.Errorf("%s: the gateway got %s, want %s", event, m.Body, want)
			}
		}
		if m.Header.Get("X-Event") != event || m.Header.Get("Webhook-Id") == "" {
			t.Errorf("%s: the header is %v", event, m.Header)
		}
	}
	wait("learned")
	change := func(c device.Change) {
		t.Helper()
		if err := phone.Modify(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	change(device.Change{Name: "another name", Target: "another address"})
	change(device.Change{NewKey: "P-256"})
	wait("key_changed")
	testservice.Until(t, func() bool {
		return s.metric(`caddy_oob_notices_total{notice="on_key_change",outcome="delivered"}`) == delivered+2
	}, func() string { return "the metric does not count" })
	if n := len(sms.Messages()); n != 2 {
		t.Errorf("the gateway got %d messages", n)
	}
	testservice.Until(t, func() bool {
		content, err := os.ReadFile(audit)
		return err == nil && strings.Count(string(content), `"event":"notice","dispatcher":"on_key_change"`) == 2
	}, func() string { return "the audit trail does not tell of both" })
}

// Users hear of it by mail, in their language's texts, without a link or a token:
// at the address of the key source, unless that is the one of the target itself.
func TestMailTellsOfChangedKeys(t *testing.T) {
	server, err := postbox.Start(postbox.Options{TLS: postbox.None})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	directory, err := idm.Start(idm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(directory.Close)
	directory.SetUser(idm.User{ExtID: "jeff", LoginID: "jeff", Email: "jeff@example.com"})
	s := startSite(t, fmt.Sprintf(`
		key_source nevisidm %s {
			client 100
			auth basic x y
		}
		on_key_change smtp {
			server %s
			tls off
			from "Example Bank <login@bank.example>"
			language de
			address {oob.user.email}
		}
		dispatcher open link`, directory.URL(), server.Addr()))
	own := s.metric(`caddy_oob_notices_total{notice="on_key_change",outcome="refused"}`)
	s.phone(device.Options{Username: "jeff", Target: "Jeff@example.com"})
	testservice.Until(t, func() bool {
		return s.metric(`caddy_oob_notices_total{notice="on_key_change",outcome="refused"}`) == own+1
	}, func() string { return "the notice to the target itself is not counted" })
	phone := s.phone(device.Options{Username: "jeff", Name: "Jeffs Telefon"})
	read := func(subject, text string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		m, err := server.Wait(ctx, "jeff@example.com")
		if err != nil {
			t.Fatal(err)
		}
		got, err := postbox.Read(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if got.Subject != subject || !strings.Contains(got.Text, text) || !strings.Contains(got.Text, "Jeffs Telefon") || !strings.Contains(got.Text, "Example Bank") {
			t.Errorf("the mail is %q: %s", got.Subject, got.Text)
		}
		if got.HTML != "" || len(got.Pictures) > 0 || strings.Contains(got.Text, "://") {
			t.Errorf("the mail has more than a text: %s", m.Data)
		}
	}
	read("Ein Gerät wurde hinzugefügt", "kann ab jetzt")
	if err := phone.Modify(t.Context(), device.Change{NewKey: "P-384"}); err != nil {
		t.Fatal(err)
	}
	read("Der Schlüssel eines Geräts wurde erneuert", "neuen Schlüssel")
	if n := len(server.Mails()); n != 0 {
		t.Errorf("%d further mails", n)
	}
}

// Whatever becomes of a notice, the call that changed the key does not wait for it
// and does not fail.
func TestNoticeHoldsUpNothing(t *testing.T) {
	s := startSite(t, `
		on_key_change webhook {
			url http://`+testservice.FreeAddress(t)+`
			retries 10
			max_concurrent 1
		}
		dispatcher open link`)
	left := s.metric(`caddy_oob_notices_total{notice="on_key_change",outcome="refused"}`)
	start := time.Now()
	for range 3 {
		s.phone(device.Options{KeyKind: "P-256"})
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("three registrations took %s", took)
	}
	if refused := s.metric(`caddy_oob_notices_total{notice="on_key_change",outcome="refused"}`); refused != left+2 {
		t.Errorf("%v notices were left out, want 2", refused-left)
	}
}
