package qr

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Color is an opaque sRGB color. The zero Color stands for "not given", not for
// black.
type Color struct {
	r, g, b uint8
	given   bool
}

var (
	black = Color{given: true}
	white = Color{255, 255, 255, true}
)

// ParseColor reads a color in one of three CSS notations: "#rgb", "#rrggbb" or,
// as the encodingParameters of nevisFIDO have it, "rgb(4, 125, 130)". The error
// wraps ErrColor.
func ParseColor(s string) (Color, error) {
	if digits, ok := strings.CutPrefix(s, "#"); ok {
		if len(digits) == 3 {
			digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
		}
		if c, err := hex.DecodeString(digits); err == nil && len(c) == 3 {
			return Color{c[0], c[1], c[2], true}, nil
		}
	}
	if numbers := rgb.FindStringSubmatch(s); numbers != nil {
		r, errR := strconv.ParseUint(numbers[1], 10, 8)
		g, errG := strconv.ParseUint(numbers[2], 10, 8)
		b, errB := strconv.ParseUint(numbers[3], 10, 8)
		if errR == nil && errG == nil && errB == nil {
			return Color{uint8(r), uint8(g), uint8(b), true}, nil
		}
	}
	return Color{}, fmt.Errorf("%w %.32q: write #rgb, #rrggbb or rgb(r, g, b) with numbers up to 255", ErrColor, s)
}

var rgb = regexp.MustCompile(`^rgb\( *(\d+) *, *(\d+) *, *(\d+) *\)$`)

// String returns the color as "#rrggbb", or "" for the zero Color.
func (c Color) String() string {
	if !c.given {
		return ""
	}
	return fmt.Sprintf("#%02x%02x%02x", c.r, c.g, c.b)
}

// minContrast is the least difference in brightness, in percent of that between
// black and white. Decoders read less from a file; a camera in bad light does not.
const minContrast = 40

// checkContrast refuses colors that a scanner cannot tell apart, and light
// modules on a dark ground, which many scanners do not look for.
func checkContrast(fg, bg Color) error {
	switch percent := contrast(fg, bg); {
	case percent >= minContrast:
		return nil
	case percent <= -minContrast:
		return fmt.Errorf("%w: the foreground %s must be darker than the background %s", ErrColor, fg, bg)
	default:
		return fmt.Errorf("%w: foreground %s and background %s are too much alike for a scanner", ErrColor, fg, bg)
	}
}

// contrast returns by how many percent bg is brighter than fg. Decoders disagree
// on what brightness is: most take the luma of Rec. 601, ZXing (r+2g+b)/4.
// Colors must differ in both, so the weaker one counts.
func contrast(fg, bg Color) int {
	dr, dg, db := int(bg.r)-int(fg.r), int(bg.g)-int(fg.g), int(bg.b)-int(fg.b)
	rec601 := (299*dr + 587*dg + 114*db) / 10 / 255
	zxing := (dr + 2*dg + db) * 25 / 255
	if (rec601 < 0) != (zxing < 0) {
		return 0
	}
	if rec601 < 0 {
		return max(rec601, zxing)
	}
	return min(rec601, zxing)
}
