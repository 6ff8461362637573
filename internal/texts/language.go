package texts

import (
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// maxCandidate bounds a language wish in bytes; the rest of a longer one is
// cut off.
const maxCandidate = 500

// Matcher holds the languages that there are texts in, of which it picks one for a
// reader.
type Matcher struct {
	names   []string // sorted
	matcher language.Matcher
}

// NewMatcher makes a Matcher of tags of RFC 5646.
func NewMatcher(names []string) Matcher {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	tags := make([]language.Tag, len(names))
	for i, name := range names {
		tags[i] = language.Make(name)
	}
	return Matcher{names, language.NewMatcher(tags)}
}

// Languages returns the languages that there are texts in, sorted, as tags of
// RFC 5646.
func (s *Set) Languages() []string { return slices.Clone(s.names) }

// Pick returns the language for the first candidate that one of the languages
// serves; fallback, which should be one of them, if there is none. A candidate
// is a language tag (de, de-CH, de_CH) or the value of an Accept-Language header
// (RFC 9110, section 12.5.4). What is malformed is not a candidate.
func (l Matcher) Pick(fallback string, candidates ...string) string {
	for _, candidate := range candidates {
		tags, _, err := language.ParseAcceptLanguage(cut(candidate))
		if err != nil || len(tags) == 0 {
			continue
		}
		if _, i, confidence := l.matcher.Match(tags...); confidence != language.No {
			return l.names[i]
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
