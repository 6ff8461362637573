package idm

import (
	"maps"
	"net/http"
	"strings"
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

func instead(f http.HandlerFunc) Fault {
	return func(http.Handler) http.Handler { return f }
}

// Answer answers verbatim.
func Answer(status int, header http.Header, body string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// JSON answers 200 with a JSON text.
func JSON(body string) Fault {
	return Answer(http.StatusOK, http.Header{"Content-Type": {"application/json"}}, body)
}

// HTML answers with a login page, as a proxy in front of nevisIDM does.
func HTML(status int) Fault {
	return Answer(status, http.Header{"Content-Type": {"text/html;charset=UTF-8"}}, "<!DOCTYPE html><title>Login</title>")
}

// Redirect answers 302.
func Redirect(location string) Fault {
	return Answer(http.StatusFound, http.Header{"Location": {location}}, "")
}

// Hold keeps the regular answer back until the channel is closed or the caller
// is gone.
func Hold(until <-chan struct{}) Fault {
	return func(regular http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-until:
				regular.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	}
}

// Endless answers 200 with a list that goes on until the caller hangs up.
func Endless() Fault {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		chunk := []byte(`{"items":[` + strings.Repeat(`{"extId":"a"},`, 4<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			chunk = chunk[len(chunk)-14*(4<<10):]
		}
	})
}

// Truncated answers 200 with half a list and closes the connection.
func Truncated() Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "4096")
		_, _ = w.Write([]byte(`{"items":[{"extId":"a"},`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

// Closed closes the connection without an answer.
func Closed() Fault {
	return instead(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}
