package shapes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func seen(request string) *Set {
	s := NewSet()
	s.Add(Message{Route: nevisfido.Route{Call: nevisfido.CreateTarget}, Request: Body{Text: []byte(request)}})
	return s
}

// Every value has the type that it is, and what strings hold is looked into.
func TestTypes(t *testing.T) {
	inBase64 := base64.StdEncoding.EncodeToString([]byte(`{"kty":"EC"}`))
	part := base64.RawURLEncoding.EncodeToString
	header := part([]byte(`{"alg":"ES256"}`))
	jws := header + "." + part([]byte(`{"requestId":"a"}`)) + ".c2ln"
	link := "https://a.example.com/?x=1&dispatchTokenResponse=" + part([]byte(`{"nma_data":{"token":"a","order":{"a":1}}}`))
	for _, tt := range []struct{ value, path, want string }{
		{`{}`, "", "object"},
		{`[{"id":"a"},{"id":null}]`, "/[]/id", "null ×1, string ×1"},
		{`{"kty":"RSA"}`, "/kty", "= RSA ×1"},
		{`{"kty":"RSA"}`, "", "JWK"},
		{`{"kty":"my own"}`, "/kty", "string ×1"},
		{`"{\"kty\":\"RSA\"}"`, "", "JWK in text"},
		{fmt.Sprintf("%q", inBase64), "", "JWK in base64"},
		{fmt.Sprintf("%q", jws), "", "JWS"},
		{fmt.Sprintf("%q", jws), "/(header)/alg", "= ES256 ×1"},
		{fmt.Sprintf("%q", jws), "/(payload)/requestId", "string ×1"},
		{fmt.Sprintf("%q", header+".a.b.c.d"), "", "JWE"},
		{`"a.b.c"`, "", "string"},
		{fmt.Sprintf("%q", link), "", "link"},
		{fmt.Sprintf("%q", link), "/dispatchTokenResponse/nma_data/token", "string ×1"},
		{fmt.Sprintf("%q", link+"%3D"), "/dispatchTokenResponse", "object in base64 ×1"},
		{fmt.Sprintf("%q", link), "/dispatchTokenResponse/nma_data/(masked)", "not looked at ×1"},
		{`"https://a.example.com/?dispatchTokenResponse=x"`, "/dispatchTokenResponse", "string ×1"},
		{`"iVBORw0KGgoAAAA"`, "", "PNG in base64"},
		{`"4711"`, "", "digits"},
		{`""`, "", "empty string"},
		{`1.5`, "", "number"},
		{`true`, "", "boolean"},
	} {
		got := seen(`{"value":` + tt.value + `}`).At("create_target request/value" + tt.path)
		if kinds := got.Kinds(); kinds != tt.want && kinds != tt.want+" ×1" {
			t.Errorf("%s at %q: %s, want %s", tt.value, tt.path, kinds, tt.want)
		}
	}
	for text, want := range map[string]string{"": Empty, "x": NotJSON, `{"a":1,"a":2}`: NotJSON, "<html>": NotJSON, "[1]": "array"} {
		if got := seen(text).At("create_target request").Kinds(); got != want+" ×1" {
			t.Errorf("a body %q: %s, want %s", text, got, want)
		}
	}
}

// Names that may be values are not told, wherever they stand.
func TestNames(t *testing.T) {
	token := base64.RawURLEncoding.EncodeToString([]byte("this is a secret"))
	for name, told := range map[string]bool{
		"encryptionKey": true, "asmStatusCode": true, "osVersion": true, "app_id": true, "deviceOS2": true, "key_ops": true,
		"5c1f-77aa": false, "a@example.com": false, "0041791234567": false, token: false, "fido.example.com": false,
		"Jeff": false, "user one": false, "Mül": false, "": false, strings.Repeat("name", 11): false, "target-of-jeff": false, "id4711": false,
	} {
		quoted, _ := json.Marshal(name)
		s := seen(fmt.Sprintf(`{"username":"jeff","deep":"{\"in\":[{%s:{\"inner\":{}}}]}"}`, strings.ReplaceAll(string(quoted), `"`, `\"`)))
		content, _ := json.Marshal(s)
		if strings.Contains(string(content), string(quoted)+":") != told {
			t.Errorf("%q: told is %v: %s", name, !told, content)
		}
	}
	s := NewSet()
	s.Add(Message{
		Route: nevisfido.Route{Call: nevisfido.ModifyTarget, ID: "canary"}, Query: "user=mary", Status: 200,
		Request: Body{Text: []byte(`{"owner":"anna"}`)}, Answer: Body{Text: []byte(`{"canary":1,"mary":2,"anna":3,"other":4}`)},
	})
	if got := s.At("modify_target answer 200/(masked)").Kinds(); got != "number ×3" {
		t.Errorf("names that are values of the call: %s", got)
	}
}

