// Package qr draws QR codes (ISO/IEC 18004) as PNG pictures that scanners can
// read: whole pixels per module, a quiet zone, enough contrast. What cannot be
// drawn that way is an error, never an empty or unreadable picture. Modules is
// for other media than pictures.
package qr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
)

const (
	// MaxContent is the largest content in bytes: the capacity of a version 40
	// symbol at level L in byte mode (ISO/IEC 18004, table 7). The other levels
	// hold less.
	MaxContent = 2953

	// MinSize and MaxSize bound the width and the height of a picture, in pixels.
	MinSize = 64
	MaxSize = 1024

	// DefaultSize is the width and height, in pixels, of a picture whose options
	// name none.
	DefaultSize = 300
)

const (
	// quietZone is the blank margin on each side, in modules, that ISO/IEC 18004
	// section 6.3.8 asks for.
	quietZone = 4

	// minScale is the least number of pixels per module: zbar mostly fails at one.
	minScale = 2
)

// The errors of this package, for errors.Is. None of them holds the content,
// which is a secret as long as its token lives.
var (
	// ErrContent means that the content is empty or not printable ASCII.
	ErrContent = errors.New("content cannot be a QR code")
	// ErrTooLong means that no symbol of the wanted level holds the content.
	ErrTooLong = errors.New("content too long for a QR code")
	// ErrSize means that the size is out of bounds.
	ErrSize = errors.New("unusable QR code size")
	// ErrColor means that a color is malformed, or that a scanner could not tell
	// the foreground from the background.
	ErrColor = errors.New("unusable QR code color")
)

// Level is how much damage a symbol survives: L about 7 %, M 15 %, Q 25 %,
// H 30 % of it. A higher level needs more modules for the same content.
type Level string

// The levels. LevelAuto, which is also what the empty Level means, takes the
// highest one that leaves two pixels or more to each module at the wanted size.
const (
	LevelAuto Level = "auto"
	LevelL    Level = "L"
	LevelM    Level = "M"
	LevelQ    Level = "Q"
	LevelH    Level = "H"
)

// Options say how a QR code is drawn. The zero Options are good defaults: a
// black and white square of DefaultSize at the best level that fits.
type Options struct {
	// Size is the width and height of the picture, in pixels (MinSize to
	// MaxSize); 0 means DefaultSize. A picture that is too small for its content
	// grows to the smallest that can be read, at most 370 pixels; see Smallest.
	Size int

	// Width and Height, in pixels, replace Size for one side each, as the
	// encodingParameters of a nevisFIDO dispatch request may. If only one of
	// the three is given it counts for both sides. The symbol stays square and
	// sits in the middle.
	Width, Height int

	// Level is the error correction level; empty means LevelAuto.
	Level Level

	// Foreground is the color of the dark modules, Background that of the light
	// ones and of the quiet zone. The zero Color means black and white.
	Foreground, Background Color
}

// Validate reports whether the options can draw anything at all: sizes within
// bounds, and colors that a scanner can tell apart. The error wraps ErrSize or
// ErrColor.
func (o Options) Validate() error {
	for _, n := range []int{o.Size, o.Width, o.Height} {
		if n != 0 && (n < MinSize || n > MaxSize) {
			return fmt.Errorf("%w: %d is not between %d and %d pixels", ErrSize, n, MinSize, MaxSize)
		}
	}
	return checkContrast(o.colors())
}

func (o Options) colors() (fg, bg Color) {
	return cmp.Or(o.Foreground, black), cmp.Or(o.Background, white)
}

// pixels returns the size of the picture.
func (o Options) pixels() (width, height int) {
	return cmp.Or(o.Width, o.Size, o.Height, DefaultSize), cmp.Or(o.Height, o.Size, o.Width, DefaultSize)
}

// Smallest returns the least width and height, in pixels, in which the content
// can be drawn as the options ask. PNG draws a picture for which they ask less
// in that size. The error is that of PNG.
func Smallest(content string, o Options) (int, error) {
	width, height := o.pixels()
	s, err := choose(content, o.Level, min(width, height))
	if err != nil {
		return 0, err
	}
	return s.minPixels(), nil
}

// slots bounds the symbols drawn at once: the largest one costs some milliseconds
// of CPU, many times its encryption.
var slots = make(chan struct{}, 2*runtime.GOMAXPROCS(0))

// PNG draws content as a QR code and returns a PNG file: 1 bit per pixel, two
// colors, of the size that the options give or the content needs. The content is
// printable ASCII (a link, base64url) of 1 to MaxContent bytes; for other bytes
// decoders would have to guess the character set.
//
// At most two symbols per CPU are drawn at once. PNG waits for its turn until
// ctx ends; the error then wraps ctx.Err(). The other errors wrap those of this
// package.
func PNG(ctx context.Context, content string, o Options) ([]byte, error) {
	width, height := o.pixels()
	modules, need, err := draw(ctx, content, o, min(width, height))
	if err != nil {
		return nil, err
	}
	fg, bg := o.colors()
	return picture{modules, max(width, need), max(height, need), fg, bg}.png(), nil
}

// Modules returns the rows of content's symbol without the quiet zone, true
// for a dark module, for those who draw it themselves. The quiet zone that a
// scanner needs is four modules on each side. LevelAuto is the level that PNG
// takes for a picture without a size. The bounds, the turns and the errors are
// those of PNG.
func Modules(ctx context.Context, content string, l Level) ([][]bool, error) {
	drawn, _, err := draw(ctx, content, Options{Level: l}, DefaultSize)
	if err != nil {
		return nil, err
	}
	rows := make([][]bool, drawn.side)
	for y := range rows {
		rows[y] = make([]bool, drawn.side)
		for x := range rows[y] {
			rows[y][x] = drawn.rows[y].has(x)
		}
	}
	return rows, nil
}

// draw draws content's symbol, whose picture should have this many pixels and
// needs minPixels. It waits for its turn.
func draw(ctx context.Context, content string, o Options, pixels int) (drawn *matrix, minPixels int, err error) {
	if err := cmp.Or(checkContent(content), o.Validate()); err != nil {
		return nil, 0, err
	}
	s, err := choose(content, o.Level, pixels)
	if err != nil {
		return nil, 0, err
	}
	if ctx.Err() == nil { // a select alone might take a free slot all the same
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			return s.draw(), s.minPixels(), nil
		case <-ctx.Done():
		}
	}
	return nil, 0, fmt.Errorf("waiting to draw a QR code: %w", ctx.Err())
}

func checkContent(content string) error {
	if content == "" {
		return fmt.Errorf("%w: it is empty", ErrContent)
	}
	if n := len(content); n > MaxContent {
		return fmt.Errorf("%w: %d bytes, at most %d fit", ErrTooLong, n, MaxContent)
	}
	for i := range len(content) {
		if c := content[i]; c < ' ' || c > '~' {
			return fmt.Errorf("%w: byte %d is not printable ASCII", ErrContent, i)
		}
	}
	return nil
}

// choose returns content's symbol at the level, which for LevelAuto is the
// highest one whose symbol can be drawn in the given number of pixels, or else L.
func choose(content string, l Level, pixels int) (symbol, error) {
	if l != "" && l != LevelAuto {
		return newSymbol(content, l)
	}
	for _, l := range []Level{LevelH, LevelQ, LevelM} {
		s, err := newSymbol(content, l)
		if err == nil && s.minPixels() <= pixels {
			return s, nil
		}
	}
	return newSymbol(content, LevelL)
}
