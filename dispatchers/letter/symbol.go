package letter

import (
	"fmt"
	"strings"
)

// Sizes on paper. A hundredth of an inch is a whole number of dots at 200, 300
// and 600 dots per inch, so that all modules come out alike.
const (
	moduleStep = 0.254           // mm
	minModule  = 2 * moduleStep  // 0.508 mm: 4 dots at 200 dpi
	maxModule  = 4 * moduleStep  // 1.016 mm
	quietZone  = 4               // modules (ISO/IEC 18004, section 6.3.8)
	maxCode    = 185 * minModule // side of the largest symbol with its quiet zone
	pointsPer  = 72.0 / 25.4     // points per mm
	a4Height   = 297.0           // mm
	a4HeightPt = a4Height * 72.0 / 25.4
)

// moduleSize returns the largest size of a module, in mm, with which the code
// and its quiet zone stay within maxCode.
func moduleSize(code [][]bool) float64 {
	n := float64(len(code) + 2*quietZone)
	size := maxModule
	for size > minModule && n*size > maxCode {
		size -= moduleStep
	}
	return size
}

// codePath returns the code as one PDF path with the top left corner of its
// quiet zone at x and y, in mm from that of the page. It is filled at once, so
// that there are no gaps between modules.
func codePath(code [][]bool, x, y, size float64) string {
	var path strings.Builder
	path.WriteString("0 g\n")
	for i, row := range code {
		top := y + float64(i+1+quietZone)*size
		for j := 0; j < len(row); j++ {
			start := j
			for j < len(row) && row[j] {
				j++
			}
			if j == start {
				continue
			}
			left := x + float64(start+quietZone)*size
			fmt.Fprintf(&path, "%.3f %.3f %.3f %.3f re\n",
				left*pointsPer, a4HeightPt-top*pointsPer, float64(j-start)*size*pointsPer, size*pointsPer)
		}
	}
	path.WriteString("f")
	return path.String()
}
