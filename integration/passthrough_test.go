package integration

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// raw sends bytes and returns everything that comes back until the connection
// is closed.
func (s *stack) raw(text string) string {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	must(s.t, err)
	defer conn.Close()
	must(s.t, conn.SetDeadline(time.Now().Add(patience)))
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		s.t.Fatalf("%v after %q", err, answer)
	}
	return string(answer)
}

// http1 writes a request with a declared length.
func http1(method, target, header, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s",
		method, target, len(body), strings.ReplaceAll(header, "\n", "\r\n"), body)
}

func chunked(method, target, header string, chunks ...string) string {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n%s\r\n",
		method, target, strings.ReplaceAll(header, "\n", "\r\n"))
	for _, chunk := range chunks {
		text += fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk)
	}
	return text + "0\r\n\r\n"
}

// parsed reads an answer, without its date; how it was cut into chunks is up to
// the network.
func parsed(t *testing.T, request, answer string) reply {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%v in %.300q", err, answer)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%v in %.300q", err, answer)
	}
	response.Header.Del("Date")
	return reply{response.StatusCode, response.Header, body, response.Trailer}
}

// oddAnswer has what an intermediary might lose: repeated and unknown headers,
// a trailer, a coded body.
func oddAnswer(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	h := w.Header()
	h.Set("Content-Type", "application/fido+uaf;charset=UTF-8")
	h.Set("Trailer", "X-Checksum")
	h.Set("ETag", `"abc"`)
	h.Set("X-Unknown", " spaced  value ")
	h["Set-Cookie"] = []string{"a=1; HttpOnly", "b=2"}
	w.WriteHeader(http.StatusMultiStatus)
	_, _ = io.WriteString(w, `{"statusCode":1200, "odd" : "é\u0000`)
	_ = http.NewResponseController(w).Flush()
	_, _ = io.WriteString(w, strings.Repeat("x", 100<<10))
	h.Set("X-Checksum", "4711")
}

