package nevis

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// recorded is an answer of the regular service, for faults to change.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func record(h http.Handler, r *http.Request) *recorded {
	a := &recorded{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(a, r)
	return a
}

func (a *recorded) Header() http.Header         { return a.header }
func (a *recorded) WriteHeader(status int)      { a.status = status }
func (a *recorded) Write(b []byte) (int, error) { return a.body.Write(b) }

// send answers with what was recorded, in its true length.
func (a *recorded) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	if w.Header().Get("Content-Length") != "" {
		w.Header().Set("Content-Length", fmt.Sprint(a.body.Len()))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
}

// head returns the status line and the header as text, with a framing of the
// caller's choice.
func (a *recorded) head(framing string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	header := a.header.Clone()
	header.Del("Content-Length")
	_ = header.Write(&b)
	b.WriteString(framing + "\r\nConnection: close\r\n\r\n")
	return b.String()
}

// lying returns the answer as text with a Content-Length that is off by a number.
func (a *recorded) lying(by int) string {
	return a.head(fmt.Sprintf("Content-Length: %d", max(0, a.body.Len()+by))) + a.body.String()
}

// replace is a fault that leaves the regular service out.
func replace(serve http.HandlerFunc) Fault {
	return func(http.Handler) http.Handler { return serve }
}

// edit is a fault that changes the regular answer.
func edit(change func(*recorded)) Fault {
	return func(regular http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := record(regular, r)
			change(a)
			a.send(w)
		})
	}
}

// raw is a fault that writes to the connection what net/http would not, and
// closes it. It needs HTTP/1.
func raw(text func(*recorded) string) Fault {
	return func(regular http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := record(regular, r)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer conn.Close()
			_, _ = conn.Write([]byte(text(a)))
		})
	}
}

// Interface guard
var _ http.ResponseWriter = (*recorded)(nil)
