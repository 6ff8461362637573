package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
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

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

func utf16Of(text string, order binary.AppendByteOrder) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

// What is not plain JSON, in exactly one way of reading it, is not forwarded.
func TestEncodedBodies(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	good := request("authentication", "app-link", p.TargetID())
	for _, tt := range []struct {
		name, media, coding, body string
		status                    int
	}{
		{"gzip", jsonType, "gzip", gzipped(good), 415},
		{"declared gzip that is none", jsonType, "gzip", good, 415},
		{"br", jsonType, "br", good, 415},
		{"identity and gzip", jsonType, "identity, gzip", gzipped(good), 415},
		{"a bomb", jsonType, "gzip", gzipped(strings.Repeat(" ", 8<<20)), 415},
		{"gzip without saying so", jsonType, "identity", gzipped(good), 400},
		{"UTF-16, little-endian", jsonType, "identity", utf16Of(good, binary.LittleEndian), 400},
		{"UTF-16, big-endian", jsonType, "identity", utf16Of(good, binary.BigEndian), 400},
		{"another media type", "text/json", "identity", good, 415},
		{"another charset", jsonType + ";charset=utf-16", "identity", good, 415},
		{"truncated", jsonType, "identity", good[:len(good)-1], 400},
		{"a duplicate member", jsonType, "identity", strings.Replace(good, `{"dispatcher"`, `{"dispatcher":"link","dispatcher"`, 1), 400},
	} {
		before := len(s.nevis.Requests())
		r := s.send(http.MethodPost, authentication, tt.body, "Content-Type", tt.media, "Content-Encoding", tt.coding)
		s.wantNotForwarded(tt.name, r, tt.status, before)
	}
	r := s.send(http.MethodPost, authentication, good, "Content-Type", jsonType, "Content-Encoding", "identity")
	if r.status != http.StatusOK {
		t.Errorf("identity: %s", r)
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
	if r := parsed(t, "POST", s.raw(chunked("POST", authentication, contentType(jsonType), padded(4095), " "))); r.status != http.StatusOK {
		t.Errorf("of the largest size, in chunks: %s", r)
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
