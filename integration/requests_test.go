package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

const authentication = dispatchPath + "authentication"

// wantNotForwarded checks that an answer has a status, and that nothing
// reached nevisFIDO.
func (s *stack) wantNotForwarded(name string, r reply, status, before int) {
	s.t.Helper()
	if r.status != status {
		s.t.Errorf("%s: status %d, want %d: %s", name, r.status, status, r.body)
	}
	if n := len(s.nevis.Requests()) - before; n != 0 {
		s.t.Errorf("%s: %d requests reached nevisFIDO", name, n)
	}
	if len(r.body) != 0 {
		s.t.Errorf("%s: the answer has the body %s", name, r.body)
	}
}

// The login path lives on: a good request right after a bad one is served.
func (s *stack) wantAlive(p *phone) {
	s.t.Helper()
	if a := s.dispatch("app-link", p.TargetID()); a.Result != nevisfido.Dispatched {
		s.t.Errorf("a good request afterwards: %s", a.body)
	}
}

func TestContentTypeMatrix(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	good := request("authentication", "app-link", p.TargetID())
	tests := []struct {
		contentType []string
		status      int
	}{
		{[]string{"application/json"}, 200},
		{[]string{"application/json;charset=UTF-8"}, 200},
		{[]string{`Application/JSON; charset="utf-8"`}, 200},
		{[]string{"application/json; profile=x"}, 200},
		{nil, 415},
		{[]string{""}, 415},
		{[]string{"text/json"}, 415},
		{[]string{"text/plain"}, 415},
		{[]string{"application/jose"}, 415},
		{[]string{"application/x-www-form-urlencoded"}, 415},
		{[]string{"application/vnd.api+json"}, 415},
		{[]string{"application/json;charset=utf-16"}, 415},
		{[]string{"application/json;charset=iso-8859-1"}, 415},
		{[]string{"application/json, text/plain"}, 415},
		{[]string{"application/json; charset=utf-8; charset=utf-16"}, 415},
		{[]string{"application/json", "application/json"}, 415},
		{[]string{"text/plain", "application/json"}, 415},
		{[]string{"*/*"}, 415},
	}
	for _, tt := range tests {
		var header []string
		for _, value := range tt.contentType {
			header = append(header, "Content-Type", value)
		}
		before := len(s.nevis.Requests())
		r := s.send(http.MethodPost, authentication, good, header...)
		if tt.status != http.StatusOK {
			s.wantNotForwarded(fmt.Sprintf("%q", tt.contentType), r, tt.status, before)
		} else if r.status != http.StatusOK || !bytes.Contains(r.body, []byte(`"dispatched"`)) {
			t.Errorf("%q: status %d: %s", tt.contentType, r.status, r.body)
		}
	}
	s.wantAlive(p)
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

func utf16Of(text string, bigEndian bool) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
		high, low := byte(unit>>8), byte(unit)
		if bigEndian {
			b = append(b, high, low)
		} else {
			b = append(b, low, high)
		}
	}
	return string(b)
}

func TestEncodedBodies(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	good := request("authentication", "app-link", p.TargetID())
	for _, tt := range []struct {
		name, coding, body string
		status             int
	}{
		{"gzip", "gzip", gzipped(good), 415},
		{"declared gzip that is none", "gzip", good, 415},
		{"br", "br", good, 415},
		{"identity and gzip", "identity, gzip", gzipped(good), 415},
		{"a bomb", "gzip", gzipped(strings.Repeat(" ", 8<<20)), 415},
		{"gzip without saying so", "identity", gzipped(good), 400},
		{"UTF-16, little-endian", "identity", utf16Of(good, false), 400},
		{"UTF-16, big-endian", "identity", utf16Of(good, true), 400},
	} {
		before := len(s.nevis.Requests())
		r := s.send(http.MethodPost, authentication, tt.body, "Content-Type", jsonType, "Content-Encoding", tt.coding)
		s.wantNotForwarded(tt.name, r, tt.status, before)
	}
	r := s.send(http.MethodPost, authentication, good, "Content-Type", jsonType, "Content-Encoding", "identity")
	if r.status != http.StatusOK {
		t.Errorf("identity: %s", r)
	}
	s.wantAlive(p)
}

