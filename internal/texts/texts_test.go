package texts

import (
	"errors"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func load(t *testing.T, m Medium, dir string) *Set {
	t.Helper()
	s, err := Load(m, Config{Templates: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func render(t *testing.T, s *Set, lang string, part Part, v Values) string {
	t.Helper()
	parts, err := s.Render(lang, v)
	if err != nil {
		t.Fatalf("%s %s: %v", lang, v.Operation, err)
	}
	return parts[part]
}

func full(operation nevisfido.Operation) Values {
	return Values{
		Operation: operation, Username: "amuster", Name: "Pixel 12", Title: "Titel der Bank",
		Body: "Zahlung von 100 Franken", VisualCode: "4711", Link: "https://app.example.com/open?dispatchTokenResponse=eyJ9",
		Sender: "Beispielbank", Picture: "qr.1@example.com", VisualCodePicture: "code.1@example.com",
		Date:    time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		Expires: time.Date(2026, 12, 3, 14, 5, 0, 0, time.UTC),
	}
}

func TestDefaultsTellWhatIsThere(t *testing.T) {
	mail, letter := load(t, Mail, ""), load(t, Letter, "")
	for _, lang := range []string{"de", "en", "fr", "it"} {
		for _, operation := range nevisfido.Operations() {
			v := full(operation)
			text := render(t, mail, lang, Text, v)
			page := html.UnescapeString(render(t, mail, lang, HTML, v))
			paper := render(t, letter, lang, Opening, v) + render(t, letter, lang, Caption, v) + render(t, letter, lang, Closing, v)
			for name, content := range map[string]string{"text": text, "HTML": page, "letter": paper} {
				for _, want := range []string{v.Body, v.VisualCode, v.Sender, "14:05 UTC"} {
					if !strings.Contains(content, want) {
						t.Errorf("%s of %s in %s lacks %q", name, operation, lang, want)
					}
				}
				if strings.Contains(content, "ß") || strings.Contains(content, "{{") || strings.Contains(content, "ZgotmplZ") || strings.Contains(content, "no value") {
					t.Errorf("%s of %s in %s: %s", name, operation, lang, content)
				}
			}
			if !strings.Contains(text, v.Link) {
				t.Errorf("the text of %s in %s lacks the link", operation, lang)
			}
			if !strings.Contains(page, `href="`+v.Link+`"`) || !strings.Contains(page, `src="cid:qr.1@example.com"`) || !strings.Contains(page, `src="cid:code.1@example.com"`) || !strings.Contains(page, `<html lang="`+lang+`">`) {
				t.Errorf("the HTML of %s in %s: %s", operation, lang, page)
			}
			if operation != "registration" && !strings.Contains(text, v.Name) {
				t.Errorf("the text of %s in %s does not name the device", operation, lang)
			}
			for _, s := range []*Set{mail, letter} {
				if got := render(t, s, lang, Subject, v); got != v.Title {
					t.Errorf("subject = %q", got)
				}
			}
			if got := render(t, letter, lang, Date, v); !regexp.MustCompile(`^23(\.11\.| November )2026$`).MatchString(got) {
				t.Errorf("date = %q", got)
			}
		}
	}
}

func TestMissingValuesLeaveNoGaps(t *testing.T) {
	mail, letter := load(t, Mail, ""), load(t, Letter, "")
	for _, lang := range mail.Languages() {
		for _, operation := range nevisfido.Operations() {
			v := Values{Operation: operation}
			texts := []string{
				render(t, mail, lang, Text, v), render(t, letter, lang, Opening, v),
				render(t, letter, lang, Caption, v), render(t, letter, lang, Closing, v),
			}
			for _, text := range texts {
				if text == "" || strings.Contains(text, "\n\n\n") || strings.TrimSpace(text) != text || strings.Contains(text, "0001") {
					t.Errorf("%s %s: %q", lang, operation, text)
				}
			}
		}
	}
}

func TestPick(t *testing.T) {
	s := load(t, Letter, "")
	tests := []struct {
		candidates []string
		want       string
	}{
		{nil, "en"},
		{[]string{""}, "en"},
		{[]string{"de"}, "de"},
		{[]string{"de-CH"}, "de"},
		{[]string{"de_CH"}, "de"},
		{[]string{"gsw-CH"}, "de"},
		{[]string{"FR-ch"}, "fr"},
		{[]string{"fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5"}, "fr"},
		{[]string{"en;q=0.2, it;q=0.8"}, "it"},
		{[]string{"de;q=0, it;q=0.1"}, "it"},
		{[]string{"ja, zh;q=0.9"}, "en"},
		{[]string{"ja", "it"}, "it"},
		{[]string{"", "de", "fr"}, "de"},
		{[]string{"*"}, "en"},
		{[]string{"de;q=x", "fr"}, "fr"},
		{[]string{"{{.}}", "../../de", "\x00", "it"}, "it"},
		{[]string{"ja," + strings.Repeat("x-", 5000) + ",fr", "de"}, "de"},
		{[]string{strings.Repeat("it,", 5000)}, "it"},
		{[]string{strings.Repeat("a", 100_000)}, "en"},
	}
	for _, tt := range tests {
		if got := s.matcher.Pick("en", tt.candidates...); got != tt.want {
			t.Errorf("Pick(%.60q) = %q, want %q", tt.candidates, got, tt.want)
		}
	}
}

func TestOwnFilesReplaceDefaultsOneByOne(t *testing.T) {
	dir := folder(t, map[string]string{
		"registration.de.txt":  "\ufeff{{define \"subject\"}}Eigener\r\n Betreff{{end}}{{define \"text\"}}Eigener Text {{.Data \"reference\"}}{{end}}\r\n",
		"registration.de.html": `<p>Eigenes {{.Username}}</p>`,
		"layout.html":          `<b>{{template "content" .}}</b>`,
		".hidden":              "{{",
	})
	s := load(t, Mail, dir)
	v := full("registration")
	v.Member = func(name string) string { return map[string]string{"reference": "R 1"}[name] }
	for part, want := range map[Part]string{
		Subject: "Eigener Betreff",
		Text:    "Eigener Text R 1",
		HTML:    "<b><p>Eigenes amuster</p></b>",
	} {
		if got := render(t, s, "de", part, v); got != want {
			t.Errorf("%s = %q, want %q", part, got, want)
		}
	}
	if got := render(t, s, "fr", Subject, Values{Operation: "registration"}); got != "Activer l’application d’accès" {
		t.Errorf("the French default is gone: %q", got)
	}
	if got := render(t, s, "fr", HTML, full("registration")); !strings.HasPrefix(got, "<b>") {
		t.Errorf("the own frame is not used for French: %q", got)
	}
}

func TestOwnLanguage(t *testing.T) {
	files := make(map[string]string)
	for _, operation := range nevisfido.Operations() {
		content, err := defaults.ReadFile("defaults/letter/" + string(operation) + ".it.txt")
		if err != nil {
			t.Fatal(err)
		}
		files[string(operation)+".rm.txt"] = strings.ReplaceAll(string(content), "Buongiorno", "Bun di")
	}
	s := load(t, Letter, folder(t, files))
	if got, want := s.Languages(), []string{"de", "en", "fr", "it", "rm"}; !slices.Equal(got, want) {
		t.Errorf("languages = %q, want %q", got, want)
	}
	if got := s.matcher.Pick("en", "rm-CH,de;q=0.5"); got != "rm" {
		t.Errorf("Pick = %q", got)
	}
	if got := render(t, s, "rm", Opening, full("registration")); !strings.HasPrefix(got, "Bun di") {
		t.Errorf("opening = %q", got)
	}

	delete(files, "authentication.rm.txt")
	if _, err := Load(Letter, Config{Templates: folder(t, files)}); err == nil || !strings.Contains(err.Error(), "authentication.rm.txt") {
		t.Errorf("an incomplete language loads: %v", err)
	}
}

func TestLoadNamesFileAndLine(t *testing.T) {
	const subject = `{{define "subject"}}a{{end}}`
	const ok = subject + `{{define "text"}}b{{end}}`
	tests := []struct {
		name, file, content, want string
	}{
		{"open action", "registration.de.txt", "\n\n{{define \"subject\"}}{{", "registration.de.txt:3"},
		{"no end", "registration.de.txt", "{{define \"subject\"}}\n{{if .Name}}", "registration.de.txt:2"},
		{"unknown function", "registration.de.txt", "\n{{define \"subject\"}}{{env \"HOME\"}}{{end}}", "registration.de.txt:2"},
		{"unknown field", "authentication.fr.txt", subject + "\n{{define \"text\"}}\n{{.Token}}{{end}}", "authentication.fr.txt:3"},
		{"field behind a condition", "authentication.fr.txt", subject + "\n\n{{define \"text\"}}{{if .Body}}{{else}}{{.No}}{{end}}{{end}}", "authentication.fr.txt:3"},
		{"part defined twice", "registration.de.txt", ok + "\n{{define \"text\"}}c{{end}}", "registration.de.txt:2"},
		{"missing part", "registration.it.txt", `{{define "subject"}}a{{end}}`, `registration.it.txt: it does not define "text"`},
		{"HTML syntax", "registration.de.html", "<p>\n{{.Name", "registration.de.html:2"},
		{"HTML field", "registration.de.html", "<p>\n{{.Token}}", "registration.de.html:2"},
		{"HTML context", "registration.de.html", "<p>\n<a href=\"{{if .Name}}x{{else}}x?y=\"{{end}}{{.Title}}\">", "registration.de.html"},
		{"open quote", "registration.de.html", "<p>a</p>\n<p><a href=\"{{.Link}}>b</a></p>\n<p>c</p>\n", "registration.de.html: a tag"},
		{"open tag", "authentication.fr.html", "<p>a</p>\n{{with .Body}}<p>{{.}}</p>{{end}}\n\n<a href=\"{{.Link}}\" {{.Name}}\n", "authentication.fr.html: a tag"},
		{"open style", "registration.it.html", "{{.Name}}\n<style>\np { color: red }\n", "registration.it.html: a tag"},
		{"open quote in the frame", "layout.html", "<html>\n<body class=\"a>\n{{template \"content\" .}}", "layout.html"},
		{"open tag after the content", "layout.html", "<html>\n{{template \"content\" .}}\n</body", "layout.html: a tag"},
		{"frame with a part that the texts lack", "layout.html", "<p>\n{{template \"head\" .}}{{template \"content\" .}}", "layout.html:2"},
		{"not UTF-8", "registration.de.txt", ok + "\n\nGr\xfcsse", "registration.de.txt: line 3 is not UTF-8"},
		{"frame syntax", "layout.html", "\n\n\n{{end}}", "layout.html:4"},
		{"frame without content", "layout.html", "<p>", "layout.html: the text has no place"},
		{"empty frame", "layout.html", "", "layout.html: the text has no place"},
		{"too large", "registration.de.txt", ok + strings.Repeat(" ", maxFile), "registration.de.txt: it is larger"},
		{"renders too much", "registration.de.txt", subject + "{{define \"text\"}}{{range 300}}" + strings.Repeat("x", 1000) + "{{end}}{{end}}", "too long"},
		{"never-ending recursion", "registration.de.txt", subject + "{{define \"text\"}}x{{template \"text\" .}}{{end}}", "registration.de.txt:1"},
		{"misspelled operation", "registraton.de.txt", ok, "registraton.de.txt: "},
		{"misspelled extension", "registration.de.tmpl", ok, "registration.de.tmpl: "},
		{"no language", "registration.txt", ok, "registration.txt: "},
		{"bad language", "registration.deutsch1234.txt", ok, "deutsch1234"},
		{"language in capitals", "registration.DE.txt", ok, `"DE"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, map[string]string{tt.file: tt.content})
			_, err := Load(Mail, Config{Templates: dir})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("err = %v, want %q and the folder in it", err, tt.want)
			}
		})
	}
}

func TestFrameMayUsePartsOfTheTexts(t *testing.T) {
	files := map[string]string{"layout.html": `<title>{{template "head" .}}</title>{{template "content" .}}`}
	for _, lang := range []string{"de", "en", "fr", "it"} {
		for _, operation := range nevisfido.Operations() {
			files[string(operation)+"."+lang+".html"] = `{{define "head"}}head of ` + lang + `{{end}}<p>{{.Name}}`
		}
	}
	if page := render(t, load(t, Mail, folder(t, files)), "it", HTML, full("registration")); page != "<title>head of it</title><p>Pixel 12" {
		t.Errorf("page = %s", page)
	}
}

func TestTitleOfAPageIsTheSubject(t *testing.T) {
	for name, tc := range map[string]struct {
		v    Values
		want string
	}{
		"of the texts":            {Values{}, "<title>Anmeldung bestätigen</title>"},
		"of the request":          {Values{Title: "Zahlung <1>\n& mehr"}, "<title>Zahlung &lt;1&gt; &amp; mehr</title>"},
		"of the dispatcher's own": {Values{Title: "x", Subject: "Ihre </title>\r\nBank"}, "<title>Ihre &lt;/title&gt; Bank</title>"},
	} {
		tc.v.Operation = "authentication"
		if page := render(t, load(t, Mail, ""), "de", HTML, tc.v); !strings.Contains(page, tc.want) {
			t.Errorf("%s: got %s, want %s", name, page, tc.want)
		}
	}
}

func TestLoadRefusesOtherThingsThanFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(Mail, Config{Templates: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a folder that is not there: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "registration.de.txt"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Mail, Config{Templates: dir}); err == nil || !strings.Contains(err.Error(), "registration.de.txt: it is not a regular file") {
		t.Errorf("a folder in place of a file: %v", err)
	}
	if _, err := Load("fax", Config{}); err == nil {
		t.Error("there are templates for fax")
	}
	if _, err := Load(Letter, Config{Templates: folder(t, map[string]string{"registration.de.html": "x"})}); err == nil {
		t.Error("a letter takes HTML")
	}
}

func TestValuesStayValues(t *testing.T) {
	mail := load(t, Mail, "")
	const attack = "{{.Username}}{{`x`}} {env.HOME} {file./etc/passwd} <script>alert(1)</script>\"'>\x00\x1b[31m\u202etxt.exe\u2066"
	for _, lang := range mail.Languages() {
		for _, operation := range nevisfido.Operations() {
			v := full(operation)
			v.Title, v.Name, v.Username, v.Body, v.Sender, v.VisualCode = attack, attack, attack, attack+"\nline\r\nBcc: x", attack, attack
			page := render(t, mail, lang, HTML, v)
			if strings.Contains(page, "<script") || strings.Contains(page, `"'>`) {
				t.Errorf("%s: markup gets through: %s", lang, page)
			}
			subject, text := render(t, mail, lang, Subject, v), render(t, mail, lang, Text, v)
			for _, got := range []string{page, subject, text} {
				got = html.UnescapeString(got)
				if strings.Contains(got, "amuster") || !strings.Contains(got, "{{.Username}}{{`x`}} {env.HOME} {file./etc/passwd}") {
					t.Errorf("%s: a value was expanded or lost: %q", lang, got)
				}
				if strings.ContainsAny(got, "\x00\x1b\r\u202e\u2066") {
					t.Errorf("%s: control characters get through: %q", lang, got)
				}
			}
			if strings.ContainsAny(subject, "\n") {
				t.Errorf("the subject has lines: %q", subject)
			}
		}
	}
}

func TestSubjectIsOneLine(t *testing.T) {
	s := load(t, Mail, "")
	for title, want := range map[string]string{
		"a\r\nBcc: x@example.com": "a Bcc: x@example.com",
		"a\u2028b\u0085c\vd":      "ab c d",
		"  a \t b  ":              "a b",
		"\xff\xfe":                "\ufffd",
		"a\u00a0b":                "a\u00a0b",
	} {
		if got := render(t, s, "de", Subject, Values{Operation: "registration", Title: title}); got != want {
			t.Errorf("subject of %q = %q, want %q", title, got, want)
		}
	}
}

func TestLinksAndPictures(t *testing.T) {
	s := load(t, Mail, "")
	for _, link := range []string{"https://a.example/x?a=b&c=d", "mybank://open?dispatchTokenResponse=eyJ9", "http://localhost/"} {
		page := render(t, s, "en", HTML, Values{Operation: "registration", Link: link})
		if !strings.Contains(html.UnescapeString(page), `href="`+link+`"`) {
			t.Errorf("%s is not in the page: %s", link, page)
		}
	}
	for _, link := range []string{"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "//host/x", "x y", "https://a\nb", "%zz:", "java\tscript:x"} {
		if _, err := s.Render("en", Values{Operation: "registration", Link: link}); !errors.Is(err, ErrLink) {
			t.Errorf("link %q: %v", link, err)
		}
	}
	for _, id := range []string{"x", "a@b\"onload=", "<a@b>", "a@b\r\nX: y", "a b@c"} {
		if _, err := s.Render("en", Values{Operation: "registration", Picture: id}); !errors.Is(err, ErrPicture) {
			t.Errorf("picture %q: %v", id, err)
		}
		if _, err := s.Render("en", Values{Operation: "registration", VisualCodePicture: id}); !errors.Is(err, ErrPicture) {
			t.Errorf("picture of the visual code %q: %v", id, err)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	mail := load(t, Mail, "")
	if _, err := mail.Render("xx", full("registration")); err == nil {
		t.Error("an unknown language renders")
	}
	if _, err := mail.Render("de", full("payment")); err == nil {
		t.Error("an unknown operation renders")
	}
	v := full("registration")
	v.Body = strings.Repeat("geheim ", MaxOutput)
	if _, err := mail.Render("de", v); !errors.Is(err, ErrTooLong) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("err = %v", err)
	}
}

func TestValuesOfAMessage(t *testing.T) {
	values := map[string]string{
		"oob.username": "u", "oob.name": "n", "oob.notification.title": "t", "oob.notification.body": "b",
		"oob.visual_code": "12", "oob.data.ref": "r", "oob.token": "secret",
	}
	v := Of(&dispatchers.Message{
		Operation: nevisfido.Authentication, Link: "https://l",
		Lookup: func(p string) (string, bool) { s, ok := values[p]; return s, ok },
	}, time.Now())
	got := []string{string(v.Operation), v.Username, v.Name, v.Title, v.Body, v.VisualCode, v.Link, v.Member("ref"), v.Member("none")}
	if want := []string{"authentication", "u", "n", "t", "b", "12", "https://l", "r", ""}; !slices.Equal(got, want) || !v.Expires.IsZero() {
		t.Errorf("values = %q, expires %v, want %q", got, v.Expires, want)
	}
}

func TestLanguageOfAMessage(t *testing.T) {
	const data, header = "oob.data.language", "http.request.header.Accept-Language"
	for name, tc := range map[string]struct {
		language []dispatchers.Template
		values   map[string]string
		want     string
	}{
		"default":                   {nil, nil, "en"},
		"of the request's data":     {nil, map[string]string{data: "fr", header: "de"}, "fr"},
		"of the header":             {nil, map[string]string{header: "ja, it-CH;q=0.5"}, "it"},
		"of a bad header":           {nil, map[string]string{header: "x;q=2, it-CH"}, "en"},
		"configured":                {[]dispatchers.Template{"{oob.name}", "de"}, map[string]string{"oob.name": "it"}, "it"},
		"configured, without value": {[]dispatchers.Template{"{oob.name}", "de"}, nil, "de"},
	} {
		s, err := Load(Letter, Config{Language: tc.language})
		if err != nil {
			t.Fatal(err)
		}
		m := &dispatchers.Message{Lookup: func(name string) (string, bool) { v, ok := tc.values[name]; return v, ok }}
		if got := s.Language(m); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

// TestLastLanguage: it is checked as soon as it is known what it has to be.
func TestLastLanguage(t *testing.T) {
	rm := folder(t, map[string]string{"a": ""}) // not read before the texts are loaded
	for name, tc := range map[string]struct {
		c  Config
		ok bool
	}{
		"none":           {Config{}, true},
		"built-in":       {Config{Language: []dispatchers.Template{"{oob.name}", "it"}}, true},
		"unknown":        {Config{Language: []dispatchers.Template{"ja"}}, false},
		"a template":     {Config{Language: []dispatchers.Template{"{oob.data.language}"}}, false},
		"of the folder?": {Config{Language: []dispatchers.Template{"rm"}, Templates: rm}, true},
	} {
		err := tc.c.CheckLanguage(Mail)
		if (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), "de, en, fr, it") {
			t.Errorf("%s: %v", name, err)
		}
		if tc.c.Templates != "" {
			continue
		}
		if _, err := Load(Mail, tc.c); (err == nil) != tc.ok {
			t.Errorf("%s: loading: %v", name, err)
		}
	}
}

// FuzzRender: no value gets markup into a page, or a line into a subject.
func FuzzRender(f *testing.F) {
	s, err := Load(Mail, Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("title", "body", "name")
	f.Add("<script>", "{{.}}\r\n", "\u202e\"'")
	plain, err := s.Render("de", Values{Operation: "authentication", Title: "x", Body: "x", Name: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, title, body, name string) {
		v := Values{Operation: "authentication", Title: title, Body: body, Name: name}
		parts, err := s.Render("de", v)
		if errors.Is(err, ErrTooLong) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if body != "" && oneLine(clean(name)) != "" && strings.Count(parts[HTML], "<") != strings.Count(plain[HTML], "<") {
			t.Errorf("markup gets through: %s", parts[HTML])
		}
		if subject := parts[Subject]; strings.ContainsAny(subject, "\r\n\x00") {
			t.Errorf("subject = %q", subject)
		}
	})
}

// The notice of a changed key is there in every built-in language, says which of the
// two happened, names the device and has no link. An own one replaces it; a language
// without one has English.
func TestNoticeOfAChangedKey(t *testing.T) {
	files := map[string]string{"key_change.fr.txt": `{{define "subject"}}propre{{end}}{{define "text"}}{{.Notice}}{{end}}`}
	for _, operation := range nevisfido.Operations() {
		for _, extension := range []string{"txt", "html"} {
			content, err := defaults.ReadFile("defaults/mail/" + string(operation) + ".it." + extension)
			if err != nil {
				t.Fatal(err)
			}
			files[string(operation)+".rm."+extension] = string(content)
		}
	}
	builtIn, own := load(t, Mail, ""), load(t, Mail, folder(t, files))
	notice := func(s *Set, lang, about string) map[Part]string {
		t.Helper()
		v := full("")
		v.Notice, v.Subject = about, ""
		parts, err := s.Notice(lang, v)
		if err != nil {
			t.Fatal(err)
		}
		return parts
	}
	for _, lang := range builtIn.Languages() {
		learned, changed := notice(builtIn, lang, "learned"), notice(builtIn, lang, "key_changed")
		if learned[Subject] == changed[Subject] || learned[Text] == changed[Text] || learned[Subject] == "" {
			t.Errorf("%s: the two notices are the same: %q", lang, learned)
		}
		for _, parts := range []map[Part]string{learned, changed} {
			if !strings.Contains(parts[Text], "Pixel 12") || !strings.Contains(parts[Text], "Beispielbank") || strings.Contains(parts[Text], "://") || parts[HTML] != "" {
				t.Errorf("%s: %q", lang, parts)
			}
		}
	}
	if got := notice(own, "fr", "learned"); got[Subject] != "propre" || got[Text] != "learned" {
		t.Errorf("the own notice is not used: %q", got)
	}
	if got, want := notice(own, "rm", "learned"), notice(builtIn, "en", "learned"); got[Text] != want[Text] {
		t.Errorf("without one it is %q, want %q", got, want)
	}
	if _, err := Load(Mail, Config{Templates: folder(t, map[string]string{"key_change.de.html": "x"})}); err == nil {
		t.Error("a file that would never be used is accepted")
	}
}
