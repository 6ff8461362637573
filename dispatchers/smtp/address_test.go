package smtp

import (
	"net/mail"
	"strings"
	"testing"

	simulated "github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

func TestMailTargets(t *testing.T) {
	local64, label63 := strings.Repeat("a", 64), strings.Repeat("b", 63)
	long := "a@" + label63 + "." + label63 + "." + label63 + "." + strings.Repeat("c", 57) + ".ch" // 254 with a@
	for text, want := range map[string]string{
		"jeff@example.com":                      "jeff@example.com",
		"anna.o'muster+bank@mail.example.co.uk": "anna.o'muster+bank@mail.example.co.uk",
		"Jeff@EXAMPLE.com":                      "Jeff@example.com",
		"jeff@Zürich.example":                   "jeff@xn--zrich-kva.example",
		"jeff@straße.example":                   "jeff@xn--strae-oqa.example",
		"jeff@xn--zrich-kva.example":            "jeff@xn--zrich-kva.example",
		local64 + "@example.com":                local64 + "@example.com",
		long:                                    long,
	} {
		if got, err := parseAddress(text); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		local64 + "a@example.com", "a" + long, "a@" + strings.Repeat("ü.", 80) + "ch",
		strings.Repeat("a", 1<<20) + "@example.com", "", "jeff", "@example.com", "jeff@", "jeff@example.com@example.org",
		"jeff@example.com,eve@example.org", "jeff@example.com;eve@example.org", "jeff@example.com eve@example.org",
		"all:jeff@example.com;", "Jeff <jeff@example.com>", "<jeff@example.com>", "jeff(eve)@example.com",
		"jeff@example.com\r\nBcc: eve@example.org", "jeff@example.com>\r\nRCPT TO:<eve@example.org", "jeff@example.com\n",
		"jeff\r@example.com", "jeff\x00@example.com", "jeff@example\t.com", "jeff\x7f@example.com", " jeff@example.com",
		`"jeff"@example.com`, "\"jeff\r\n\"@example.com", `je\ff@example.com`, "jeff@[127.0.0.1]", "jeff@[IPv6:::1]",
		"jeff@127.0.0.1", "jeff@example.123", "jeff@localhost", "jeff@example.com.", "jeff@localhost.", "jeff@example..com",
		"jeff@.example.com", "jeff@" + label63 + "b.com", "jeff@example-.com", "jeff@ex_ample.com", "je..ff@example.com",
		".jeff@example.com", "jeff.@example.com", "jürg@example.com", "eve%example.org@example.com",
		"example.org!eve@example.com", "@example.org:jeff@example.com", "|id@example.com", "-oQ/tmp@example.com",
		"/etc/passwd@example.com", "jeff@example。com", "jeff@ｅxample.com", "jeff@exam\u00adple.com", "jeff@exam\u200bple.com",
		"jeff@\u202eexample.com", "jeff@ex\xffample.com", "jeff@xn--\u00fc.com", "cXyZ:APA91bH-_x", "https://eve@example.org/",
	} {
		if got, err := parseAddress(text); got != "" || err == nil {
			t.Errorf("%.80q: got %q, %v", text, got, err)
		}
	}
}

func TestOnlyTheParsedAddressIsUsed(t *testing.T) {
	s, d := serve(t, simulated.Options{}, nil)
	m := plain()
	m.Address = "Jeff@Zürich.example"
	dispatch(t, d, m)
	got := s.Mails()
	if len(got) != 1 || len(got[0].To) != 1 || got[0].To[0] != "Jeff@xn--zrich-kva.example" ||
		read(t, got[0].Data).Header.Get("To") != "<Jeff@xn--zrich-kva.example>" {
		t.Fatalf("got %+v", got)
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
