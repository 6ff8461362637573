package nevis

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Fault makes one call go wrong. It gets the regular service and returns what
// answers in its place; it may call the service. Tests can write their own.
type Fault func(regular http.Handler) http.Handler

// Regular is no fault: the call is served as usual.
func Regular(regular http.Handler) http.Handler { return regular }

// Script appends faults for the next calls of any kind, one fault a call.
// Calls after the last fault are served as usual.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, faults...)
}

func (s *Server) nextFault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.script) == 0 {
		return Regular
	}
	f := s.script[0]
	s.script = s.script[1:]
	return f
}

// Answer answers verbatim; nothing is created.
func Answer(status int, header http.Header, body string) Fault {
	return replace(func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// HTML answers 200 with a login page, as a proxy in front of nevisFIDO does.
func HTML() Fault {
	return Answer(http.StatusOK, http.Header{"Content-Type": {"text/html;charset=UTF-8"}}, "<!DOCTYPE html><title>Login</title>")
}

// Redirect answers 302.
func Redirect(location string) Fault {
	return Answer(http.StatusFound, http.Header{"Location": {location}}, "")
}

// Result answers 200 with nothing but a dispatch result, such as
// dispatcherNotFound or dispatchTargetExpired.
func Result(result nevisfido.DispatchResult) Fault {
	return Answer(http.StatusOK, http.Header{"Content-Type": {mediaJSON}}, fmt.Sprintf(`{"dispatchResult":%q}`, result))
}

// EarlyHints sends 103 before the regular answer.
func EarlyHints() Fault {
	return func(regular http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			regular.ServeHTTP(w, r)
		})
	}
}

// Slow waits before the regular answer.
func Slow(d time.Duration) Fault {
	return func(regular http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(d):
				regular.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	}
}

// Hold keeps the regular answer back until the channel is closed or the caller
// is gone. The call itself is done before.
func Hold(until <-chan struct{}) Fault {
	return func(regular http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := record(regular, r)
			select {
			case <-until:
				a.send(w)
			case <-r.Context().Done():
			}
		})
	}
}

// Edit changes the body of the regular answer.
func Edit(change func(body []byte) []byte) Fault {
	return edit(func(a *recorded) { a.body = *bytes.NewBuffer(change(a.body.Bytes())) })
}

// Members changes members of the regular answer, which has to be a JSON object.
// Values are JSON text; an empty one takes the member away.
func Members(changes map[string]string) Fault {
	return Edit(func(body []byte) []byte {
		m, err := parse(body)
		if err != nil {
			return body
		}
		for name, value := range changes {
			if m[name] = json.RawMessage(value); value == "" {
				delete(m, name)
			}
		}
		return encode(m)
	})
}

// WithoutToken leaves the token out of the answer.
func WithoutToken() Fault { return Members(map[string]string{"token": ""}) }

// LongToken answers with a token of so many bytes.
func LongToken(size int) Fault {
	return Members(map[string]string{"token": `"` + strings.Repeat("a", size) + `"`})
}

// WrongTypes answers with numbers, objects and lists where strings belong.
func WrongTypes() Fault {
	return Members(map[string]string{"token": `4711`, "sessionId": `{}`, "dispatcherInformation": `[]`, "dispatchResult": `true`})
}

// ExtraMembers adds members that nobody knows, with numbers that do not survive
// a float64 and a spelling that does not survive re-encoding.
func ExtraMembers() Fault {
	return Edit(func(body []byte) []byte {
		const extra = `, "x-serial" : 12345678901234567890123, "x-ratio":1.50e+02,"x-nested":{"a":[null,-0]},"x-text":"\u00e9\/"}`
		return append(bytes.TrimSuffix(body, []byte("}")), extra...)
	})
}

// Incremental marks the answer with "Incremental: ?1", which forbids
// intermediaries to buffer it.
func Incremental() Fault {
	return edit(func(a *recorded) { a.header.Set("Incremental", "?1") })
}

// Gzip codes the answer although nobody may have asked for it.
func Gzip() Fault {
	return edit(func(a *recorded) {
		var coded bytes.Buffer
		z := gzip.NewWriter(&coded)
		_, _ = z.Write(a.body.Bytes())
		_ = z.Close()
		a.body = coded
		a.header.Set("Content-Encoding", "gzip")
	})
}

// Endless answers 200 with JSON that goes on until the caller hangs up.
func Endless() Fault {
	return replace(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaJSON)
		chunk := []byte(`{"token":"` + strings.Repeat("a", 32<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			chunk = chunk[len(chunk)-32<<10:]
		}
	})
}

// LongLength declares more bytes than the regular answer has and closes the
// connection after it; by is how many more.
func LongLength(by int) Fault { return raw(func(a *recorded) string { return a.lying(by) }) }

// ShortLength declares fewer bytes than it sends; by is how many fewer.
func ShortLength(by int) Fault { return raw(func(a *recorded) string { return a.lying(-by) }) }

// TruncatedChunks sends half of the regular answer in a chunk and closes the
// connection without the last chunk.
func TruncatedChunks() Fault {
	return raw(func(a *recorded) string {
		half := a.body.String()[:a.body.Len()/2]
		return a.head("Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n", len(half), half)
	})
}

// CloseConnection serves the call and closes the connection without an answer.
func CloseConnection() Fault { return raw(func(*recorded) string { return "" }) }
