package letter

import (
	"strings"
	"sync"
	"unicode"

	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// unprintable is the error of a text with a character that the font lacks. It
// does not quote it: the text may be somebody's name.
type unprintable rune

func (unprintable) Error() string {
	return "the text or the address is in a script that the font lacks; Latin, Greek and Cyrillic can be printed"
}

var parseFont = sync.OnceValues(func() (*sfnt.Font, error) { return sfnt.Parse(goregular.TTF) })

// hasGlyph reports whether the Go fonts, regular and bold alike, have a
// character. They hold those of WGL4: the European languages.
func hasGlyph(r rune) bool {
	font, err := parseFont()
	if err != nil {
		return false
	}
	var buffer sfnt.Buffer
	index, err := font.GlyphIndex(&buffer, r)
	return err == nil && index != 0
}

// printable returns the text with what the font lacks replaced: accented
// letters by those without, emoji and invisible marks by nothing.
func printable(text string) (string, error) {
	var out strings.Builder
	for _, r := range norm.NFC.String(text) {
		switch {
		case r == '\n':
			out.WriteRune(r)
		case unicode.Is(unicode.Cf, r): // invisible, such as soft hyphens
		case hasGlyph(r):
			out.WriteRune(r)
		default:
			if err := substitute(&out, r); err != nil {
				return "", err
			}
		}
	}
	return out.String(), nil
}

func substitute(out *strings.Builder, r rune) error {
	for _, part := range norm.NFKD.String(string(r)) {
		switch {
		case unicode.Is(unicode.M, part):
		case hasGlyph(part):
			out.WriteRune(part)
		case unicode.In(part, unicode.So, unicode.Sk, unicode.Cf):
		default:
			return unprintable(r)
		}
	}
	return nil
}
