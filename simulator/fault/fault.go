package fault

import (
	"bytes"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
)

// Fault answers one HTTP request in its own way. It may have the regular
// handler carry the request out. Tests can write their own.
type Fault func(w http.ResponseWriter, r *http.Request, regular http.Handler)

// Handler returns the regular handler with a script before it: what has a
// fault at one of the places is answered by that.
func Handler(script *Script[Fault], regular http.Handler, places ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strike, ok := script.Next(places...); ok {
			strike(w, r, regular)
			return
		}
		regular.ServeHTTP(w, r)
	})
}

// None is the regular answer, for the middle of a script.
func None(w http.ResponseWriter, r *http.Request, regular http.Handler) { regular.ServeHTTP(w, r) }

// Answer answers verbatim in place of the regular handler.
func Answer(status int, header http.Header, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Echo is Answer with a body that quotes the request target and the body of
// the request, as a third party may, so that a test can see where it ends up.
func Echo(status int, header http.Header) Fault {
	return func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		Answer(status, header, quote(r))(w, r, regular)
	}
}

func quote(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	return r.RequestURI + "\n" + string(body)
}

// JSON answers 200 with a JSON text.
func JSON(body string) Fault {
	return Answer(http.StatusOK, http.Header{"Content-Type": {"application/json"}}, body)
}

// HTML answers with a login page, as a portal or a proxy on the way does. It
// quotes the request like Echo.
func HTML(status int) Fault {
	return func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		page := "<!DOCTYPE html><title>Login</title><p>" + html.EscapeString(quote(r))
		Answer(status, http.Header{"Content-Type": {"text/html;charset=UTF-8"}}, page)(w, r, regular)
	}
}

// Redirect answers 302.
func Redirect(location string) Fault {
	return Answer(http.StatusFound, http.Header{"Location": {location}}, "")
}

// Edit has the request carried out and changes header and body of the answer.
func Edit(change func(header http.Header, body []byte) []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		a := carryOut(r, regular)
		body := change(a.Header(), a.Body.Bytes())
		send(w, a, body)
	}
}

// Header has the request carried out and sets a header of the answer.
func Header(name, value string) Fault {
	return Edit(func(header http.Header, body []byte) []byte {
		header.Set(name, value)
		return body
	})
}

// Hold has the request carried out and keeps the answer back until the channel
// is closed or the caller is gone.
func Hold(until <-chan struct{}) Fault {
	return func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		a := carryOut(r, regular)
		select {
		case <-until:
			send(w, a, a.Body.Bytes())
		case <-r.Context().Done():
		}
	}
}

// Hang never answers, and does nothing with the request.
func Hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// Flood has the request carried out and goes on with the answer until the
// caller hangs up. What was a JSON object stays the beginning of one.
func Flood(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	begin(w, carryOut(r, regular))
	blanks := bytes.Repeat([]byte(" "), 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(blanks); err != nil {
			return
		}
	}
}

// Reset ends the connection (HTTP/2: the stream) and does nothing with the
// request.
func Reset(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// ResetAfterDelivery has the request carried out and ends the connection in
// place of an answer: a repeated request is a duplicate.
func ResetAfterDelivery(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	carryOut(r, regular)
	Reset(w, r, regular)
}

// Truncated has the request carried out, answers half and ends the connection.
func Truncated(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	a := carryOut(r, regular)
	a.Body.Truncate(a.Body.Len() / 2)
	begin(w, a)
	panic(http.ErrAbortHandler)
}

// CloseAfter answers as usual and takes no more requests on the connection
// (HTTP/2: GOAWAY).
func CloseAfter(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	w.Header().Set("Connection", "close")
	regular.ServeHTTP(w, r)
}

// WrongLength has the request carried out and answers with a Content-Length
// that is off by a number of bytes; then it closes the connection. It needs
// HTTP/1.
func WrongLength(by int) Fault {
	return func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		a := carryOut(r, regular)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer conn.Close()
		a.Header().Set("Content-Length", strconv.Itoa(max(0, a.Body.Len()+by)))
		a.Header().Set("Connection", "close")
		var text bytes.Buffer // net/http would not write this answer
		text.WriteString("HTTP/1.1 " + strconv.Itoa(a.Code) + " " + http.StatusText(a.Code) + "\r\n")
		_ = a.Header().Write(&text)
		text.WriteString("\r\n")
		text.Write(a.Body.Bytes())
		_, _ = conn.Write(text.Bytes())
	}
}

// carryOut returns what the regular handler answers.
func carryOut(r *http.Request, regular http.Handler) *httptest.ResponseRecorder {
	a := httptest.NewRecorder()
	regular.ServeHTTP(a, r)
	return a
}

// send answers with a body in place of the recorded one.
func send(w http.ResponseWriter, a *httptest.ResponseRecorder, body []byte) {
	maps.Copy(w.Header(), a.Header())
	if w.Header().Get("Content-Length") != "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(a.Code)
	_, _ = w.Write(body)
}

// begin sends a recorded answer without its last byte and without an end.
func begin(w http.ResponseWriter, a *httptest.ResponseRecorder) {
	a.Header().Del("Content-Length")
	body := a.Body.Bytes()
	send(w, a, body[:max(0, len(body)-1)])
	_ = http.NewResponseController(w).Flush()
}
