package smtp

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

// hostile are values that try to leave their place.
var hostile = []string{
	"a\r\nBcc: eve@example.org", "a\nX-Evil: 1\n\nbody", "a\rX-Evil: 1", "\r\n.\r\nMAIL FROM:<eve@example.org>\r\n",
	"=?utf-8?q?a=0D=0AX-Evil:_1?=", "{{.Link}}{{define \"text\"}}", "{env.PATH}{file./etc/passwd}{oob.link}", "<script>alert(1)</script>",
	`"><img src=x onerror=alert(1)>`, "\x00\x1b[2J", "a\u2028b\u2029c", "\u202egnp.exe", "\xff\xfe", strings.Repeat("ü", 5000),
	strings.Repeat("x", 5000), "--boundary", "Zürich 🇨🇭", "",
}

// headers are those of every mail.
var headers = []string{
	"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To", "X-Auto-Response-Suppress",
}

func TestValuesStayInTheirPlace(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	withSubject := newMailer(t, s, map[string]any{"subject": "{oob.notification.title} {oob.data.x}"})
	p := phone(t)
	for _, value := range hostile {
		m := message(t, p, map[string]string{
			"oob.notification.title": value, "oob.notification.body": value, "oob.name": value,
			"oob.username": value, "oob.visual_code": value, "oob.data.x": value, "oob.data.language": value,
		})
		for _, d := range []*Mailer{d, withSubject} {
			before := len(s.Mails())
			if _, err := d.Dispatch(t.Context(), m); err != nil {
				t.Fatalf("%q: %v", value, err)
			}
			mails := s.Mails()[before:]
			if len(mails) != 1 || len(mails[0].To) != 1 || mails[0].To[0] != recipient {
				t.Fatalf("%q: got %d mails", value, len(mails))
			}
			checkHostile(t, m, mails[0].Data, value)
		}
	}
}

func checkHostile(t *testing.T, m *dispatchers.Message, data []byte, value string) {
	t.Helper()
	got := read(t, data)
	if !strings.Contains(got.Text, "\n"+m.Link+"\n") || !strings.Contains(got.HTML, `href="`+m.Link+`"`) || len(got.Pictures) != 1 {
		t.Errorf("%q: the link or the picture is not in its place", value)
	}
	if names := slices.Sorted(maps.Keys(got.Header)); !slices.Equal(names, headers) {
		t.Errorf("%q: the headers are %v", value, names)
	}
	for name, values := range got.Header {
		if len(values) != 1 || strings.ContainsFunc(values[0], func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q: %s is %q", value, name, values)
		}
	}
	if strings.ContainsAny(got.Subject, "\r\n\x00\x1b\u202e\u2028") || len([]rune(got.Subject)) > maxSubject {
		t.Errorf("%q: the subject is %q", value, got.Subject)
	}
	for _, bad := range []string{"<script", "<img src=x", "\u202e", "PATH=", "root:"} {
		if strings.Contains(got.HTML, bad) || bad != "<script" && bad != "<img src=x" && strings.Contains(got.Text, bad) {
			t.Errorf("%q: the mail holds %q", value, bad)
		}
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if len(line) > 998 {
			t.Errorf("%q: a line of %d bytes", value, len(line))
		}
	}
}

func TestSubject(t *testing.T) {
	s := startServer(t, mail.Options{})
	p := phone(t)
	for _, test := range []struct{ option, title, want string }{
		{"", "", "Confirm your login"},
		{"", "Überweisung an Jürg", "Überweisung an Jürg"},
		{"Bank: {oob.notification.title}", "Zahlung\r\nX-Evil: 1", "Bank: Zahlung X-Evil: 1"},
		{"{oob.notification.title}", "{oob.data.x}", "{oob.data.x}"},
		{"{oob.notification.title}", strings.Repeat("ü", 300), strings.Repeat("ü", maxSubject-1) + "…"},
	} {
		d := newMailer(t, s, map[string]any{"subject": test.option})
		m := message(t, p, map[string]string{"oob.notification.title": test.title, "oob.data.x": "expanded"})
		dispatch(t, d, m)
		got, err := s.Wait(t.Context(), recipient)
		if err != nil {
			t.Fatal(err)
		}
		if subject := read(t, got.Data).Subject; subject != test.want {
			t.Errorf("%q with %q: got %q, want %q", test.option, test.title, subject, test.want)
		}
		if header, _, _ := strings.Cut(string(got.Data), "\n\n"); strings.Contains(header, "Subject:\n") || strings.Contains(header, "Subject: \n") {
			t.Errorf("%q: the subject begins on the line after its name", test.title)
		}
	}
}