// What is not ours reaches nevisFIDO, and comes back, as it would without the
// module.
func TestPassThroughIsTheSameAsWithoutTheModule(t *testing.T) {
	const uaf = "Content-Type: application/fido+uaf;charset=UTF-8\nAccept: application/fido+uaf\n"
	secToken := "Authorization: Basic " + strings.Repeat("U2VjVG9rZW4", 2000) + "\nSecToken: abc\n"
	own := request("authentication", "firebase-cloud-messaging", "")
	// rewrapped requests are read by the module: bytes, not framing, stay.
	tests := []struct {
		name, text string
		rewrapped  bool
	}{
		{"redeem", http1("POST", "/nevisfido/token/redeem/authentication", "Content-Type: application/json\n", `{"token":"x"}`), false},
		{"redeem, trailing slash", http1("POST", "/nevisfido/token/redeem/registration/", "", `{"token":"x"}`), false},
		{"create token", http1("POST", "/nevisfido/token/create/authentication", "Content-Type: application/json\n", `{ "dispatcher":"push" }`), false},
		{"status", http1("POST", "/nevisfido/status", "Accept-Encoding: gzip, br\n", `{"sessionId":"x"}`), false},
		{"UAF authentication", http1("POST", "/nevisfido/uaf/1.1/authentication", uaf, `{"uafResponse":"[\u00e9]"}`), false},
		{"UAF request, chunked", chunked("POST", "/nevisfido/uaf/1.1/request/authentication", uaf, `{"op":`, `"Auth"}`), false},
		{"facets", http1("GET", "/nevisfido/uaf/1.1/facets", "", ""), false},
		{"fido2", http1("POST", "/nevisfido/fido2/attestation/options", "Cookie: a=1; b=2\nCookie: c=3\n", "{}"), false},
		{"device, read", http1("GET", "/nevisfido/devices/credentials/dev-1", "Device-Signature: a.b.c\n", ""), false},
		{"one target, read", http1("GET", "/nevisfido/token/dispatch/targets/4711?a=%2f&a=b;c", "", ""), false},
		{"other operation", http1("POST", "/nevisfido/token/dispatch/transaction", "Content-Type: text/xml\n", "<a/>"), false},
		{"outside the base path", http1("POST", "/other/token/dispatch/authentication", secToken, own), false},
		{"encoded, outside", http1("GET", "/other//%2e%2e/%2F;x=1?%zz", "", ""), false},
		{"other method, whatever a header claims", http1("PUT", "/nevisfido/token/dispatch/authentication", "Content-Type: application/json\nX-HTTP-Method-Override: POST\n", own), false},
		{"method of its own", http1("PURGE", "/nevisfido/token/dispatch/targets", "", ""), false},
		{"HEAD", http1("HEAD", "/nevisfido/token/dispatch/targets?username=jeff", "", ""), false},
		{"OPTIONS", http1("OPTIONS", "/nevisfido/token/dispatch/authentication", "Origin: https://a.example\n", ""), false},
		{"big body", http1("POST", "/nevisfido/uaf/1.1/authentication", uaf, strings.Repeat("0123456789abcdef", 256<<10)), false},
		{"big chunked body", chunked("POST", "/nevisfido/status", "", strings.Repeat("a", 1<<20), strings.Repeat("b", 1<<20)), false},

		{"dispatch by nevisFIDO's own", http1("POST", "/nevisfido/token/dispatch/authentication", "Content-Type: application/json\n"+secToken, own), true},
		{"the same, chunked", chunked("POST", "/nevisfido/token/dispatch/authentication/", "Content-Type: application/json\n", own[:10], own[10:]), true},
		{"create target, unreadable", http1("POST", "/nevisfido/token/dispatch/targets", "Content-Type: application/json\n", `{"name":"a","name":"b"`), true},
		{"create target, too long to read", chunked("POST", "/nevisfido/token/dispatch/targets", "Content-Type: application/json\n", strings.Repeat(" ", 300<<10), "{}"), true},
		{"registration, too long to read", http1("POST", "/nevisfido/uaf/1.1/registration", uaf, `{"uafResponse":"`+strings.Repeat("a", 300<<10)+`"}`), true},
		{"registration without a target", http1("POST", "/nevisfido/uaf/1.1/registration", uaf, `{"uafResponse":"[]","context":"{}"}`), true},
		{"modify", http1("PATCH", "/nevisfido/token/dispatch/targets/4711", "Content-Type: application/jose;charset=UTF-8\n", "a.b.c"), true},
		{"modify, too long to read", http1("PATCH", "/nevisfido/token/dispatch/targets/4711", "Content-Type: application/jose\n", strings.Repeat("a", 300<<10)), true},
		{"delete with a body", http1("DELETE", "/nevisfido/token/dispatch/targets/4711;x=1", secToken, "body"), true},
		{"query", http1("GET", "/nevisfido/token/dispatch/targets/?username=je%66f&x", "Content-Type: application/json\n", ""), true},
		{"device, modify", http1("PATCH", "/nevisfido/devices/credentials/dev-1", "Device-Signature: a.b.c\n", `{"a":1}`), true},
	}
	type seen struct {
		request double.Request
		answer  string
	}
	take := func(bare bool) []seen {
		s := start(t, options{bare: bare})
		defer s.nevis.Close()
		var all []seen
		for _, tt := range tests {
			s.nevis.Script(oddAnswer)
			before := len(s.nevis.Requests())
			answer := s.raw(tt.text)
			arrived := s.nevis.Requests()[before:]
			if len(arrived) != 1 {
				t.Fatalf("%s: %d requests reached nevisFIDO; the answer is %.300s", tt.name, len(arrived), answer)
			}
			all = append(all, seen{arrived[0], answer})
		}
		return all
	}
	without, with := take(true), take(false)
	for i, tt := range tests {
		a, b := without[i], with[i]
		if a.request.Method != b.request.Method || a.request.URI != b.request.URI || a.request.Host != b.request.Host {
			t.Errorf("%s: nevisFIDO got %s %s, without the module %s %s", tt.name, b.request.Method, b.request.URI, a.request.Method, a.request.URI)
		}
		if string(a.request.Body) != string(b.request.Body) {
			t.Errorf("%s: nevisFIDO got %d bytes, without the module %d", tt.name, len(b.request.Body), len(a.request.Body))
		}
		if tt.rewrapped {
			for _, h := range []http.Header{a.request.Header, b.request.Header} {
				h.Del("Accept-Encoding") // identity, where the answer is read
				h.Del("Content-Length")
			}
		} else if a.request.ContentLength != b.request.ContentLength || !slices.Equal(a.request.TransferEncoding, b.request.TransferEncoding) {
			t.Errorf("%s: the framing changed from %d %v to %d %v", tt.name, a.request.ContentLength,
				a.request.TransferEncoding, b.request.ContentLength, b.request.TransferEncoding)
		}
		if !maps.EqualFunc(a.request.Header, b.request.Header, slices.Equal) {
			t.Errorf("%s: nevisFIDO got the headers\n%v, without the module\n%v", tt.name, b.request.Header, a.request.Header)
		}
		got, want := parsed(t, tt.text, b.answer), parsed(t, tt.text, a.answer)
		if tt.rewrapped { // an answer that was held back loses its trailers
			got.trailer, want.trailer = nil, nil
			got.header.Del("Trailer")
			want.header.Del("Trailer")
		}
		if got.status != want.status || string(got.body) != string(want.body) || !maps.EqualFunc(got.header, want.header, slices.Equal) ||
			!maps.EqualFunc(got.trailer, want.trailer, slices.Equal) {
			t.Errorf("%s: the answer is\n%.600s\nwithout the module\n%.600s", tt.name, got, want)
		}
	}
}