func TestMalformedRequests(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	good := request("authentication", "app-link", p.TargetID())
	with := func(old, repl string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the request", old)
		}
		return strings.Replace(good, old, repl, 1)
	}
	bodies := map[string]string{
		"nothing":                     "",
		"no JSON":                     "dispatcher=app-link",
		"truncated":                   good[:len(good)-1],
		"half":                        good[:len(good)/2],
		"junk after it":               good + "x",
		"second object":               good + "{}",
		"array":                       "[" + good + "]",
		"string":                      `"` + "app-link" + `"`,
		"null":                        "null",
		"BOM":                         "\uFEFF" + good,
		"comment":                     "/* */" + good,
		"trailing comma":              strings.TrimSuffix(good, "}") + ",}",
		"single quotes":               strings.ReplaceAll(good, `"`, `'`),
		"control character":           with("Confirm", "Con\x01firm"),
		"NUL after it":                good + "\x00",
		"bad UTF-8":                   with("Confirm", "Con\xFFfirm"),
		"overlong UTF-8":              with("Confirm", "Con\xC0\xAFfirm"),
		"surrogate in UTF-8":          with("Confirm", "Con\xED\xA0\x80firm"),
		"lone surrogate":              with("Confirm", `Con\ud800firm`),
		"duplicate dispatcher":        with(`{"dispatcher"`, `{"dispatcher":"link","dispatcher"`),
		"duplicate, escaped":          with(`{"dispatcher"`, `{"dispatch\u0065r":"link","dispatcher"`),
		"duplicate within":            with(`"notification":{`, `"notification":{"title":"a",`),
		"duplicate in unknown member": with(`"x-unknown":[`, `"x-unknown":[{"a":1,"a":2},`),
		"other case":                  with(`"dispatcher"`, `"Dispatcher"`),
		"other case beside":           with(`{"dispatcher"`, `{"DISPATCHER":"link","dispatcher"`),
		"long s":                      with(`{"dispatcher"`, `{"diſpatcher":"link","dispatcher"`),
		"other case of the target":    with(`"dispatchTargetId"`, `"dispatchtargetid"`),
		"dispatcher a number":         with(`"app-link"`, "1"),
		"dispatcher an array":         with(`"app-link"`, `["app-link"]`),
		"target an object":            with(`"`+p.TargetID()+`"`, "{}"),
		"information an array":        with(`"dispatchInformation":{`, `"dispatchInformation":[],"y":{`),
		"title a number":              with(`"Confirm payment 4711"`, "4711"),
		"nested 33 deep":              with(`"x-unknown":[`, `"x-unknown":[`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+","),
		"nested ten thousand deep":    with(`"x-unknown":[`, `"x-unknown":[`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)+","),
		"objects ten thousand deep":   with(`"x-unknown":[`, `"x-unknown":[`+strings.Repeat(`{"":`, 5000)+"1"+strings.Repeat("}", 5000)+","),
		"number out of JSON":          with("1.50e+02", "0x10"),
		"NaN":                         with("1.50e+02", "NaN"),
		"unescaped quote":             with("Confirm", `Con"firm`),
		"member without a value":      with(`"x-unknown":[`, `"y","x-unknown":[`),
		"information text, duplicate": with(`"dispatchInformation":{`, `"dispatchInformation":{"data":1,`),
	}
	for name, body := range bodies {
		before := len(s.nevis.Requests())
		r := s.send(http.MethodPost, authentication, body, "Content-Type", jsonType)
		s.wantNotForwarded(name, r, http.StatusBadRequest, before)
	}
	if created, _ := s.nevis.Tokens(); created != 0 {
		t.Errorf("%d tokens were created", created)
	}
	s.wantAlive(p)
}

