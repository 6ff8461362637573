package sheet

import (
	"strings"
	"unicode"

	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// Unprintable is the error of a text with a character that the font lacks. It
// does not quote it: the text may be somebody's name.
type Unprintable rune

func (Unprintable) Error() string {
	return "the text or the address is in a script that the font lacks; Latin, Greek and Cyrillic can be printed"
}

// goFont is the regular Go font, which is part of the program. The bold one has the
// same characters, those of WGL4: the European languages.
var goFont, _ = sfnt.Parse(goregular.TTF)

func hasGlyph(r rune) bool {
	index, err := goFont.GlyphIndex(nil, r)
	return err == nil && index != 0
}

// Printable returns the text with what the font lacks replaced: accented
// letters by those without, emoji and invisible marks by nothing. The error is
// Unprintable or ErrTooMuch.
func Printable(text string) (string, error) {
	if len(text) > maxText {
		return "", ErrTooMuch
	}
	var out strings.Builder
	for _, r := range norm.NFC.String(text) {
		if r == '\n' || hasGlyph(r) && !unicode.Is(unicode.Cf, r) {
			out.WriteRune(r)
			continue
		}
		for _, part := range norm.NFKD.String(string(r)) {
			switch {
			case unicode.In(part, unicode.M, unicode.Cf):
			case hasGlyph(part):
				out.WriteRune(part)
			case unicode.In(part, unicode.So, unicode.Sk):
			default:
				return "", Unprintable(r)
			}
		}
	}
	return out.String(), nil
}