// Whatever passes, a Set stays small.
func TestBounds(t *testing.T) {
	s := NewSet()
	for i := range 40 {
		var members []string
		for j := range 300 {
			members = append(members, fmt.Sprintf(`"%c%c%c":{"inner":1}`, 'a'+j%26, 'a'+j/26, 'a'+i%26))
		}
		s.Add(Message{Route: nevisfido.Route{Call: nevisfido.Dispatch}, Status: 200 + i, Answer: Body{Text: []byte("{" + strings.Join(members, ",") + "}")}})
	}
	s.Add(Message{Route: nevisfido.Route{Call: nevisfido.Dispatch}, Request: Body{Text: []byte(strings.Repeat(`{"a":`, 30) + "1" + strings.Repeat("}", 30))}})
	nodes := 0
	for _, n := range s.Messages {
		n.Walk("", func(string, *Node) { nodes++ })
	}
	if nodes > maxNodes || nodes != s.nodes || !s.At("dispatch answer 200").Cut {
		t.Errorf("%d nodes, %d were counted", nodes, s.nodes)
	}
}

// What was seen is there after a restart; a file of somebody else stays as it is.
func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shapes.json")
	for i := range 2 {
		c, err := Open(file, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				c.Passed(Message{Route: nevisfido.Route{Call: nevisfido.Dispatch}, Request: Body{Text: []byte(`{"op":"Auth"}`)}})
				c.Guessed(nevisfido.GuessKeyText)
				c.Unidentified("registration", "no_id")
			})
		}
		all.Wait()
		c.Close()
		s, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		want := 10 * (i + 1)
		if got := s.At("dispatch request/op").Count("= Auth"); got != want || s.Notes["guess key_text"] != want || s.Notes["unidentified registration no_id"] != want {
			t.Errorf("%d of %d, %v", got, want, s.Notes)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, foreign := range []string{"", "{", "{}", "[]", `{"version":1}`, `{"version":2,"messages":{},"notes":{}}`} {
		if err := os.WriteFile(file, []byte(foreign), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(file, slog.New(slog.DiscardHandler))
		content, _ := os.ReadFile(file)
		if err == nil || string(content) != foreign {
			t.Errorf("%q was opened: %v; it is %q now", foreign, err, content)
		}
	}
}

// Where the folder is away the shapes are kept, and written once it is back.
func TestFolderIsAway(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "folder")
	file := filepath.Join(folder, "shapes.json")
	c, err := Open(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.Guessed(nevisfido.GuessKeyText)
	if c.save() == nil {
		t.Error("it was written into no folder")
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if s, err := Load(file); err != nil || s.Notes["guess key_text"] != 1 {
		t.Errorf("%v, %v", s, err)
	}
}

// FuzzShapes looks at calls as anybody may make them. Nothing of a call that is not
// a word of the protocol, or a name such as programmers choose, is kept; what is
// kept is bounded, and read again as it was.
func FuzzShapes(f *testing.F) {
	const secret = "Zx7Q+canary/99"
	inBase64 := base64.RawURLEncoding.EncodeToString([]byte(`{"token":"` + secret + `","` + secret + `":{"alg":"` + secret + `"}}`))
	for _, seed := range []string{
		`{"dispatcher":"` + secret + `","dispatchInformation":{"data":{"` + secret + `":[{"id":"` + secret + `"}]}},"getUafRequest":{"op":"Auth","context":"{\"username\":\"` + secret + `\"}"}}`,
		`{"dispatchTargetId":"` + secret + `","` + secret + `":1,"statusCode":1200,"id":null}`, `["` + inBase64 + `","` + inBase64 + `.` + inBase64 + `.AA","` + inBase64 + `.a.b.c.d"]`,
		`{"response":"https://` + secret + `/?dispatchTokenResponse=` + inBase64 + `#` + secret + `"}`, inBase64 + "." + inBase64 + ".AA", secret, `{"kty":"EC","crv":"` + secret + `","x":"` + secret + `"}`, strings.Repeat(`[{"a":`, 14) + `"` + secret + `"` + strings.Repeat(`}]`, 14), `{"a":1,"a":2}`, "",
	} {
		for _, device := range []bool{false, true} {
			f.Add([]byte(seed), []byte(seed), "username="+secret, inBase64+"."+inBase64+".AA", device)
		}
	}
	f.Add([]byte("{}"), []byte(`{"version":1,"messages":{"dispatch request":null,"dispatch answer 200":{"types":{"object":1},"members":{"a":null},"cut":true}},"notes":{"guess key_text":2}}`), "", "", false)
	f.Fuzz(func(t *testing.T, request, answer []byte, query, signature string, device bool) {
		call := nevisfido.Dispatch
		if device {
			call = nevisfido.ModifyDevice
		}
		s := NewSet()
		s.Add(Message{
			Route: nevisfido.Route{Call: call, ID: secret}, Query: query, DeviceSignature: signature,
			Request: Body{Text: request}, Status: 200, Answer: Body{Text: answer, ContentEncoding: ""},
		})
		if loaded, err := parse(answer); err == nil {
			loaded.Add(Message{Route: nevisfido.Route{Call: nevisfido.Dispatch}, Request: Body{Text: request}})
			if loaded.At("dispatch request").Count() == 0 && loaded.nodes < maxNodes {
				t.Errorf("a file of shapes takes in nothing: %s", answer)
			}
		}
		content, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), secret) || s.nodes > maxNodes {
			t.Errorf("%d nodes: %s", s.nodes, content)
		}
		if read, err := parse(content); err != nil || !reflect.DeepEqual(read, s) {
			t.Errorf("%s is read as %+v, %v", content, read, err)
		}
	})
}
