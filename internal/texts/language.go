package texts

import (
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
)

// Config is the options of a dispatcher that writes whole texts to people.
type Config struct {
	// Folder of own texts in place of the built-in ones of the same name:
	// <operation>.<language>.txt, and for mails <operation>.<language>.html and
	// the frame layout.html. docs/templates.md says what they define and see.
	// Default: the built-in ones, in de, en, fr and it
	Templates string `json:"templates,omitempty"`

	// Where the language comes from, templates in order of preference: each
	// gives a language tag or an Accept-Language header. The last is one of
	// the languages. Default: {oob.data.language},
	// {http.request.header.Accept-Language}, en
	Language []dispatchers.Template `json:"language,omitempty"`
}

// Table has the rows of Config.
var Table = conf.Table[Config]{
	conf.Path("templates", func(c *Config) *string { return &c.Templates }),
	conf.Words("language", func(c *Config) *[]dispatchers.Template { return &c.Language }, dispatchers.CheckTemplate),
}

var defaultLanguage = []dispatchers.Template{"{oob.data.language}", "{http.request.header.Accept-Language}", "en"}

// CheckLanguage fails if the last value of the option language is not a
// language of the built-in texts. A folder, which is not read here, may hold
// texts in further languages.
func (c *Config) CheckLanguage(m Medium) error {
	if c.Templates != "" || len(c.Language) == 0 {
		return nil
	}
	files, err := collect(m, "")
	if err != nil {
		return err
	}
	return checkFallback(string(c.Language[len(c.Language)-1]), languagesOf(files))
}

func checkFallback(fallback string, languages []string) error {
	if slices.Contains(languages, fallback) {
		return nil
	}
	return conf.Errorf("language", "language: the last value is used when no other one fits, so it must be one of %s",
		strings.Join(languages, ", "))
}

// Language returns the language to write a message in.
func (s *Set) Language(m *dispatchers.Message) string {
	wishes := make([]string, len(s.wishes))
	for i, wish := range s.wishes {
		wishes[i] = m.Expand(wish, nil)
	}
	return s.matcher.Pick(s.fallback, wishes...)
}

// Languages returns the languages that there are texts in, sorted, as tags of
// RFC 5646.
func (s *Set) Languages() []string { return slices.Clone(s.matcher.languages) }

// Matcher picks the language to answer somebody in.
type Matcher struct {
	languages []string
	matcher   language.Matcher
}

// NewMatcher returns a Matcher for languages, given as tags of RFC 5646.
func NewMatcher(languages ...string) *Matcher {
	tags := make([]language.Tag, len(languages))
	for i, l := range languages {
		tags[i] = language.Make(l)
	}
	return &Matcher{languages, language.NewMatcher(tags)}
}

// maxWish bounds a wish in bytes; the rest of a longer one is cut off.
const maxWish = 500

// Pick returns the language for the first wish that one of the languages
// serves; fallback if there is none. A wish is a language tag (de, de-CH,
// de_CH) or the value of an Accept-Language header (RFC 9110, section 12.5.4).
// Malformed ones are passed over.
func (m *Matcher) Pick(fallback string, wishes ...string) string {
	for _, wish := range wishes {
		if len(wish) > maxWish {
			wish = wish[:maxWish]
			wish = wish[:max(strings.LastIndexByte(wish, ','), 0)]
		}
		tags, _, err := language.ParseAcceptLanguage(wish)
		if err != nil || len(tags) == 0 {
			continue
		}
		if _, i, confidence := m.matcher.Match(tags...); confidence != language.No {
			return m.languages[i]
		}
	}
	return fallback
}
