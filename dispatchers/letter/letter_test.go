package letter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/letter/internal/sheet/sheettest"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

var today = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

const postal = "Frau | Anna Mustermann | Bahnhofstrasse 1 | 8001 Zürich"

// provision makes the dispatcher ready; its day is today.
func provision(t *testing.T, l *Letter) *Letter {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := l.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return today }
	return l
}

// spooler makes a dispatcher ready that writes to a folder of its own.
func spooler(t *testing.T, l Letter) (_ *Letter, dir string) {
	t.Helper()
	l.Spool = t.TempDir()
	return provision(t, &l), l.Spool
}

// message is one with a sealed envelope of the usual size.
func message(id string, values map[string]string) *dispatchers.Message {
	m := dispatcherstest.Message(postal, values)
	m.ID, m.Operation, m.Dispatcher, m.Expires = id, nevisfido.Registration, "post", today.Add(10*24*time.Hour)
	m.Envelope = m.Envelope.Sealed(strings.Repeat("eyJ4-_", 170))
	return m
}

func dispatch(t *testing.T, l *Letter, m *dispatchers.Message) *dispatchers.Error {
	t.Helper()
	receipt, err := l.Dispatch(t.Context(), m)
	if err == nil {
		if receipt.Response != dispatchers.SuccessfulDispatch {
			t.Errorf("response = %v", receipt.Response)
		}
		return nil
	}
	e, ok := errors.AsType[*dispatchers.Error](err)
	if !ok {
		t.Fatalf("the error has no class: %v", err)
	}
	return e
}

// deliver ends the test unless the letter is delivered.
func deliver(t *testing.T, l *Letter, m *dispatchers.Message) {
	t.Helper()
	if e := dispatch(t, l, m); e != nil {
		t.Fatal(e)
	}
}

func wantFailure(t *testing.T, err error, class dispatchers.Class, reason string) {
	t.Helper()
	dispatcherstest.WantFailure(t, err, class, reason, "Mustermann", "Bahnhofstrasse", "eyJ4-_", "geheim")
}

// spooled returns the PDF and the ticket of a letter.
func spooled(t *testing.T, dir, id string) (pdf []byte, ticket Ticket) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &ticket); err != nil {
		t.Fatal(err)
	}
	if pdf, err = os.ReadFile(filepath.Join(dir, ticket.File)); err != nil {
		t.Fatal(err)
	}
	return pdf, ticket
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func wantNames(t *testing.T, dir, want string) {
	t.Helper()
	if got := names(t, dir); got != want {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func TestLettersOfAllLanguages(t *testing.T) {
	l, dir := spooler(t, Letter{Sender: "Beispielbank AG; Postfach; 8010 Zürich"})
	operations := nevisfido.Operations()
	for i, lang := range []string{"de", "fr", "it", "en"} {
		m := message(lang, map[string]string{
			"oob.data.language": lang, "oob.name": "Téléphone d’Anna", "oob.visual_code": "4711",
			"oob.notification.body": "Zahlung über CHF 100.– an Žofie Đoković",
		})
		m.Operation = operations[i%len(operations)]
		if lang == "en" { // with a base_url
			m.Link, m.LinkConfigured = nevisfido.Link("https://app.example.com/open", m.Envelope), true
		}
		deliver(t, l, m)
		pdf, ticket := spooled(t, dir, lang+"_post")
		if ticket.Language != lang || ticket.Operation != m.Operation {
			t.Errorf("%s: ticket = %+v", lang, ticket)
		}
		code, text := sheettest.Scan(t, pdf)
		if code != m.CodeContent() || (code == m.Link) != (lang == "en") {
			t.Errorf("%s: the QR code holds %q", lang, code)
		}
		for _, want := range []string{"Frau", "Anna Mustermann", "8001 Zürich", "Beispielbank AG, Postfach, 8010 Zürich", "4711", "09:30 UTC", "Žofie Đoković"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q: %s", lang, want, text)
			}
		}
	}
}

func TestTicket(t *testing.T) {
	l, dir := spooler(t, Letter{Window: "left"})
	deliver(t, l, message("Ab-9_", nil))
	pdf, ticket := spooled(t, dir, "Ab-9__post")
	checkDigest(t, pdf, ticket)
	ticket.SHA256, ticket.Size = "", 0
	want := Ticket{
		Version: 1, ID: "Ab-9__post", Operation: "registration", Language: "en", Created: today,
		Expires: today.Add(240 * time.Hour), File: "Ab-9__post.pdf", Pages: 1, Window: "left",
	}
	if ticket != want {
		t.Errorf("ticket = %+v, want %+v", ticket, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, "Ab-9__post.json"))
	if err != nil || bytes.Contains(text, []byte("Muster")) || bytes.Contains(text, []byte("eyJ")) || bytes.Count(text, []byte("\n")) != 1 {
		t.Errorf("the ticket tells the address or the message, or is not one line (%v): %s", err, text)
	}
	for _, name := range []string{"Ab-9__post.json", "Ab-9__post.pdf"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", name, err, info.Mode())
		}
	}
}

