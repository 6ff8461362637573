package smtp

import (
	"net/mail"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	simulated "github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

func TestMailTargets(t *testing.T) {
	local64, label63 := strings.Repeat("a", 64), strings.Repeat("b", 63)
	long := "a@" + label63 + "." + label63 + "." + label63 + "." + strings.Repeat("c", 57) + ".ch" // 254 with a@
	for _, test := range []struct{ name, text, want string }{
		{"plain", "jeff@example.com", "jeff@example.com"},
		{"dots, tag and apostrophe", "anna.o'muster+bank@mail.example.co.uk", "anna.o'muster+bank@mail.example.co.uk"},
		{"the local part keeps its case", "Jeff@EXAMPLE.com", "Jeff@example.com"},
		{"international domain", "jeff@Zürich.example", "jeff@xn--zrich-kva.example"},
		{"sharp s", "jeff@straße.example", "jeff@xn--strae-oqa.example"},
		{"punycode", "jeff@xn--zrich-kva.example", "jeff@xn--zrich-kva.example"},
		{"local part of 64", local64 + "@example.com", local64 + "@example.com"},
		{"254 characters", long, long},

		{"local part of 65", local64 + "a@example.com", ""},
		{"255 characters", "a" + long, ""},
		{"254 characters, more as punycode", "a@" + strings.Repeat("ü.", 80) + "ch", ""},
		{"huge", strings.Repeat("a", 1<<20) + "@example.com", ""},
		{"empty", "", ""},
		{"no @", "jeff", ""},
		{"no local part", "@example.com", ""},
		{"no domain", "jeff@", ""},
		{"two @", "jeff@example.com@example.org", ""},
		{"list", "jeff@example.com,eve@example.org", ""},
		{"list with semicolon", "jeff@example.com;eve@example.org", ""},
		{"two addresses", "jeff@example.com eve@example.org", ""},
		{"group", "all:jeff@example.com;", ""},
		{"display name", "Jeff <jeff@example.com>", ""},
		{"angle brackets", "<jeff@example.com>", ""},
		{"comment", "jeff(eve)@example.com", ""},
		{"header", "jeff@example.com\r\nBcc: eve@example.org", ""},
		{"command", "jeff@example.com>\r\nRCPT TO:<eve@example.org", ""},
		{"line feed", "jeff@example.com\n", ""},
		{"carriage return", "jeff\r@example.com", ""},
		{"NUL", "jeff\x00@example.com", ""},
		{"tab", "jeff@example\t.com", ""},
		{"DEL", "jeff\x7f@example.com", ""},
		{"space", " jeff@example.com", ""},
		{"quoted", `"jeff"@example.com`, ""},
		{"quoted with CRLF", "\"jeff\r\n\"@example.com", ""},
		{"backslash", `je\ff@example.com`, ""},
		{"address literal", "jeff@[127.0.0.1]", ""},
		{"IPv6 literal", "jeff@[IPv6:::1]", ""},
		{"bare IP address", "jeff@127.0.0.1", ""},
		{"number as top level", "jeff@example.123", ""},
		{"bare host", "jeff@localhost", ""},
		{"final dot", "jeff@example.com.", ""},
		{"bare host with final dot", "jeff@localhost.", ""},
		{"empty label", "jeff@example..com", ""},
		{"leading dot in the domain", "jeff@.example.com", ""},
		{"label of 64", "jeff@" + label63 + "b.com", ""},
		{"hyphen at the end of a label", "jeff@example-.com", ""},
		{"underscore", "jeff@ex_ample.com", ""},
		{"dots in the local part", "je..ff@example.com", ""},
		{"dot at the start", ".jeff@example.com", ""},
		{"dot at the end", "jeff.@example.com", ""},
		{"UTF-8 local part", "jürg@example.com", ""},
		{"percent hack", "eve%example.org@example.com", ""},
		{"bang path", "example.org!eve@example.com", ""},
		{"source route", "@example.org:jeff@example.com", ""},
		{"pipe", "|id@example.com", ""},
		{"option", "-oQ/tmp@example.com", ""},
		{"file", "/etc/passwd@example.com", ""},
		{"ideographic dot", "jeff@example。com", ""},
		{"full-width letters", "jeff@ｅxample.com", ""},
		{"soft hyphen", "jeff@exam\u00adple.com", ""},
		{"zero-width space", "jeff@exam\u200bple.com", ""},
		{"right-to-left override", "jeff@\u202eexample.com", ""},
		{"bad UTF-8", "jeff@ex\xffample.com", ""},
		{"bad punycode", "jeff@xn--\u00fc.com", ""},
		{"a push token", "cXyZ:APA91bH-_x", ""},
		{"a URL", "https://eve@example.org/", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseAddress(test.text)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestOnlyTheParsedAddressIsUsed(t *testing.T) {
	s := startServer(t, simulated.Options{})
	d := newMailer(t, s, nil)
	m := plain()
	m.Address = "Jeff@Zürich.example"
	if _, err := d.Dispatch(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := s.Mails()
	if len(got) != 1 || len(got[0].To) != 1 || got[0].To[0] != "Jeff@xn--zrich-kva.example" {
		t.Fatalf("got %+v", got)
	}
	if to := read(t, got[0].Data).Header.Get("To"); to != "<Jeff@xn--zrich-kva.example>" {
		t.Errorf("To: %s", to)
	}
}

func TestBadAddressesAreNotSentTo(t *testing.T) {
	s := startServer(t, simulated.Options{})
	d := newMailer(t, s, nil)
	m := plain()
	m.Address = recipient + "\r\nBcc: eve@example.org"
	_, err := d.Dispatch(t.Context(), m)
	wantFailure(t, err, dispatchers.Refused, "bad_address")
	m.Address = ""
	_, err = d.Dispatch(t.Context(), m)
	wantFailure(t, err, dispatchers.NoTarget, "no_address")
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// FuzzAddress: what is accepted is one address for the standard library too,
// cannot leave its place in a command or header, and does not change again.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{
		"jeff@example.com", "jeff@Zürich.example", "a@b\r\n.ch", `"a"@b.ch`, "a@[1.2.3.4]", "a%b@c.ch", "a@ｂ.ch", "a@xn--zrich-kva.ch",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := parseAddress(text)
		if err != nil {
			return
		}
		parsed, err := mail.ParseAddress(address)
		if err != nil || parsed.Address != address || parsed.Name != "" {
			t.Errorf("%q: net/mail reads %v, %v", address, parsed, err)
		}
		if again, err := parseAddress(address); err != nil || again != address {
			t.Errorf("%q becomes %q, %v", address, again, err)
		}
		if len(address) > maxAddress || strings.ContainsFunc(address, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune(`<>()[]\",;:|%!`, r)
		}) {
			t.Errorf("%q", address)
		}
	})
}
