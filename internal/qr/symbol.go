package qr

import (
	"fmt"
	"math/bits"
	"sync"

	"rsc.io/qr/coding"
)

// maxSide is the number of modules on a side of the largest symbol, version 40
// (ISO/IEC 18004, section 6.1).
const maxSide = 17 + 4*coding.MaxVersion

// symbol is a QR code whose size is known and whose modules are not computed
// yet. The content is in byte mode (ISO/IEC 18004, section 7.4.5), which links
// and base64url need: other modes have no small letters.
type symbol struct {
	content string
	version coding.Version
	level   coding.Level
}

var levels = map[Level]coding.Level{LevelL: coding.L, LevelM: coding.M, LevelQ: coding.Q, LevelH: coding.H}

// newSymbol finds the smallest symbol that holds content at a level other than
// LevelAuto.
func newSymbol(content string, l Level) (symbol, error) {
	level, text := levels[l], coding.String(content)
	for v := coding.Version(coding.MinVersion); v <= coding.MaxVersion; v++ {
		if text.Bits(v) <= 8*v.DataBytes(level) {
			return symbol{content, v, level}, nil
		}
	}
	advice := ""
	if l != LevelL {
		advice = fmt.Sprintf(" at level %s; a lower level needs less", l)
	}
	return symbol{}, fmt.Errorf("%w: %d bytes%s", ErrTooLong, len(content), advice)
}

// minPixels is the smallest width and height in which the symbol can be drawn.
func (s symbol) minPixels() int {
	return minScale * (17 + 4*int(s.version) + 2*quietZone)
}

// A line is one row or column of modules, the first one in the lowest bit of a. A
// dark module is 1. It is a struct because the compiler keeps such in registers,
// and an array in memory: the penalty takes half the time.
type line struct{ a, b, c uint64 }

func (l *line) set(i int) {
	switch bit := uint64(1) << (i % 64); i / 64 {
	case 0:
		l.a |= bit
	case 1:
		l.b |= bit
	default:
		l.c |= bit
	}
}

func (l line) has(i int) bool {
	word := l.c
	switch i / 64 {
	case 0:
		word = l.a
	case 1:
		word = l.b
	}
	return word>>(i%64)&1 != 0
}

func (l line) xor(o line) line { return line{l.a ^ o.a, l.b ^ o.b, l.c ^ o.c} }
func (l line) and(o line) line { return line{l.a & o.a, l.b & o.b, l.c & o.c} }
func (l line) or(o line) line  { return line{l.a | o.a, l.b | o.b, l.c | o.c} }
func (l line) not() line       { return line{^l.a, ^l.b, ^l.c} }

// after moves the module n places on (1 to 63) to where the module is.
func (l line) after(n int) line {
	return line{l.a>>n | l.b<<(64-n), l.b>>n | l.c<<(64-n), l.c >> n}
}

// before moves the module n places back (1 to 63) to where the module is.
func (l line) before(n int) line {
	return line{l.a << n, l.b<<n | l.a>>(64-n), l.c<<n | l.b>>(64-n)}
}

func (l line) count() int {
	return bits.OnesCount64(l.a) + bits.OnesCount64(l.b) + bits.OnesCount64(l.c)
}

// first is a line whose first n modules are dark.
func first(n int) line {
	low := func(n int) uint64 { return 1<<max(n, 0) - 1 } // all ones from 64 on
	return line{low(n), low(n - 64), low(n - 128)}
}

// matrix holds the modules of a symbol, by rows and by columns, so that the
// penalty of either is computed alike.
type matrix struct {
	side       int
	rows, cols [maxSide]line
}

func (m *matrix) set(x, y int) {
	m.rows[y].set(x)
	m.cols[x].set(y)
}

// masks is the number of mask patterns (ISO/IEC 18004, table 10).
const masks = 8

// blueprint is what all symbols of a version and level share.
type blueprint struct {
	places []uint16       // y<<8 | x of each bit of the codewords
	masked [masks]*matrix // of each mask, a symbol whose codewords are 0
}

var blueprints [coding.MaxVersion + 1][len("LMQH")]struct {
	once sync.Once
	*blueprint
}

func (s symbol) blueprint() *blueprint {
	l := &blueprints[s.version][s.level]
	l.once.Do(func() { l.blueprint = newBlueprint(s.version, s.level) })
	return l.blueprint
}

func newBlueprint(v coding.Version, level coding.Level) *blueprint {
	b := new(blueprint)
	for i := range b.masked {
		plan, err := coding.NewPlan(v, level, coding.Mask(i))
		if err != nil {
			panic(err) // never: all versions, levels and masks are in its tables
		}
		b.masked[i] = &matrix{side: len(plan.Pixel)}
		b.places = make([]uint16, 8*(plan.DataBytes+plan.CheckBytes)) // the same for all masks
		for y, row := range plan.Pixel {
			for x, pixel := range row {
				if role := pixel.Role(); role == coding.Data || role == coding.Check {
					b.places[pixel.Offset()] = uint16(y<<8 | x) //nolint:gosec // both are below 177
				}
				if pixel&coding.Black != 0 {
					b.masked[i].set(x, y)
				}
			}
		}
	}
	return b
}

// draw computes the modules: those of the mask with the lowest penalty, the
// first of several.
func (s symbol) draw() *matrix {
	b := s.blueprint()
	var codewords coding.Bits
	coding.String(s.content).Encode(&codewords, s.version)
	codewords.AddCheckBytes(s.version, s.level)
	var bits matrix
	for i, codeword := range codewords.Bytes() {
		for bit := range 8 {
			if codeword&(0x80>>bit) != 0 {
				place := b.places[8*i+bit]
				bits.set(int(place&0xff), int(place>>8))
			}
		}
	}
	var best, candidate matrix
	lowest := -1
	for _, masked := range b.masked {
		candidate.side = masked.side
		for i := range masked.side {
			candidate.rows[i], candidate.cols[i] = masked.rows[i].xor(bits.rows[i]), masked.cols[i].xor(bits.cols[i])
		}
		if p := candidate.penalty(); lowest < 0 || p < lowest {
			lowest, best = p, candidate
		}
	}
	return &best
}
