package visualcode

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"
)

// Side is how many cells a side of the pattern has.
const Side = 5

// half are the columns that are drawn by bits; the others mirror them.
const half = (Side + 1) / 2

// Picture is a pattern in two colors, with the digits below it.
type Picture struct {
	Digits         string
	Cells          [Side][Side]bool // rows from the top; true in the color Figure
	Ground, Figure color.RGBA       // opaque
}

// palette are the pairs of ground and figure. Within a pair the contrast is at
// least 7:1 (WCAG 2.2, 1.4.6), so that the pattern is seen without color vision
// and on a gray printout; half of the grounds are light, half are dark.
var palette = [8][2]color.RGBA{
	{{0xfd, 0xe8, 0xd7, 0xff}, {0x85, 0x30, 0x00, 0xff}},
	{{0xdc, 0xeb, 0xfc, 0xff}, {0x0b, 0x4a, 0x8c, 0xff}},
	{{0xdc, 0xf5, 0xe3, 0xff}, {0x0b, 0x5c, 0x36, 0xff}},
	{{0xf7, 0xe1, 0xf3, 0xff}, {0x7d, 0x15, 0x66, 0xff}},
	{{0x12, 0x3a, 0x6b, 0xff}, {0xff, 0xd5, 0x4a, 0xff}},
	{{0x5b, 0x12, 0x40, 0xff}, {0x9b, 0xe7, 0xff, 0xff}},
	{{0x17, 0x47, 0x2f, 0xff}, {0xff, 0xd9, 0xe6, 0xff}},
	{{0x4a, 0x26, 0x00, 0xff}, {0xc4, 0xf5, 0xc9, 0xff}},
}

// New derives the picture of a token with n digits: byte 0 of the HMAC modulo 8
// is the pair of colors, and bytes 1 and 2 have the cells of the left half and
// the middle, row by row, the highest bit first. It is nil without a token or
// digits.
func New(token string, n int) *Picture {
	if n <= 0 || token == "" {
		return nil
	}
	bits := derive(token, pictureLabel)
	colors := palette[bits[0]%8]
	p := &Picture{Digits: Digits(token, n), Ground: colors[0], Figure: colors[1]}
	for i := range Side * half {
		y, x := i/half, i%half
		set := bits[1+i/8]&(0x80>>(i%8)) != 0
		p.Cells[y][x], p.Cells[y][Side-1-x] = set, set
	}
	return p
}

// Sizes in the SVG, whose unit is a CSS pixel at its own size.
const (
	cell   = 20
	tile   = (Side + 2) * cell // the pattern with a cell of ground around it
	height = tile + 2*cell     // with the digits below
)

// SVG returns the picture as an SVG document of less than 2 KiB that needs
// nothing beside it. Its title, which screen readers say, are the digits.
func (p *Picture) SVG() string {
	var path strings.Builder
	for y, row := range p.Cells {
		for x, set := range row {
			if set {
				fmt.Fprintf(&path, "M%d %dh%dv%dh-%dz", (x+1)*cell, (y+1)*cell, cell, cell, cell)
			}
		}
	}
	ground, figure := hex(p.Ground), hex(p.Figure)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img"><title>%[3]s</title>`+
		`<path fill="%[4]s" d="M0 0h%[1]dv%[2]dH0z"/><path fill="%[5]s" shape-rendering="crispEdges" d="%[6]s"/>`+
		`<text x="%[7]d" y="%[8]d" fill="%[5]s" font-family="monospace" font-size="26" font-weight="bold" text-anchor="middle">%[3]s</text></svg>`,
		tile, height, p.Digits, ground, figure, path.String(), tile/2, tile+cell)
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// PNG returns the pattern without the digits, for media that show no SVG. These
// have the digits as text.
func (p *Picture) PNG() ([]byte, error) {
	m := image.NewPaletted(image.Rect(0, 0, tile, tile), color.Palette{p.Ground, p.Figure})
	for y := range tile {
		for x := range tile {
			row, column := y/cell-1, x/cell-1
			if row >= 0 && row < Side && column >= 0 && column < Side && p.Cells[row][column] {
				m.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, m)
	return b.Bytes(), err
}
