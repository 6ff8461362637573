package docs

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/letter"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

const templates = "docs/templates.md"

// fencedFile is a block of code that names its file.
var fencedFile = regexp.MustCompile("(?ms)^```[a-z]+ (mail|letter)/([a-z.]+)\n(.*?)^```$")

// exampleFolders writes the files of the example, and returns the folders by
// what they are for.
func exampleFolders(t *testing.T) map[string]string {
	t.Helper()
	dirs := map[string]string{"mail": t.TempDir(), "letter": t.TempDir()}
	for _, file := range fencedFile.FindAllStringSubmatch(readFile(t, templates), -1) {
		if err := os.WriteFile(filepath.Join(dirs[file[1]], file[2]), []byte(file[3]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dirs
}

// TestExampleMail renders the mail of docs/templates.md.
func TestExampleMail(t *testing.T) {
	set, err := texts.Load(texts.Mail, texts.Config{Templates: exampleFolders(t)["mail"]})
	if err != nil {
		t.Fatal(err)
	}
	v := texts.Values{
		Operation: "authentication", Link: "https://app.example.com/open?a=b", Sender: "Beispielbank", Picture: "qr@example.com",
		Expires: time.Date(2026, 11, 23, 14, 5, 0, 0, time.UTC),
		Member:  func(name string) string { return map[string]string{"device": "Firefox"}[name] },
	}
	const subject = "Anmeldung bei der Beispielbank"
	got, err := set.Render("de", v)
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[texts.Part]string{
		texts.Subject: subject,
		texts.Text: `Guten Tag

Jemand will sich von «Firefox» aus anmelden.

Sind Sie das? Dann öffnen Sie diesen Link:
https://app.example.com/open?a=b

Er gilt bis 14:05 Uhr.

Beispielbank`,
		texts.HTML: `<!DOCTYPE html>
<html lang="de">
<head><meta charset="utf-8"><title>` + subject + `</title></head>
<body style="font-family: Georgia, serif">
<h1>` + subject + `</h1>
<p>Jemand will sich von «Firefox» aus anmelden.</p>
<p>Sind Sie das? Dann öffnen Sie <a href="https://app.example.com/open?a=b">die App</a>.</p>
<p><img src="cid:qr@example.com" alt="QR-Code"></p>
<p>Beispielbank</p>

</body>
</html>
`,
	} {
		if got[part] != want {
			t.Errorf("%s = %s; want %s", part, got[part], want)
		}
	}
}

// TestExampleLetter writes the letter of docs/templates.md, with the built-in
// texts beside it.
func TestExampleLetter(t *testing.T) {
	spool := t.TempDir()
	l, err := dispatcherstest.Load[*letter.Letter](t, "letter", map[string]any{
		"spool": spool, "templates": exampleFolders(t)["letter"], "sender": "Beispielbank | Postfach | 8010 Zürich",
	})
	if err != nil {
		t.Fatal(err)
	}
	m := dispatcherstest.Message("Anna Muster | Bahnhofstrasse 1 | 8001 Zürich", map[string]string{"oob.data.language": "de-CH"})
	m.Operation, m.Expires = nevisfido.Registration, time.Now().Add(240*time.Hour)
	if _, err := l.Dispatch(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(spool, "*.pdf"))
	if err != nil || len(written) != 1 {
		t.Fatalf("the spool holds %v, %v", written, err)
	}
	text := strings.Join(strings.Fields(run(t, spool, testservice.Need(t, "pdftotext"), written[0], "-")), " ")
	for _, want := range []string{"Ihr Zugang zum E-Banking", "Zürich, " + time.Now().Format("02.01.2006"), "die App der Beispielbank.", "Rufen Sie uns an."} {
		if !strings.Contains(text, want) {
			t.Errorf("the letter lacks %q: %s", want, text)
		}
	}
}

// tableField is the first cell of the fields' table.
var tableField = regexp.MustCompile("(?m)^\\| `\\.([A-Za-z]+)[^`]*` \\|")

// matches returns what a pattern finds in a page.
func matches(t *testing.T, pattern *regexp.Regexp, page string) (all []string) {
	t.Helper()
	for _, match := range pattern.FindAllStringSubmatch(readFile(t, page), -1) {
		all = append(all, match[1])
	}
	return all
}

// TestEveryFieldIsDescribed: the table has the fields of Values, and the two
// that come on top.
func TestEveryFieldIsDescribed(t *testing.T) {
	want := []string{"Data", "Language"}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[texts.Values]()) {
		if field.Name != "Member" {
			want = append(want, field.Name)
		}
	}
	got := matches(t, tableField, templates)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the page describes %q, templates see %q", got, want)
	}
}

// ticketMember is the first cell of a row of the ticket's table.
var ticketMember = regexp.MustCompile("(?m)^\\| `([a-z0-9]+)` \\|")

// TestEveryMemberOfTheTicketIsDescribed compares docs/channels/letter.md with the code.
func TestEveryMemberOfTheTicketIsDescribed(t *testing.T) {
	var want []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[letter.Ticket]()) {
		want = append(want, field.Tag.Get("json"))
	}
	got := matches(t, ticketMember, "docs/channels/letter.md")
	if !slices.Equal(got, want) {
		t.Errorf("the page describes %q, a ticket has %q", got, want)
	}
}
