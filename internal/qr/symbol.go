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
	return symbol{}, fmt.Errorf("%w: %d bytes%s", ErrTooLong, len(content), atLevel(l))
}

// minPixels is the smallest width and height in which the symbol can be drawn.
func (s symbol) minPixels() int {
	return minScale * (17 + 4*int(s.version) + 2*quietZone)
}

// A line is one row or column of modules, the first one in the lowest bit. A
// dark module is 1.
type line [3]uint64

func (l *line) set(i int)     { l[i/64] |= 1 << (i % 64) }
func (l line) has(i int) bool { return l[i/64]>>(i%64)&1 != 0 }
func (l line) xor(o line) line {
	return line{l[0] ^ o[0], l[1] ^ o[1], l[2] ^ o[2]}
}

func (l line) and(o line) line {
	return line{l[0] & o[0], l[1] & o[1], l[2] & o[2]}
}
func (l line) not() line { return line{^l[0], ^l[1], ^l[2]} }

// after moves the module n places on (1 to 63) to where the module is.
func (l line) after(n int) line {
	return line{l[0]>>n | l[1]<<(64-n), l[1]>>n | l[2]<<(64-n), l[2] >> n}
}

// before moves the module n places back (1 to 63) to where the module is.
func (l line) before(n int) line {
	return line{l[0] << n, l[1]<<n | l[0]>>(64-n), l[2]<<n | l[1]>>(64-n)}
}

func (l line) count() int {
	return bits.OnesCount64(l[0]) + bits.OnesCount64(l[1]) + bits.OnesCount64(l[2])
}

// first is a line whose first n modules are dark.
func first(n int) (l line) {
	for i := range l {
		switch left := n - 64*i; {
		case left >= 64:
			l[i] = ^uint64(0)
		case left > 0:
			l[i] = 1<<left - 1
		}
	}
	return l
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
	fixed  matrix            // the function patterns
	places []uint16          // y<<8 | x of each bit of the codewords
	masked [masks]*matrix    // the modules that each mask inverts
	format [masks][]position // the dark modules of the format information
}

type position struct{ x, y int }

var blueprints [coding.MaxVersion + 1][len("LMQH")]struct {
	once sync.Once
	*blueprint
}

func (s symbol) blueprint() *blueprint {
	l := &blueprints[s.version][s.level]
	l.once.Do(func() { l.blueprint = newBlueprint(s.version, s.level) })
	return l.blueprint
}

// newBlueprint takes a plan of package coding apart, which holds one mask.
func newBlueprint(v coding.Version, level coding.Level) *blueprint {
	plan := mustPlan(v, level, 0)
	l := &blueprint{places: make([]uint16, 8*(plan.DataBytes+plan.CheckBytes))}
	l.fixed.side = len(plan.Pixel)
	var formatAt [15][]position
	for i := range masks {
		l.masked[i] = &matrix{side: l.fixed.side}
	}
	for y, row := range plan.Pixel {
		for x, pixel := range row {
			switch role := pixel.Role(); role {
			case coding.Format:
				formatAt[pixel.Offset()] = append(formatAt[pixel.Offset()], position{x, y})
			case coding.Data, coding.Check, coding.Extra:
				if role != coding.Extra {
					l.places[pixel.Offset()] = uint16(y<<8 | x) //nolint:gosec // both are below 177
				}
				for i := range masks {
					if coding.Mask(i).Invert(y, x) {
						l.masked[i].set(x, y)
					}
				}
			default:
				if pixel&coding.Black != 0 {
					l.fixed.set(x, y)
				}
			}
		}
	}
	for i := range masks {
		for _, bit := range formatBits(level, coding.Mask(i)) {
			l.format[i] = append(l.format[i], formatAt[bit]...)
		}
	}
	return l
}

// formatBits returns which of the 15 bits of the format information are dark.
// They are the same for all versions.
func formatBits(level coding.Level, mask coding.Mask) (dark []uint) {
	seen := map[uint]bool{}
	for _, row := range mustPlan(coding.MinVersion, level, mask).Pixel {
		for _, pixel := range row {
			if bit := pixel.Offset(); pixel.Role() == coding.Format && pixel&coding.Black != 0 && !seen[bit] {
				seen[bit] = true
				dark = append(dark, bit)
			}
		}
	}
	return dark
}

func mustPlan(v coding.Version, l coding.Level, m coding.Mask) *coding.Plan {
	plan, err := coding.NewPlan(v, l, m)
	if err != nil {
		panic(err) // never: all versions and levels are in its tables
	}
	return plan
}

// draw computes the modules: those of the mask with the lowest penalty, the
// first of several.
func (s symbol) draw() *matrix {
	l := s.blueprint()
	var codewords coding.Bits
	coding.String(s.content).Encode(&codewords, s.version)
	codewords.AddCheckBytes(s.version, s.level)
	unmasked := l.fixed
	for i, b := range codewords.Bytes() {
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				place := l.places[8*i+bit]
				unmasked.set(int(place&0xff), int(place>>8))
			}
		}
	}
	var best, candidate matrix
	lowest := -1
	for i := range masks {
		candidate.mask(&unmasked, l.masked[i], l.format[i])
		if p := candidate.penalty(); lowest < 0 || p < lowest {
			lowest, best = p, candidate
		}
	}
	return &best
}

// mask makes m of the unmasked modules, a mask and the format information.
func (m *matrix) mask(unmasked, mask *matrix, format []position) {
	m.side = unmasked.side
	for i := range m.side {
		m.rows[i] = unmasked.rows[i].xor(mask.rows[i])
		m.cols[i] = unmasked.cols[i].xor(mask.cols[i])
	}
	for _, p := range format {
		m.set(p.x, p.y)
	}
}
