package qr

import (
	"errors"
	"strings"
	"testing"
)

func TestParseColor(t *testing.T) {
	valid := map[string]string{
		"#000":                "#000000",
		"#fC0":                "#ffcc00",
		"#047d82":             "#047d82",
		"#ABCDEF":             "#abcdef",
		"rgb(4, 125, 130)":    "#047d82",
		"rgb(255,255,255)":    "#ffffff",
		"rgb( 0 , 10 , 255 )": "#000aff",
	}
	for s, want := range valid {
		if c, err := ParseColor(s); err != nil || c.String() != want {
			t.Errorf("ParseColor(%q) = %q, %v; want %s", s, c, err, want)
		}
	}

	invalid := []string{
		"", "#", "#0", "#00", "#0000", "#00000", "#0000000", "#ggg", "#+12345", "#-12", "#0x1", "#1_2",
		"black", "047d82", "rgb", "rgb(", "rgb()", "rgb(1,2)", "rgb(1,2,3", "rgb(1,2,3,4)", "rgb(1,2,3,)",
		"rgb(1,2,256)", "rgb(1,2,-3)", "rgb(1,2,3.5)", "rgb(10%,2,3)", "rgb(1 2 3)", "rgb(,,)",
		"rgba(1,2,3)", " #000", "#000 ", "rgb(1,2,3) ", "rgb(1,\n2,3)", "rgb(" + strings.Repeat("1,", 1<<16) + ")",
	}
	for _, s := range invalid {
		if c, err := ParseColor(s); !errors.Is(err, ErrColor) || c != (Color{}) || len(err.Error()) > 200 {
			t.Errorf("ParseColor(%.40q) = %q, %v; want a short ErrColor", s, c, err)
		}
	}
}