func TestWithoutBaseURLTheCodeHoldsTheMessage(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	p := phone(t)
	m := message(t, p, nil)
	m.LinkConfigured, m.Link = false, ""
	dispatch(t, d, m)
	got := read(t, s.Mails()[0].Data)
	for _, picture := range got.Pictures {
		if code := zbar(t, picture); code != m.Envelope.Encoded() {
			t.Errorf("zbar reads %q", code)
		}
		if opened, err := p.Open(string(picture)); err != nil || opened.Token != token {
			t.Errorf("the phone opens %v, %v", opened, err)
		}
	}
	if len(got.Pictures) != 1 || strings.Contains(got.HTML, "href") {
		t.Errorf("%d pictures, and the HTML\n%s", len(got.Pictures), got.HTML)
	}
}

// TestPictureOfTheVisualCode: it is in the mail where the text shows it, and
// only there, beside the QR code.
func TestPictureOfTheVisualCode(t *testing.T) {
	own := t.TempDir()
	if err := os.WriteFile(filepath.Join(own, "authentication.en.html"), []byte(`<img src="{{.Picture}}">`), 0o600); err != nil {
		t.Fatal(err)
	}
	picture := visualcode.New(token, 4)
	want, err := picture.PNG()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		picture   *visualcode.Picture
		templates string
		shown     bool
	}{{picture, "", true}, {nil, "", false}, {picture, own, false}} {
		s, d := serve(t, mail.Options{}, map[string]any{"templates": test.templates})
		m := message(t, phone(t), map[string]string{"oob.visual_code": picture.Digits})
		m.VisualCodePicture = test.picture
		dispatch(t, d, m)
		got := read(t, s.Mails()[0].Data)
		codes, patterns := 0, 0
		for id, content := range got.Pictures {
			if !strings.Contains(got.HTML, `src="cid:`+id+`"`) {
				t.Errorf("the HTML does not show the picture %s", id)
			}
			if bytes.Equal(content, want) {
				patterns++
			} else if zbar(t, content) == m.Link {
				codes++
			}
		}
		if codes != 1 || (patterns == 1) != test.shown || len(got.Pictures) != codes+patterns {
			t.Errorf("%+v: %d pictures, of these %d QR codes and %d visual codes", test, len(got.Pictures), codes, patterns)
		}
	}
}

func TestTooLongForACode(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	p, err := device.New(device.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := message(t, p, nil)
	content := nevisfido.NewContent(token, redeemURL)
	jwe, err := p.Keys()[0].Public().Seal([]byte(strings.TrimSuffix(string(content.JSON()), "}") + `,"x":"` + strings.Repeat("x", 3000) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	m.Envelope = content.Envelope().Sealed(jwe)
	m.Link = nevisfido.Link("https://app.example.com/open", m.Envelope)
	dispatch(t, d, m)
	got := read(t, s.Mails()[0].Data)
	if len(got.Pictures) != 0 || strings.Contains(got.HTML, "cid:") || !strings.Contains(got.Text, m.Link) {
		t.Errorf("%d pictures, and the text\n%s", len(got.Pictures), got.Text)
	}
	m.Link, m.LinkConfigured = "", false
	fails(t, d, m, dispatchers.Refused, "too_big")
}

// TestMailsThatCannotBeWritten: nothing of them gets to the server.
func TestMailsThatCannotBeWritten(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	huge := map[string]string{"oob.notification.body": strings.Repeat("ü", 1<<20)}
	for _, test := range []struct {
		id, address string
		values      map[string]string
		class       dispatchers.Class
		reason      string
	}{
		{"id", recipient + "\r\nBcc: eve@example.org", nil, dispatchers.Refused, "bad_address"},
		{"id", "", nil, dispatchers.NoTarget, "no_address"},
		{"id", recipient, huge, dispatchers.Refused, "too_big"},
		{"a>\r\nX-Evil: 1", recipient, nil, dispatchers.Broken, "id"},
	} {
		m := message(t, phone(t), test.values)
		m.ID, m.Address = test.id, test.address
		fails(t, d, m, test.class, test.reason)
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestAttemptsShareTheMessageID(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	s.Script(mail.AtEnd, mail.Reply("451 4.3.0 Try again"), mail.Pass, mail.Pass)
	m := message(t, phone(t), nil)
	fails(t, d, m, dispatchers.Temporary, "deferred")
	for range 2 {
		dispatch(t, d, m)
	}
	other := message(t, phone(t), nil)
	other.ID, other.Dispatcher = "another", "mail.2"
	dispatch(t, d, other)
	var ids []string
	for _, got := range s.Mails() {
		ids = append(ids, read(t, got.Data).Header.Get("Message-Id"))
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("the Message-IDs are %q", ids)
	}
}