// Neither direction of a call that is not ours waits for the end of the body.
func TestPassThroughStreams(t *testing.T) {
	arrived := make(chan string)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := bufio.NewReader(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		for {
			line, err := body.ReadString('\n')
			if err != nil {
				return
			}
			arrived <- line
			fmt.Fprintf(w, "data: %s\n", line)
			if err := control.Flush(); err != nil {
				return
			}
		}
	}))
	defer upstream.Close()
	s := start(t, options{upstream: upstream.Listener.Addr().String()})
	for _, path := range []string{"/nevisfido/status", "/elsewhere"} {
		body, write := io.Pipe()
		go func() {
			for _, line := range []string{"one\n", "two\n"} {
				if _, err := io.WriteString(write, line); err != nil {
					return
				}
				if got := <-arrived; got != line { // before the next is written
					t.Errorf("%s: %q arrived, want %q", path, got, line)
				}
			}
		}()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url()+path, body)
		must(t, err)
		response, err := s.client.Do(request)
		must(t, err)
		events := bufio.NewReader(response.Body)
		for _, want := range []string{"data: one\n", "\n", "data: two\n"} { // while the request goes on
			if got, err := events.ReadString('\n'); err != nil || got != want {
				t.Fatalf("%s: got %q, %v, want %q", path, got, err, want)
			}
		}
		write.Close()
		response.Body.Close()
	}
}

// A dispatch call that slips past the module is counted, and warned about once.
func TestCallsThatSlipPast(t *testing.T) {
	s := start(t, options{site: "uri strip_prefix /front"})
	for reason, c := range map[string]struct{ path, dispatcher string }{
		"misspelt_dispatcher": {dispatchPath, "PUSH"},
		"base_path":           {"/front/token/dispatch/", "push"},
	} {
		count := func() float64 {
			_, value, _ := strings.Cut(s.sinks()["metrics"], fmt.Sprintf("caddy_oob_passed_total{reason=%q} ", reason))
			value, _, _ = strings.Cut(value, "\n")
			n, err := strconv.ParseFloat(value, 64)
			must(t, err)
			return n
		}
		before := count()
		logged.reset()
		for range 3 {
			s.send(http.MethodPost, c.path+"authentication", request(nevisfido.Authentication, c.dispatcher, "x"), "Content-Type", jsonType)
		}
		if n := count() - before; n != 3 {
			t.Errorf("%s: %v calls were counted, want 3", reason, n)
		}
		if n := len(logged.lines(`"level":"warn"`, "went to nevisFIDO")); n != 1 {
			t.Errorf("%s: %d warnings", reason, n)
		}
	}
}
