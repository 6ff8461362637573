package qr

// The weights of the penalties (ISO/IEC 18004, table 11).
const (
	penaltyRun     = 3
	penaltyBlock   = 3
	penaltyFinder  = 40
	penaltyBalance = 10
)

// penalty says how hard the symbol is to read. It follows go-qrcode, which
// counts runs from six modules on, so that the symbols stay the same.
func (m *matrix) penalty() int {
	all, pairs := first(m.side), first(m.side-1)
	sum, dark := 0, 0
	for i := range m.side {
		row, col := m.rows[i], m.cols[i]
		sum += runs(row, pairs) + runs(col, pairs) + finders(row, m.side, all) + finders(col, m.side, all)
		if i > 0 {
			above := row.xor(m.rows[i-1]).not()
			sum += penaltyBlock * row.xor(row.after(1)).not().and(above).and(above.after(1)).and(pairs).count()
		}
		dark += row.count()
	}
	modules := m.side * m.side
	return sum + penaltyBalance*(max(modules/2-dark, dark-modules/2)/(modules/20))
}

// runs is the penalty for six or more modules of one color in a line: their
// number less two. In the line of equal pairs that is a run of five or more,
// and one shorter than the modules.
func runs(l, pairs line) int {
	equal := l.xor(l.after(1)).not().and(pairs)
	two := equal.and(equal.after(1))
	five := two.and(two.after(2)).and(equal.after(4))
	starts := five.and(five.before(1).not())
	return five.count() + penaltyRun*starts.count()
}

// The pattern of a finder, dark and light 1:1:3:1:1, with four light modules
// before or after it.
const (
	finder       = 0b1011101
	lightBefore  = finder
	lightAfter   = finder << 4
	finderLength = 7
	windowLength = finderLength + 4
)

// finders is the penalty for what looks like a finder. Most lines have nothing
// that does, which a few operations on the whole line tell.
func finders(l line, side int, all line) int {
	light := l.not().and(all)
	pattern := l.and(light.after(1)).and(l.after(2)).and(l.after(3)).and(l.after(4)).and(light.after(5)).and(l.after(6))
	if pattern == (line{}) {
		return 0
	}
	outside := l.not() // what lies before and behind the line counts as light
	fourAfter := outside.after(7).and(outside.after(8)).and(outside.after(9)).and(outside.after(10))
	fourBefore := l.before(1).not().and(l.before(2).not()).and(l.before(3).not()).and(l.before(4).not())
	if pattern.and(fourAfter) == (line{}) && pattern.and(fourBefore) == (line{}) {
		return 0
	}
	return countFinders(l, side)
}

// countFinders goes through a line module by module. A pattern that was counted
// is taken for dark afterwards.
func countFinders(l line, side int) (sum int) {
	const window, taken = 1<<windowLength - 1, 0xff
	seen := 0
	for i := range side {
		seen <<= 1
		if l.has(i) {
			seen |= 1
		}
		switch seen & window {
		case lightBefore, lightAfter:
		default:
			if i != side-1 || seen&(1<<finderLength-1) != finder {
				continue
			}
		}
		sum += penaltyFinder
		seen = taken
	}
	return sum
}
