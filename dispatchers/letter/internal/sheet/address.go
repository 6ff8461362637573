package sheet

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a postal address. The window shows six lines.
const (
	minAddressLines = 2
	maxAddressLines = 6
	maxAddressLine  = 60 // characters
)

// ParseAddress returns the 2 to 6 lines of a recipient's address, which "|", ";" or
// line feeds separate, as they can be printed. Empty ones are left out. Errors do
// not quote it.
func ParseAddress(address string) ([]string, error) { return parseLines(address, minAddressLines) }

// ParseSender is ParseAddress for the sender's, which may have one line. "" has none.
func ParseSender(address string) ([]string, error) {
	if address == "" {
		return nil, nil
	}
	lines, err := parseLines(address, 1)
	if err != nil {
		return nil, err
	}
	if err := New(time.Now(), "").window(&Page{Sender: lines}); err != nil {
		return nil, errors.New("it is too long for the one line above the address: shorten it")
	}
	return lines, nil
}

func parseLines(address string, minimum int) ([]string, error) {
	address = strings.NewReplacer("\r\n", "|", "\n", "|").Replace(address)
	if !utf8.ValidString(address) || strings.ContainsFunc(address, forbidden) {
		return nil, errors.New("it holds control characters, or is not UTF-8")
	}
	address, err := Printable(address) // first: a line of which nothing is printed is none
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(address, ";", "|"), "|") {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			continue
		}
		if utf8.RuneCountInString(line) > maxAddressLine {
			return nil, fmt.Errorf("line %d is longer than %d characters: shorten it", len(lines)+1, maxAddressLine)
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
