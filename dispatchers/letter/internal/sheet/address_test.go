package sheet

import (
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
