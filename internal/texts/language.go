package texts

import (
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// maxCandidate bounds a language wish in bytes; the rest of a longer one is
// cut off.
const maxCandidate = 500

func (s *Set) setLanguages() {
	for key := range s.texts {
		s.languages = append(s.languages, key.language)
	}
	slices.Sort(s.languages)
	s.languages = slices.Compact(s.languages)

	tags := make([]language.Tag, len(s.languages))
	for i, lang := range s.languages {
		tags[i] = language.Make(lang)
	}
	s.matcher = language.NewMatcher(tags)
}

// Languages returns the languages that there are texts in, sorted, as tags of
// RFC 5646.
func (s *Set) Languages() []string { return slices.Clone(s.languages) }

// Pick returns the language for the first candidate that one of the set's
// serves; fallback, which should be one of Languages, if there is none. A
// candidate is a language tag (de, de-CH, de_CH) or the value of an
// Accept-Language header (RFC 9110, section 12.5.4). What is malformed is no
// candidate.
func (s *Set) Pick(fallback string, candidates ...string) string {
	for _, candidate := range candidates {
		tags, _, err := language.ParseAcceptLanguage(cut(candidate))
		if err != nil || len(tags) == 0 {
			continue
		}
		if _, i, confidence := s.matcher.Match(tags...); confidence != language.No {
			return s.languages[i]
		}
	}
	return fallback
}

func cut(candidate string) string {
	if len(candidate) <= maxCandidate {
		return candidate
	}
	candidate = candidate[:maxCandidate]
	return candidate[:max(strings.LastIndexByte(candidate, ','), 0)]
}
