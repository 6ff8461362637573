package docs

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/assumptions"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
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

// Every member that the sidecar can put into an answer stands in the README.
func TestAnswerMembersAreDocumented(t *testing.T) {
	out := nevisfido.Outcome{Result: nevisfido.Dispatched, Dispatcher: "d", Response: []byte(`""`), VisualCode: "1234", VisualCodePicture: "<svg/>"}
	fields := reflect.ValueOf(out)
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			t.Errorf("this test has no %s", fields.Type().Field(i).Name)
		}
	}
	var answer map[string]any
	if err := json.Unmarshal(nevisfido.RefusalAnswer(out), &answer); err != nil {
		t.Fatal(err)
	}
	readme := readFile(t, "README.md")
	for name := range answer {
		if !strings.Contains(readme, "`"+name+"`") {
			t.Errorf("the README has no `%s`", name)
		}
	}
}
