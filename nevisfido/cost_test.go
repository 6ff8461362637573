package nevisfido

import (
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/costtest"
)

// What does not come as the body of a request costs at most a hundred times its
// size, and a large one less. Bodies of requests are for TestCostOfHostileRequests
// of the exchange.
func TestCostOfHostileBodies(t *testing.T) {
	alone := func(text string) string { return text }
	in := func(around string) func(string) string {
		return func(text string) string { return strings.Replace(around, "%s", text, 1) }
	}
	quotedIn := func(around string) func(string) string {
		return func(text string) string { return strings.Replace(around, "%s", quoted(text), 1) }
	}
	for name, c := range map[string]struct {
		parse  func(body []byte)
		places []func(text string) string
	}{
		"ParseRegistered": {
			func(body []byte) { _, _ = ParseRegistered(body) },
			[]func(string) string{alone, in(`{"statusCode":1200,"description":%s}`), quotedIn(`{"statusCode":1200,"description":%s}`)},
		},
		"ParseCreated": {func(body []byte) { _, _ = ParseCreated(body) }, []func(string) string{alone}},
		"ParseDispatchAnswer": {func(body []byte) {
			if a, err := ParseDispatchAnswer(body); err == nil {
				a.WithOutcome(Outcome{Result: Dispatched, VisualCode: "1"})
			}
		}, []func(string) string{alone, in(`{"dispatcherInformation":{"response":%s}}`)}},
		"RenameDispatchers": {func(body []byte) {
			_, _ = RenameDispatchers(body, func(_, name string) string { return name + "x" })
		}, []func(string) string{alone, in(`{"dispatchTargets":%s}`)}},
		"FindKeys":                {func(body []byte) { FindKeys(map[string][]byte{"a": body}) }, []func(string) string{alone, quoted}},
		"ParseJWK":                {func(body []byte) { ParseJWK(body) }, []func(string) string{alone, quoted}},
		"ParseEncodingParameters": {func(body []byte) { _, _ = ParseEncodingParameters(body) }, []func(string) string{alone}},
		"ParseEnvelope": {func(body []byte) {
			if e, err := ParseEnvelope(body); err == nil {
				_, _ = e.PlainContent()
			}
		}, []func(string) string{alone, quoted, in(`{"nma_data":%s}`)}},
		"Recognise": {func(path []byte) { _, _ = Recognise("/", "DELETE", string(path)) }, []func(string) string{alone}},
	} {
		for _, bound := range costtest.Bounds {
			for shape, text := range costtest.Shapes {
				for _, place := range c.places {
					body := costtest.Fit(bound.Size, text, place)
					if cost := costtest.Allocated(func() { c.parse([]byte(body)) }); cost > bound.Bytes {
						t.Errorf("%s of %d bytes, %s in %.40q: %d KiB", name, len(body), shape, place(""), cost>>10)
					}
				}
			}
		}
	}
}
