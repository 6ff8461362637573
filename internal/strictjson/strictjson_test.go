package strictjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

func TestParse(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	wide := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	many := func(n int) string { return "[" + strings.Repeat("0,", n-1) + "0]" }
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"object", `{"a":1}`, true},
		{"white space", " \t\r\n{ \"a\" : [ 1 , true , null , \"x\" ] } \n", true},
		{"string", `"a\"b"`, true},
		{"number", `-1.5e3`, true},
		{"same name at two levels", `{"a":{"a":1}}`, true},
		{"names that differ in case", `{"a":1,"A":2}`, true},
		{"nested as deep as allowed", nested(strictjson.MaxDepth), true},
		{"many members", wide(strictjson.MaxMembers), true},
		{"many values", many(strictjson.MaxValues - 1), true},
		{"brackets in a string", `["` + strings.Repeat("[", 100) + `"]`, true},

		{"nothing", "", false},
		{"white space only", " ", false},
		{"truncated", `{"a":`, false},
		{"duplicate name", `{"a":1,"a":1}`, false},
		{"duplicate name, escaped", `{"a":1,"\u0061":1}`, false},
		{"duplicate name below", `{"x":[{"a":1,"a":1}]}`, false},
		{"two values", `{}{}`, false},
		{"byte order mark", "\ufeff{}", false},
		{"UTF-16", "{\x00}\x00", false},
		{"not UTF-8", "{\"a\":\"\xff\"}", false},
		{"lone surrogate", `{"a":"\ud800"}`, false},
		{"trailing comma", `{"a":1,}`, false},
		{"comment", `{} // x`, false},
		{"single quotes", `{'a':1}`, false},
		{"100,000 levels, unfinished", `{"a":` + strings.Repeat("[", 100_000) + "}", false},
		{"nested too deep", nested(strictjson.MaxDepth + 1), false},
		{"too many members", wide(strictjson.MaxMembers + 1), false},
		{"too many values", many(strictjson.MaxValues + 1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := strictjson.Parse([]byte(tt.text)); (err == nil) != tt.ok {
				t.Errorf("error %v, want ok %t", err, tt.ok)
			}
		})
	}
	if _, err := strictjson.ParseObject([]byte("[]")); err == nil {
		t.Error("an array passes for an object")
	}
}

