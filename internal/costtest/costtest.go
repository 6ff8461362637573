// Package costtest has bodies that cost a careless parser the most, for the
// tests that bound what a request may cost.
package costtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
)

// Bounds are the sizes of requests, and what one may allocate. What is
// allocated stands for the time as well, which a test cannot assert.
var Bounds = []struct {
	Size  int    // bytes of the body
	Bytes uint64 // that are allocated
}{{10 << 10, 1 << 20}, {256 << 10, 8 << 20}}

// Allocated is how many bytes a call allocates.
func Allocated(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Fit puts a text of a shape into a body of at most size bytes.
func Fit(size int, shape func(size int) string, body func(text string) string) string {
	room := size - len(body(""))
	filled := body(shape(room))
	if len(filled) > size { // the body escapes the text
		filled = body(shape(room * size / len(filled)))
	}
	return filled
}

// Quoted is a text as a JSON string.
func Quoted(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

// Shapes make texts of at most so many bytes: wide, deep, with much to escape,
// and with what is searched for in bodies.
var Shapes = map[string]func(size int) string{
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
		inside := list(n-1000, func(int) string { return `{"id":"a"}` })
		return strings.Repeat(`{"dispatchTarget":`, 20) + inside + strings.Repeat("}", 20)
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
		next := `{"dispatchTarget":` + Quoted(text) + `,"encKey":` + Quoted(text) + `}`
		if len(next) > size {
			return text
		}
		text = next
	}
}