func TestOversizedRequests(t *testing.T) {
	s := start(t, options{handler: "max_body 4KiB"})
	p := s.register("P-256")
	good := request("authentication", "app-link", p.TargetID())
	padded := func(size int) string { return good + strings.Repeat(" ", size-len(good)) }
	if r := s.send(http.MethodPost, authentication, padded(4096), "Content-Type", jsonType); r.status != http.StatusOK {
		t.Errorf("of the largest size: %s", r)
	}
	before := len(s.nevis.Requests())
	s.wantNotForwarded("one byte more", s.send(http.MethodPost, authentication, padded(4097), "Content-Type", jsonType), 413, before)
	header := contentType(jsonType)
	s.wantNotForwarded("in chunks", parsed(t, "POST", s.raw(chunked("POST", authentication, header, padded(4096), " "))), 413, before)
	s.wantNotForwarded("in many chunks", parsed(t, "POST", s.raw(chunked("POST", authentication, header, padded(4096), padded(100<<10)))), 413, before)
	// Refused by its declared length alone: not a byte of it is sent.
	declared := strings.Replace(http1("POST", authentication, header, ""), "Content-Length: 0", "Content-Length: 1000000000", 1)
	s.wantNotForwarded("declared", parsed(t, "POST", s.raw(declared)), 413, before)
	s.wantAlive(p)
}

// A caller that goes away in the middle of its request has asked for nothing.
func TestTruncatedRequests(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	good := request("authentication", "app-link", p.TargetID())
	before := len(s.nevis.Requests())
	whole := http1("POST", authentication, contentType(jsonType), good)
	inChunks := chunked("POST", authentication, contentType(jsonType), good)
	for name, text := range map[string]string{
		"length":         whole[:len(whole)-10],
		"chunk":          inChunks[:len(inChunks)-20],
		"last chunk":     inChunks[:len(inChunks)-5],
		"no such length": strings.Replace(inChunks, "\r\n\r\n", "\r\n\r\nzz\r\n", 1),
	} {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		var answer bytes.Buffer
		_, _ = answer.ReadFrom(conn)
		conn.Close()
		if got := answer.String(); got != "" && !strings.HasPrefix(got, "HTTP/1.1 400") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if n := len(s.nevis.Requests()) - before; n != 0 {
		t.Errorf("%d requests reached nevisFIDO", n)
	}
	s.wantAlive(p)
}

// A caller's data stands beside token and redeem URL, and never replaces them.
func TestDataCannotOverrideTheMessage(t *testing.T) {
	for release, mode := range modes {
		s := start(t, options{nevis: nevis.Options{Mode: mode}})
		p := s.register("P-256")
		for _, data := range []string{
			`{"token":"evil","redeem_url":"https://evil.example.com/","order":` + orderNumber + `}`,
			`{"\u0074oken":"evil","redeem\u005furl":"https://evil.example.com/","order":` + orderNumber + `}`,
		} {
			for _, channel := range []string{"push", "app-link", "raw-qr"} {
				body := strings.Replace(request("authentication", channel, p.TargetID()), `"data":{"order":`+orderNumber+`}`, `"data":`+data, 1)
				a := answer{reply: s.send(http.MethodPost, authentication, body, "Content-Type", jsonType)}
				if err := json.Unmarshal(a.body, &a); err != nil {
					t.Fatalf("%v in %s", err, a.body)
				}
				_, m := s.receive(p, a)
				if !strings.HasPrefix(m.RedeemURL, "https://fido.example.com/nevisfido/token/redeem/") {
					t.Errorf("%s, %s: the redeem URL is another one", release, channel)
				}
				s.check(p, nevisfido.Authentication, a, m)
			}
		}
	}
}