func TestErrorsQuoteNothing(t *testing.T) {
	for _, text := range []string{`{"canary":1,"canary":2}`, `{"x":canary}`, `{"canary`, `{} canary`, "{\"canary\xff\":1}"} {
		if _, err := strictjson.Parse([]byte(text)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestMembers(t *testing.T) {
	v, err := strictjson.Parse([]byte(` {"a":"x\n","\u0062":{"c":[1,{"d":2},"e"]},"n":null,"z":-0.5} `))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Member("a").Text(); got != "x\n" {
		t.Errorf("a is %q", got)
	}
	list := v.Member("b").Member("c")
	var raws []string
	for name, element := range list.Children() {
		raws = append(raws, name+string(element.Raw()))
	}
	if got := strings.Join(raws, "|"); got != `1|{"d":2}|"e"` {
		t.Errorf("elements %s", got)
	}
	if v.Member("n").Exists() || !v.Find("n").Exists() || v.Find("c").Exists() {
		t.Error("null, or a member that is not there, is read wrongly")
	}
	if v.Member("z").Kind() != '0' || v.Kind() != '{' || list.Kind() != '[' {
		t.Error("kinds are read wrongly")
	}
}

// The same text gives the same error each time.
func TestStringsReportsTheFirst(t *testing.T) {
	v, err := strictjson.ParseObject([]byte(`{"d":1,"b":2,"c":3,"a":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		var a, b, c, d string
		err := v.Strings(strictjson.Text{Name: "a", To: &a}, strictjson.Text{Name: "b", To: &b}, strictjson.Text{Name: "c", To: &c}, strictjson.Text{Name: "d", To: &d})
		if err == nil || !strings.Contains(err.Error(), `"d"`) {
			t.Fatal(err)
		}
	}
}

func TestWith(t *testing.T) {
	edits := []strictjson.Edit{{"a", []byte(`"new"`)}, {"b", []byte(`2`)}}
	for text, want := range map[string]string{
		`{}`:                            `{"a":"new","b":2}`,
		` { } `:                         ` { "a":"new","b":2} `,
		`{"a":{"a":1},"c":1.50}`:        `{"a":"new","c":1.50,"b":2}`,
		"{\"b\" : [1] ,\n\"x\":\"}\" }": "{\"b\" : 2 ,\n\"x\":\"}\" ,\"a\":\"new\"}",
		`{"\u0061":1}`:                  `{"\u0061":"new","b":2}`,
	} {
		v, err := strictjson.ParseObject([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(v.With(edits...)); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}

func TestMap(t *testing.T) {
	for text, want := range map[string]string{`[ ]`: `[ ]`, `[ 1 ,{"a":2}]`: `[ <1> ,<{"a":2}>]`, `{"a" : 1}`: `{"a" : <1>}`} {
		v, err := strictjson.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(v.Map(func(c strictjson.Value) []byte { return []byte("<" + string(c.Raw()) + ">") })); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}

func TestParseAllocatesLittle(t *testing.T) {
	for name, text := range map[string]string{
		"array":   "[" + strings.Repeat("{},", 4000) + "0]",
		"strings": "[" + strings.Repeat(`"{}",`, 4000) + "0]",
		"deep":    "[" + strings.Repeat(strings.Repeat("[", 30)+strings.Repeat("]", 30)+",", 130) + "0]",
		"bad":     strings.Repeat("[", 250_000),
		"beyond":  "[" + strings.Repeat("0,", 125_000) + "0]",
	} {
		if n := testing.AllocsPerRun(5, func() { _, _ = strictjson.Parse([]byte(text)) }); n > 20 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Whatever passes is read alike by encoding/json, member for member.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"token":"t","dispatchInformation":{"data":{"a":[1,2,{"b":null}]}}}`, ` [ "a\"b" , -1.5e+3 , true ] `, `{"a":1,"a":2}`,
		`{"\u0061":"\ud83d\ude00"}`, "\ufeff{}", "{}{}", strings.Repeat("[", 40), `"\\"`, `{"":{"":{"":[]}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := strictjson.Parse(text)
		if err == nil {
			compare(t, v, v.Raw())
		}
	})
}

func compare(t *testing.T, v strictjson.Value, raw []byte) {
	t.Helper()
	switch v.Kind() {
	case '{':
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		n := 0
		for name, child := range v.Children() {
			if string(child.Raw()) != string(want[name]) || string(v.Find(name).Raw()) != string(want[name]) {
				t.Fatalf("member %q is %s, want %s", name, child.Raw(), want[name])
			}
			compare(t, child, want[name])
			n++
		}
		if n != len(want) {
			t.Fatalf("%d members, want %d", n, len(want))
		}
		edited := v.With(strictjson.Edit{Name: "k", Value: []byte("7")})
		if again, err := strictjson.Parse(edited); err == nil && string(again.Member("k").Raw()) != "7" {
			t.Fatalf("edited to %s", edited)
		}
	case '[':
		var want []json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		for _, child := range v.Children() {
			if len(want) == 0 || string(child.Raw()) != string(want[0]) {
				t.Fatalf("elements differ at %s", child.Raw())
			}
			compare(t, child, want[0])
			want = want[1:]
		}
		if len(want) > 0 {
			t.Fatal("elements are missing")
		}
	case '"':
		var want string
		if err := json.Unmarshal(raw, &want); err != nil || v.Text() != want {
			t.Fatalf("string %q, want %q", v.Text(), want)
		}
	}
}
