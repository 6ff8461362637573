package qr

// The weights of the penalties (ISO/IEC 18004, table 11).
const (
	penaltyRun     = 3
	penaltyBlock   = 3
	penaltyFinder  = 40
	penaltyBalance = 10
)

// penalty says how hard the symbol is to read (ISO/IEC 18004, section 7.8.3.1).
func (m *matrix) penalty() int {
	pairs := first(m.side - 1)
	sum, dark := 0, 0
	for i := range m.side {
		row, col := m.rows[i], m.cols[i]
		sum += runs(row, pairs) + runs(col, pairs) + finders(row) + finders(col)
		if i > 0 {
			above := row.xor(m.rows[i-1]).not()
			sum += penaltyBlock * row.xor(row.after(1)).not().and(above).and(above.after(1)).and(pairs).count()
		}
		dark += row.count()
	}
	modules := m.side * m.side
	return sum + penaltyBalance*(max(2*dark-modules, modules-2*dark)*10/modules)
}

// runs is the penalty for five or more modules of one color in a line: their
// number less two. Five modules are four equal pairs.
func runs(l, pairs line) int {
	equal := l.xor(l.after(1)).not().and(pairs)
	two := equal.and(equal.after(1))
	four := two.and(two.after(2))
	starts := four.and(four.before(1).not())
	return four.count() + (penaltyRun-1)*starts.count()
}

// finders is the penalty for what looks like a finder: dark and light 1:1:3:1:1,
// with four light modules before or after it. What lies outside of the line is
// light.
func finders(l line) int {
	three := l.and(l.after(1)).and(l.after(2))
	pattern := l.and(three.after(2)).and(l.after(6)).and(l.after(1).or(l.after(5)).not())
	if pattern == (line{}) {
		return 0
	}
	darkAfter, darkBefore := l.or(l.after(1)), l.or(l.before(1))
	darkAfter = darkAfter.or(darkAfter.after(2)).after(7)
	darkBefore = darkBefore.or(darkBefore.before(2)).before(1)
	return penaltyFinder * pattern.and(darkAfter.and(darkBefore).not()).count()
}
