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
	"strings"
	texttemplate "text/template"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Medium says what the texts are for.
type Medium string

// The media.
const (
	Mail   Medium = "mail"
	Letter Medium = "letter"
)

// Part is one text of a message. In a folder of templates the parts of one
// language and operation are in <operation>.<language>.txt, each between
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
	Caption Part = "caption" // of a letter, to the right of the QR code
	Closing Part = "closing" // of a letter, below the QR code
)

// textParts are the blocks that a text file of the medium has to define. The
// subject is rendered first, because the others may show it.
var textParts = map[Medium][]Part{
	Mail:   {Subject, Text},
	Letter: {Subject, Date, Opening, Caption, Closing},
}

// Set is the texts of one medium, in all its languages. It is safe for
// concurrent use.
type Set struct {
	medium   Medium
	dir      string
	files    map[string]string
	texts    map[textKey]*texttemplate.Template
	htmls    map[textKey]*template.Template
	matcher  *Matcher
	wishes   []dispatchers.Template
	fallback string
}

type textKey struct {
	language  string
	operation nevisfido.Operation
}

func (k textKey) file(extension string) string {
	return string(k.operation) + "." + k.language + "." + extension
}

// Load returns the texts of a medium. The files in the folder Templates
// replace defaults of the same name, and may add languages. Every text is
// rendered against samples. An error names the file, and the line where there
// is one.
func Load(m Medium, c Config) (*Set, error) {
	files, err := collect(m, c.Templates)
	if err != nil {
		return nil, err
	}
	wishes := c.Language
	if len(wishes) == 0 {
		wishes = defaultLanguage
	}
	s := &Set{
		medium:   m,
		texts:    make(map[textKey]*texttemplate.Template),
		htmls:    make(map[textKey]*template.Template),
		matcher:  NewMatcher(languagesOf(files)...),
		wishes:   wishes,
		fallback: string(wishes[len(wishes)-1]),
		dir:      c.Templates,
		files:    files,
	}
	for _, lang := range s.matcher.languages {
		for _, operation := range nevisfido.Operations() {
			if err := s.load(textKey{lang, operation}); err != nil {
				return nil, inFolder(s.dir, err)
			}
		}
	}
	if err := s.loadNotices(); err != nil {
		return nil, inFolder(s.dir, err)
	}
	return s, checkFallback(s.fallback, s.matcher.languages)
}

// keyChange stands in place of an operation for the notice of a changed key, which
// mails have in plain text only. A language may lack it: noticeFallback is there.
const (
	keyChange      = nevisfido.Operation("key_change")
	noticeFallback = "en"
)

func (s *Set) loadNotices() error {
	for _, lang := range s.matcher.languages {
		key := textKey{lang, keyChange}
		if _, there := s.files[key.file("txt")]; !there {
			continue
		}
		if err := s.parseText(key); err != nil {
			return err
		}
		for _, v := range Samples(keyChange) {
			if _, err := s.Render(lang, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Notice renders the notice of a changed key. Only mails have one.
func (s *Set) Notice(lang string, v Values) (map[Part]string, error) {
	v.Operation = keyChange
	if s.texts[textKey{lang, keyChange}] == nil {
		lang = noticeFallback
	}
	return s.Render(lang, v)
}

// load reads the texts of a language and an operation, and tries them.
func (s *Set) load(key textKey) error {
	if err := s.parseText(key); err != nil {
		return err
	}
	if s.medium == Mail {
		if err := s.parseHTML(key); err != nil {
			return readable(err)
		}
	}
	for _, v := range Samples(key.operation) {
		if _, err := s.Render(key.language, v); err != nil {
			return readable(err)
		}
	}
	return nil
}

// readable says in words what html/template says in names of its states.
func readable(err error) error {
	if e, ok := errors.AsType[*template.Error](err); ok && e.ErrorCode == template.ErrEndContext && e.Node == nil {
		return fmt.Errorf("%s: a tag, a quoted value, a comment, a style or a script is not closed", e.Name)
	}
	return err
}

func (s *Set) parseText(key textKey) error {
	content, err := s.file(key, "txt")
	if err != nil {
		return err
	}
	t, err := texttemplate.New(key.file("txt")).Parse(content)
	if err != nil {
		return err
	}
	for _, part := range textParts[s.medium] {
		if t.Lookup(string(part)) == nil {
			return fmt.Errorf("%s: it does not define %q: write {{define %q}} … {{end}}", t.Name(), part, part)
		}
	}
	s.texts[key] = t
	return nil
}

// content is the template that the frame has for the text.
const content = "content"

// parseHTML sets the file into the frame. It tries the file alone as well:
// html/template blames the frame for a text that leaves a tag open.
func (s *Set) parseHTML(key textKey) error {
	frame, err := template.New(layout).Parse(s.files[layout])
	if err != nil {
		return err
	}
	if frame.Tree == nil || !strings.Contains(frame.Tree.Root.String(), `{{template "`+content+`"`) {
		return fmt.Errorf(`%s: the text has no place in it: write {{template "%s" .}} where it goes`, layout, content)
	}
	text, err := s.file(key, "html")
	if err != nil {
		return err
	}
	own, err := frame.New(key.file("html")).Parse(text)
	if err != nil {
		return err
	}
	if _, err := frame.AddParseTree(content, own.Tree.Copy()); err != nil {
		return err
	}
	s.htmls[key] = frame
	return own.Execute(&bounded{}, view{})
}

func (s *Set) file(key textKey, extension string) (string, error) {
	name := key.file(extension)
	text, ok := s.files[name]
	if !ok {
		return "", fmt.Errorf("%s is missing: the language %s needs the texts of all operations", name, key.language)
	}
	return text, nil
}

// Where names the file that the texts of a language and an operation are in, and
// the line of the first occurrence of text, if there is one. It is for errors.
func (s *Set) Where(lang string, operation nevisfido.Operation, text string) string {
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
	if dir == "" || err == nil {
		return err
	}
	return fmt.Errorf("templates in %s: %w", dir, err)
}

// ErrTooLong means that a rendered text exceeds MaxOutput.
var ErrTooLong = errors.New("the text is too long")

// MaxOutput bounds a rendered text, in bytes. A mail may hold the link twice.
const MaxOutput = 256 << 10

// Render returns all parts of the message about v.Operation. The language is
// one of Languages; use Language. No error quotes a value.
func (s *Set) Render(lang string, v Values) (map[Part]string, error) {
	key := textKey{lang, v.Operation}
	t := s.texts[key]
	if t == nil {
		return nil, fmt.Errorf("there are no texts for operation %q in language %q", v.Operation, lang)
	}
	view, err := v.view(lang)
	if err != nil {
		return nil, err
	}
	parts := make(map[Part]string)
	for _, part := range textParts[s.medium] {
		if part == Subject && view.Subject != "" {
			continue // the configuration's own
		}
		out := &bounded{}
		if err := t.ExecuteTemplate(out, string(part), view); err != nil {
			return nil, err
		}
		if part == Subject {
			view.Subject = oneLine(clean(out.String()))
		} else {
			parts[part] = tidy(out.String())
		}
	}
	parts[Subject] = view.Subject
	if h := s.htmls[key]; h != nil {
		out := &bounded{}
		if err := h.ExecuteTemplate(out, layout, view); err != nil {
			return nil, err
		}
		parts[HTML] = out.String()
	}
	return parts, nil
}

// bounded is a text of at most MaxOutput bytes.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxOutput {
		return 0, ErrTooLong
	}
	return b.Builder.Write(p)
}
