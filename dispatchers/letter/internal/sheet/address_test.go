package sheet

import (
	"slices"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	long := strings.Repeat("ü", maxAddressLine)
	tests := []struct {
		address, want string
	}{
		{"Anna Muster | Weg 1 | 8001 Zürich", "Anna Muster/Weg 1/8001 Zürich"},
		{"Anna Muster;Weg 1;8001 Zürich", "Anna Muster/Weg 1/8001 Zürich"},
		{" Anna   Muster |; ||8001\u00a0Zürich |", "Anna Muster/8001 Zürich"},
		{"a|b|c|d|e|f", "a/b/c/d/e/f"},
		{long + "|b", long + "/b"},
		{"a|b|c|d|e|f|g", ""},
		{"Anna Muster, Weg 1, 8001 Zürich", ""},
		{long + "x|b", ""},
		{"", ""},
		{"|;| ;", ""},
		{"Anna Muster\nWeg 1\r\n8001 Zürich\n", "Anna Muster/Weg 1/8001 Zürich"},
		{"a\rb|c", ""},
		{"a\vb|c", ""},
		{"a\x00|c", ""},
		{"a\u202eb|c", ""},
		{"a\u2028b|c", ""},
		{"a\xff|c", ""},
	}
	for _, tt := range tests {
		lines, err := ParseAddress(tt.address)
		if got := strings.Join(lines, "/"); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("ParseAddress(%q) = %q, %v, want %q", tt.address, got, err, tt.want)
		}
	}
}

// FuzzAddress reads postal addresses of other systems. The lines of one that is
// read are printable and read as the same again; an error quotes nothing.
func FuzzAddress(f *testing.F) {
	const secret = "Zx7Qcanary"
	for _, seed := range []string{
		"Jeff Bezos|Seestrasse 1|8000 Zürich", "Дж. Безос\nул. 1\r\nМосква; RU", secret + "|" + strings.Repeat("x", 61), "一郎 " + secret + "|b", "a\u202eb|c", "ﬃ①²|\u00a0|é👍\u200d", "a|b|c|d|e|f|" + secret, "a\xff|b", "|;\n", "Ǆ|\u1e9b\u0323",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, minimum := range []int{1, minAddressLines} { // a sender's, and a recipient's
			lines, err := parseLines(text, minimum)
			if err != nil {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes the address: %v", err)
				}
				continue
			}
			if len(lines) > maxAddressLines {
				t.Errorf("%d lines", len(lines))
			}
			for _, line := range lines {
				for _, r := range line {
					if !hasGlyph(r) || forbidden(r) || r == '|' {
						t.Errorf("%q becomes the line %q", text, line)
					}
				}
			}
			if again, err := parseLines(strings.Join(lines, "|"), minimum); err != nil || !slices.Equal(again, lines) {
				t.Errorf("%q becomes %q, and that %q, %v", text, lines, again, err)
			}
		}
	})
}
