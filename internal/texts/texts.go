// Package texts holds the texts of mails and letters: defaults in German
// (in Swiss spelling), French, Italian and English, and an operator's own in
// place of them, file by file.
//
// A text is looked up by language and operation. Its templates come from the
// configuration, never from a request, and the values that a request brings
// are never expanded again.
package texts

import (
	"errors"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
)

// Medium says what the texts are for.
type Medium string

// The media.
const (
	Mail   Medium = "mail"
	Letter Medium = "letter"
)

// Part is one text of a message. In a folder of templates the parts of one
// language and operation stand in <operation>.<language>.txt, each between
// {{define "<part>"}} and {{end}}; only HTML is a file of its own,
// <operation>.<language>.html, set into the frame layout.html.
type Part string

// The parts. Subject, Date and Caption are one line or few; the other texts
// consist of paragraphs with an empty line between them.
const (
	Subject Part = "subject" // of both media; always one line
	Text    Part = "text"    // of a mail, for readers without HTML
	HTML    Part = "html"    // of a mail
	Date    Part = "date"    // of a letter
	Opening Part = "opening" // of a letter, above the QR code
	Caption Part = "caption" // of a letter, beside the QR code
	Closing Part = "closing" // of a letter, below the QR code
)

// textParts are the blocks that a text file of the medium has to define.
var textParts = map[Medium][]Part{
	Mail:   {Subject, Text},
	Letter: {Subject, Date, Opening, Caption, Closing},
}

// operations are nevisFIDO's, by the names in its paths.
var operations = []string{"registration", "authentication", "deregistration"}

// Set is the texts of one medium, in all its languages. It is safe for
// concurrent use.
type Set struct {
	Matcher
	medium Medium
	texts  map[textKey]*texttemplate.Template
	htmls  map[textKey]*template.Template
	dir    string
	files  map[string]string
}

type textKey struct{ language, operation string }

// Load returns the texts of a medium. The files in dir replace defaults of the
// same name, and may add languages; "" means the defaults alone. Every text is
// rendered against samples. An error names the file, and the line where there
// is one.
func Load(m Medium, dir string) (*Set, error) {
	if textParts[m] == nil {
		return nil, fmt.Errorf("there are no templates for %q", m)
	}
	files, err := collect(m, dir)
	if err != nil {
		return nil, err
	}
	s := &Set{
		medium: m,
		texts:  make(map[textKey]*texttemplate.Template),
		htmls:  make(map[textKey]*template.Template),
		dir:    dir,
		files:  files,
	}
	if err := s.parse(files); err != nil {
		return nil, inFolder(dir, err)
	}
	names := make([]string, 0, len(s.texts))
	for key := range s.texts {
		names = append(names, key.language)
	}
	s.Matcher = NewMatcher(names)
	if err := s.try(); err != nil {
		return nil, inFolder(dir, err)
	}
	return s, nil
}

// Where names the file that the texts of a language and an operation are in, and
// the line where text stands in it, where it does. It is for errors.
func (s *Set) Where(lang, operation, text string) string {
	name := textKey{lang, operation}.file("txt")
	if before, _, ok := strings.Cut(s.files[name], text); ok && text != "" {
		name += fmt.Sprintf(":%d", strings.Count(before, "\n")+1)
	}
	if s.dir == "" {
		return name
	}
	return fmt.Sprintf("templates in %s: %s", s.dir, name)
}

func inFolder(dir string, err error) error {
	if dir == "" {
		return err
	}
	return fmt.Errorf("templates in %s: %w", dir, err)
}

// parse reads all texts of every language that a file is in.
func (s *Set) parse(files map[string]string) error {
	if s.medium == Mail {
		if err := checkFrame(files); err != nil {
			return err
		}
	}
	for _, lang := range languagesOf(files) {
		for _, operation := range operations {
			if err := s.parseText(files, textKey{lang, operation}); err != nil {
				return err
			}
			if s.medium != Mail {
				continue
			}
			if err := s.parseHTML(files, textKey{lang, operation}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Set) parseText(files map[string]string, key textKey) error {
	name := key.file("txt")
	content, ok := files[name]
	if !ok {
		return missing(name, key)
	}
	t, err := texttemplate.New(name).Parse(content)
	if err != nil {
		return err
	}
	for _, part := range textParts[s.medium] {
		if t.Lookup(string(part)) == nil {
			return fmt.Errorf("%s: it does not define %q: write {{define %q}} … {{end}}", name, part, part)
		}
	}
	s.texts[key] = t
	return nil
}

func missing(name string, key textKey) error {
	return fmt.Errorf("there is no %s: the language %s needs the texts of all operations", name, key.language)
}

func (k textKey) file(extension string) string {
	return k.operation + "." + k.language + "." + extension
}

// try renders everything, with all values and with none.
func (s *Set) try() error {
	keys := slices.SortedFunc(maps.Keys(s.texts), func(a, b textKey) int {
		return strings.Compare(a.file(""), b.file(""))
	})
	parts := slices.Clone(textParts[s.medium])
	if s.medium == Mail {
		parts = append(parts, HTML)
	}
	for _, key := range keys {
		for _, part := range parts {
			for _, v := range Samples(key.operation) {
				if _, err := s.Render(key.language, part, v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ErrTooLong means that a rendered text exceeds MaxOutput.
var ErrTooLong = errors.New("the text is too long")

// MaxOutput bounds a rendered text, in bytes. A mail may hold the link twice.
const MaxOutput = 256 << 10

// Render returns one part of the message about v.Operation. The language is
// one of Languages; use Pick. No error quotes a value.
func (s *Set) Render(lang string, part Part, v Values) (string, error) {
	key := textKey{lang, v.Operation}
	if part != Subject && v.Subject == "" && s.texts[key] != nil {
		var err error
		if v.Subject, err = s.Render(lang, Subject, v); err != nil {
			return "", err
		}
	}
	view, err := v.view(lang)
	if err != nil {
		return "", err
	}
	out := &bounded{}
	switch t, h := s.texts[key], s.htmls[key]; {
	case t == nil:
		return "", fmt.Errorf("there are no templates for operation %q in language %q", v.Operation, lang)
	case part == HTML && h != nil:
		err = h.ExecuteTemplate(out, layout, view)
	case slices.Contains(textParts[s.medium], part):
		err = t.ExecuteTemplate(out, string(part), view)
	default:
		return "", fmt.Errorf("a %s has no part %q", s.medium, part)
	}
	if err != nil {
		return "", err
	}
	switch part {
	case HTML:
		return out.String(), nil
	case Subject:
		return oneLine(out.String()), nil
	default:
		return tidy(out.String()), nil
	}
}

// bounded is a text of at most MaxOutput bytes.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxOutput {
		return 0, ErrTooLong
	}
	return b.Builder.Write(p)
}
