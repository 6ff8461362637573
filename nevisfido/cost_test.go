package nevisfido

import (
	"encoding/base64"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// hostile are bodies of at most so many bytes that cost a careless parser the
// most: wide, deep, with much to escape, and with what the searches look for.
var hostile = map[string]func(size int) string{
	"ids":             func(n int) string { return list(n, func(int) string { return `{"id":"a"}` }) },
	"empty objects":   func(n int) string { return list(n, func(int) string { return `{}` }) },
	"empty arrays":    func(n int) string { return list(n, func(int) string { return `[]` }) },
	"numbers":         func(n int) string { return list(n, func(int) string { return `0` }) },
	"empty strings":   func(n int) string { return list(n, func(int) string { return `""` }) },
	"keys":            func(n int) string { return list(n, func(i int) string { return fmt.Sprintf(`{"kty":"%d"}`, i) }) },
	"one key":         func(n int) string { return list(n, func(int) string { return `{"kty":"RSA"}` }) },
	"keys in text":    func(n int) string { return list(n, func(i int) string { return fmt.Sprintf(`"{\"kty\":\"%d\"}"`, i) }) },
	"objects in text": func(n int) string { return list(n, func(int) string { return `"{\"id\":\"a\"}"` }) },
	"base64":          func(n int) string { return list(n, func(int) string { return `"eyJrdHkiOiJSU0EifQ"` }) },
	"targets": func(n int) string {
		return list(n, func(i int) string { return fmt.Sprintf(`{"target":"a","k":{"kty":"%d"}}`, i) })
	},
	"targets of names": func(n int) string { return list(n, func(int) string { return `{"dispatchTarget":{"id":"a"}}` }) },
	"full targets": func(n int) string {
		return list(n, func(i int) string { return fmt.Sprintf(`{"id":"%d","dispatcher":"a","name":"b","target":"c"}`, i) })
	},
	"members":      func(n int) string { return members(n, func(i int) string { return fmt.Sprintf(`"%x":0`, i) }) },
	"object names": func(n int) string { return members(n, func(i int) string { return fmt.Sprintf(`"%x":{}`, i) }) },
	"speaking": func(n int) string {
		return members(n, func(i int) string { return fmt.Sprintf(`"encA.b.c.key%x":"a"`, i) })
	},
	"members of a key": func(n int) string {
		return `{"kty":"RSA",` + strings.TrimPrefix(members(n-13, func(i int) string { return fmt.Sprintf(`"%x":0`, i) }), "{")
	},
	"operations": func(n int) string {
		return `{"kty":"RSA","key_ops":` + list(n-26, func(int) string { return `"a"` }) + `}`
	},
	"long name": func(n int) string { return `{"` + strings.Repeat("a.B", (n-8)/3) + `":0}` },
	"long text": func(n int) string { return `"` + strings.Repeat("a", n-2) + `"` },
	"escapes":   func(n int) string { return `"` + strings.Repeat(`\u0061`, n/6-1) + `"` },
	"long base64": func(n int) string {
		return `"` + base64.RawStdEncoding.EncodeToString([]byte(`{"a":"`+strings.Repeat("a", n*3/4-24)+`"}`)) + `"`
	},
	"deep, wide": func(n int) string {
		return deep(n, `{"dispatchTarget":`, list(n-1000, func(int) string { return `{"id":"a"}` }), `}`)
	},
	"deep strings": deepStrings,
	"deep and in steps": func(n int) string {
		part := list(n/28-40, func(int) string { return `{"kty":1}` })
		return strings.Repeat(`{"encKey":`+part+`,"target":`, 26) + part + strings.Repeat("}", 26)
	},
	"slashes":  func(n int) string { return "/" + strings.Repeat("a/", n/2) },
	"dots":     func(n int) string { return strings.Repeat("/..;/%2525a", n/11) },
	"too deep": func(n int) string { return strings.Repeat("[", n/2) + strings.Repeat("]", n/2) },
	"unclosed": func(n int) string { return strings.Repeat(`{"a":`, n/5) },
}

func list(size int, element func(i int) string) string   { return filled("[", "]", size, element) }
func members(size int, member func(i int) string) string { return filled("{", "}", size, member) }

func deep(_ int, opening, inside, closing string) string {
	return strings.Repeat(opening, 20) + inside + strings.Repeat(closing, 20)
}

func filled(opening, closing string, size int, part func(i int) string) string {
	var b strings.Builder
	b.WriteString(opening)
	for i := 0; ; i++ {
		p := part(i)
		if b.Len()+len(p)+2 > size {
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(p)
	}
	return b.String() + closing
}

func deepStrings(size int) string {
	text := `{"a":"b"}`
	for {
		next := `{"dispatchTarget":` + quoted(text) + `,"encKey":` + quoted(text) + `}`
		if len(next) > size {
			return text
		}
		text = next
	}
}

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

// allocated is how many bytes a call allocates.
func allocated(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A request costs at most a hundred times its size, and a large one less: 1 MiB
// for 10 KiB, 8 MiB for 256 KiB. What is allocated stands for the time as well.
func TestCostOfHostileBodies(t *testing.T) {
	for _, bound := range []struct {
		size  int
		bytes uint64
	}{{10 << 10, 1 << 20}, {256 << 10, 8 << 20}} {
		for shape, make := range hostile {
			for wrap, in := range wraps {
				body := in.wrap(make(bound.size - 64))
				if len(body) > bound.size { // escaped
					body = in.wrap(make(bound.size * (bound.size - 64) / len(body)))
				}
				for name, parse := range parsers {
					if in.parsers != "" && !slices.Contains(strings.Fields(in.parsers), name) {
						continue
					}
					cost := allocated(func() { parse([]byte(body)) })
					if cost > bound.bytes {
						t.Errorf("%s of %d bytes, %s as %s: %d KiB", name, len(body), shape, wrap, cost>>10)
					}
				}
			}
		}
	}
}
