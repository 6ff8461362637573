package letter

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// Bounds of a postal address. The window shows six lines.
const (
	minAddressLines = 2
	maxAddressLines = 6
	maxAddressLine  = 60 // characters
)

// parseAddress takes a postal address apart at "|", ";" and line feeds, and
// returns its lines as they can be printed. Empty ones are left out. Errors do not
// quote it.
func parseAddress(address string, minimum int) ([]string, error) {
	address = strings.NewReplacer("\r\n", "|", "\n", "|", ";", "|").Replace(address)
	if !utf8.ValidString(address) || strings.ContainsFunc(address, forbidden) {
		return nil, errors.New("it holds control characters, or is not UTF-8")
	}
	var lines []string
	for line := range strings.SplitSeq(address, "|") {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			continue
		}
		if utf8.RuneCountInString(line) > maxAddressLine {
			return nil, fmt.Errorf("line %d is longer than %d characters", len(lines)+1, maxAddressLine)
		}
		line, err := printable(line)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	if n := len(lines); n < minimum || n > maxAddressLines {
		return nil, fmt.Errorf(`a postal address has %d to %d lines, separated by "|" or line feeds, and this has %d`,
			minimum, maxAddressLines, n)
	}
	return lines, nil
}

// forbidden reports characters that could make an address look like another.
func forbidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// unprintable is the error of a text with a character that the font lacks. It
// does not quote it: the text may be somebody's name.
type unprintable rune

func (unprintable) Error() string {
	return "the text or the address is in a script that the font lacks; Latin, Greek and Cyrillic can be printed"
}

// goFont is the regular Go font, which is part of the program. The bold one has the
// same characters, those of WGL4: the European languages.
var goFont, _ = sfnt.Parse(goregular.TTF)

func hasGlyph(r rune) bool {
	index, err := goFont.GlyphIndex(nil, r)
	return err == nil && index != 0
}

// printable returns the text with what the font lacks replaced: accented
// letters by those without, emoji and invisible marks by nothing.
func printable(text string) (string, error) {
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
				return "", unprintable(r)
			}
		}
	}
	return out.String(), nil
}
