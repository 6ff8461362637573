package letter

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

// own returns a folder with a German text of an activation letter.
func own(t *testing.T, opening string) string {
	t.Helper()
	dir := t.TempDir()
	text := `{{define "subject"}}Brief{{end}}
{{define "date"}}{{.Date.Format "02.01.2006"}}{{end}}
{{define "opening"}}
` + opening + `
{{end}}
{{define "caption"}}Code{{end}}
{{define "closing"}}Gruss{{end}}
`
	testservice.Put(t, filepath.Join(dir, "registration.de.txt"), []byte(text))
	return dir
}

// TestTextsAreTriedOnPaper: a text that no letter could be printed with does not
// load, and the error names the file, the line where it has one, and the remedy.
func TestTextsAreTriedOnPaper(t *testing.T) {
	const sentence = "Ein Satz von mässiger Länge, der sich wiederholt. "
	for name, tc := range map[string]struct{ opening, want string }{
		"as usual":                    {"Guten Tag", ""},
		"accents and emoji":           {"Žofie, Nguyễn 👍", ""},
		"another script":              {"Guten Tag\n漢字", `registration.de.txt:5: it holds '漢'`},
		"another script in a value":   {"{{or \"\\u6f22\" .Name}}", `registration.de.txt: it holds '漢'`},
		"another script by condition": {"{{if .Body}}x{{else}}\n\n漢{{end}}", "registration.de.txt:6: "},
		"more than a page":            {strings.Repeat(sentence, 120), "registration.de.txt: the text takes more than one page: shorten it"},
		"more than a page of lines":   {strings.Repeat("Zeile\n", 60), "registration.de.txt: the text takes more than one page"},
		"more than a page by condition": {
			"{{if .Body}}x{{else}}" + strings.Repeat(sentence, 120) + "{{end}}",
			"registration.de.txt: the text takes more than one page",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := own(t, tc.opening)
			ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
			defer cancel()
			err := (&Letter{Spool: t.TempDir(), Config: texts.Config{Templates: dir}}).Provision(ctx)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("err = %v, want %q and the folder in it", err, tc.want)
			}
		})
	}
}

// logged lets a dispatcher log into a buffer.
func logged(l *Letter) *bytes.Buffer {
	var log bytes.Buffer
	l.logger = slog.New(slog.NewTextHandler(&log, nil))
	return &log
}

// TestTextBesideALargeCode: how much room there is depends on the message, so
// that a text that fits next to a short link alone is no error.
func TestTextBesideALargeCode(t *testing.T) {
	for name, tc := range map[string]struct {
		lines int
		warns bool
	}{"short text": {5, false}, "long text": {25, true}} {
		l := provision(t, &Letter{Spool: t.TempDir(), Config: texts.Config{Templates: own(t, strings.Repeat("Zeile\n", tc.lines))}})
		log := logged(l)
		if err := l.preflight(); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(log.String(), "registration.de.txt"); warned != tc.warns || strings.Contains(log.String(), "authentication") {
			t.Errorf("%s: the log says %s", name, log)
		}
		short, long := message("short", map[string]string{"oob.data.language": "de"}), message("long", map[string]string{"oob.data.language": "de"})
		short.Link, short.LinkConfigured = "https://fido.example.com/oob/AAAAAAAAAAAAAAAAAAAAAAAA", true
		if e := dispatch(t, l, short); e != nil {
			t.Errorf("%s: a letter with a short link: %v", name, e)
		}
		if e := dispatch(t, l, long); (e != nil) != tc.warns || e != nil && e.Reason != reasonTooLong {
			t.Errorf("%s: a letter with a large QR code: %v", name, e)
		}
	}
}

// TestBuiltInTextsStandTheTrial, which is left out for them when a
// configuration is loaded.
func TestBuiltInTextsStandTheTrial(t *testing.T) {
	l := provision(t, &Letter{Spool: t.TempDir(), Sender: strings.Repeat("W", 15) + "|" + strings.Repeat("i", 20)})
	log := logged(l)
	if err := l.preflight(); err != nil || log.Len() > 0 {
		t.Errorf("err = %v, the log says %s", err, log)
	}
}
