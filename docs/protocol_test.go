package docs

import (
	"regexp"
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/assumptions"
)

// The assumptions that caddy oob doctor examines are those of protocol.md.
func TestAssumptions(t *testing.T) {
	var written, examined [][2]string
	for _, row := range regexp.MustCompile(`(?m)^\| (A\d+) \| (.+?) \|`).FindAllStringSubmatch(readFile(t, "docs/protocol.md"), -1) {
		written = append(written, [2]string{row[1], row[2]})
	}
	for _, a := range assumptions.All() {
		examined = append(examined, [2]string{a.ID, a.Place})
	}
	if !slices.Equal(written, examined) || len(written) == 0 {
		t.Errorf("protocol.md has\n%q\nand doctor examines\n%q", written, examined)
	}
}
