package nevisfido

import (
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/costtest"
)

// wraps put a value where some of the parsers look at it.
var wraps = map[string]struct {
	parsers string // all where empty
	wrap    func(string) string
}{
	"alone":             {"", func(v string) string { return v }},
	"text":              {"FindKeys ParseJWK ParseEnvelope", quoted},
	"keys":              {"ParseTarget ParseModification", func(v string) string { return `{"keys":` + v + `}` }},
	"encryptionKey":     {"ParseTarget ParseModification", func(v string) string { return `{"encryptionKey":` + v + `,"signatureKey":{}}` }},
	"encryption, text":  {"ParseTarget ParseModification", func(v string) string { return `{"encryptionKey":` + quoted(v) + `}` }},
	"dispatchTargets":   {"RenameDispatchers ParseTarget", func(v string) string { return `{"dispatchTargets":` + v + `}` }},
	"context":           {"ParseRegistration", func(v string) string { return `{"context":` + v + `}` }},
	"context, text":     {"ParseRegistration", func(v string) string { return `{"context":` + quoted(v) + `}` }},
	"description":       {"ParseRegistered", func(v string) string { return `{"statusCode":1200,"description":` + v + `}` }},
	"description, text": {"ParseRegistered", func(v string) string { return `{"statusCode":1200,"description":` + quoted(v) + `}` }},
	"data":              {"ParseDispatchRequest", func(v string) string { return `{"dispatchInformation":{"data":` + v + `}}` }},
	"all in text":       {"ParseDispatchRequest", func(v string) string { return `{"dispatchInformation":` + quoted(`{"data":`+quoted(v)+`}`) + `}` }},
	"UAF request":       {"ParseDispatchRequest", func(v string) string { return `{"getUafRequest":{"context":` + quoted(v) + `}}` }},
	"response":          {"ParseDispatchAnswer", func(v string) string { return `{"dispatcherInformation":{"response":` + v + `}}` }},
	"nma_data":          {"ParseEnvelope", func(v string) string { return `{"nma_data":` + v + `}` }},
}

// parsers are all that take what a request or an answer brings.
var parsers = map[string]func(body []byte){
	"ParseTarget": func(body []byte) {
		if t, err := ParseTarget(body); err == nil {
			t.WithDispatcher("push")
		}
	},
	"ParseModification": func(body []byte) { _, _ = ParseModification(body) },
	"ParseRegistration": func(body []byte) { _, _ = ParseRegistration(body) },
	"ParseRegistered":   func(body []byte) { _, _ = ParseRegistered(body) },
	"ParseCreated":      func(body []byte) { _, _ = ParseCreated(body) },
	"ParseDispatchRequest": func(body []byte) {
		if r, err := ParseDispatchRequest(body); err == nil {
			r.WithDispatcher("push")
			NewContent("t", "u").WithData(r.Data).JSON()
		}
	},
	"ParseDispatchAnswer": func(body []byte) {
		if a, err := ParseDispatchAnswer(body); err == nil {
			a.WithOutcome(Outcome{Result: Dispatched, VisualCode: "1"})
		}
	},
	"RenameDispatchers": func(body []byte) {
		_, _ = RenameDispatchers(body, func(_, name string) string { return name + "x" })
	},
	"FindKeys":                func(body []byte) { FindKeys(map[string][]byte{"a": body}) },
	"ParseJWK":                func(body []byte) { ParseJWK(body) },
	"ParseEncodingParameters": func(body []byte) { _, _ = ParseEncodingParameters(body) },
	"ParseEnvelope": func(body []byte) {
		if e, err := ParseEnvelope(body); err == nil {
			_, _ = e.PlainContent()
		}
	},
	"Recognise": func(body []byte) { _, _ = Recognise("/", "DELETE", string(body)) },
}

// A request costs at most a hundred times its size, and a large one less.
func TestCostOfHostileBodies(t *testing.T) {
	for _, bound := range costtest.Bounds {
		for shape, text := range costtest.Shapes {
			for wrap, in := range wraps {
				body := costtest.Fit(bound.Size, text, in.wrap)
				for name, parse := range parsers {
					if in.parsers != "" && !slices.Contains(strings.Fields(in.parsers), name) {
						continue
					}
					if cost := costtest.Allocated(func() { parse([]byte(body)) }); cost > bound.Bytes {
						t.Errorf("%s of %d bytes, %s as %s: %d KiB", name, len(body), shape, wrap, cost>>10)
					}
				}
			}
		}
	}
}