func TestHostileTexts(t *testing.T) {
	l, dir := spooler(t, Letter{})
	m := message("hostile", map[string]string{
		"oob.notification.title": "{{.Username}} {env.HOME} <script>alert(1)</script>\r\nX: y",
		"oob.notification.body":  "a\u202eb\u2066c) Tj ET \\( %PDF\x00\x1b[2J \U0001F510 ok",
		"oob.name":               strings.Repeat("W", 60),
		"oob.username":           "geheim",
	})
	m.Operation = nevisfido.Authentication
	m.Address = "Ke\u0301vin (Straße) \\) | {{.Username}} | <b>8001</b> 🏠 Nguyễn"
	deliver(t, l, m)
	pdf, _ := spooled(t, dir, "hostile_post")
	code, text := sheettest.Scan(t, pdf)
	if code != m.Envelope.Encoded() {
		t.Error("the QR code is not that of the message")
	}
	for _, want := range []string{
		"{{.Username}} {env.HOME} <script>alert(1)</script> X: y", "abc) Tj ET \\( %PDF", "[2J", "ok",
		`Kévin (Straße) \)`, "<b>8001</b>", "Nguyen",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the letter lacks %q: %s", want, text)
		}
	}
	if strings.Contains(text, "geheim") || strings.ContainsAny(text, "\u202e\u2066\x00\x1b") {
		t.Errorf("a value was expanded, or a control character printed: %q", text)
	}
}

func TestRefusals(t *testing.T) {
	l, dir := spooler(t, Letter{MinLifetime: caddy.Duration(48 * time.Hour)})
	title, body := "oob.notification.title", "oob.notification.body"
	tests := []struct {
		name   string
		values map[string]string
		change func(*dispatchers.Message)
		class  dispatchers.Class
		reason string
	}{
		{"dies too soon", nil, func(m *dispatchers.Message) { m.Expires = today.Add(48*time.Hour - time.Second) }, dispatchers.Refused, "lifetime"},
		{"dead", nil, func(m *dispatchers.Message) { m.Expires = today.Add(-time.Hour) }, dispatchers.Refused, "lifetime"},
		{"unknown lifetime", nil, func(m *dispatchers.Message) { m.Expires = time.Time{} }, dispatchers.Refused, "lifetime"},
		{"no postal address", nil, func(m *dispatchers.Message) { m.Address = "anna.mustermann@example.com" }, dispatchers.Refused, "address"},
		{"too wide an address", nil, func(m *dispatchers.Message) { m.Address = strings.Repeat("W", 60) + "|Mustermann" }, dispatchers.Refused, "too_long"},
		{"address in another script", nil, func(m *dispatchers.Message) { m.Address = "山田太郎 | Mustermann" }, dispatchers.Refused, "character"},
		{"long title", map[string]string{title: strings.Repeat("geheim ", 1000)}, nil, dispatchers.Refused, "too_long"},
		{"long body", map[string]string{body: strings.Repeat("geheim ", 1000)}, nil, dispatchers.Refused, "too_long"},
		{"many lines", map[string]string{body: strings.Repeat("geheim\n", 100)}, nil, dispatchers.Refused, "too_long"},
		{"endless body", map[string]string{body: strings.Repeat("geheim ", 100_000)}, nil, dispatchers.Refused, "too_long"},
		{"endless word", map[string]string{body: strings.Repeat("geheim", 20_000)}, nil, dispatchers.Refused, "too_long"},
		{"body in another script", map[string]string{body: "مرحبا"}, nil, dispatchers.Refused, "character"},
		{"message too big for a QR code", nil, func(m *dispatchers.Message) {
			m.Envelope = m.Envelope.Sealed(strings.Repeat("eyJ4-_", 500))
		}, dispatchers.Refused, "too_long"},
		{"ID with a path", nil, func(m *dispatchers.Message) { m.ID = "../x" }, dispatchers.Broken, "id"},
		{"no ID", nil, func(m *dispatchers.Message) { m.ID = "" }, dispatchers.Broken, "id"},
		{"dispatcher with a path", nil, func(m *dispatchers.Message) { m.Dispatcher = "../../x" }, dispatchers.Broken, "id"},
		{"dispatcher without a name", nil, func(m *dispatchers.Message) { m.Dispatcher = "" }, dispatchers.Broken, "id"},
		{"unknown operation", nil, func(m *dispatchers.Message) { m.Operation = "payment" }, dispatchers.Broken, "template"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message("refused", tt.values)
			if tt.change != nil {
				tt.change(m)
			}
			wantFailure(t, dispatch(t, l, m), tt.class, tt.reason)
			wantNames(t, dir, "")
		})
	}
	if e := dispatch(t, l, message("good", nil)); e != nil {
		t.Errorf("a good letter afterwards: %v", e)
	}
}

func TestCanceledWhileDrawing(t *testing.T) {
	l := provision(t, &Letter{Spool: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Dispatch(ctx, message("x", nil))
	wantFailure(t, err, dispatchers.Temporary, "busy")
}

func TestTraits(t *testing.T) {
	traits := new(Letter).Traits()
	want := dispatchers.Limit{Scope: dispatchers.PerTarget, N: 1, Window: 24 * time.Hour}
	if traits.AnswersCaller || traits.AddressOptional || traits.BuiltIn != "" || len(traits.Limits) != 1 || traits.Limits[0] != want {
		t.Errorf("traits = %+v", traits)
	}
}
