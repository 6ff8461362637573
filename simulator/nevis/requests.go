package nevis

import (
	"net/http"
	"slices"
)

// Request is a request as it arrived.
type Request struct {
	Method string
	// URI is the request target, byte for byte as it stood in the request line.
	URI              string
	Host             string
	Header           http.Header
	ContentLength    int64 // as declared; -1 where it was not
	TransferEncoding []string
	Body             []byte
}

func (s *Server) note(r *http.Request, body []byte) {
	uri := r.RequestURI
	if uri == "" { // not from the network
		uri = r.URL.RequestURI()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = keep(s.requests, Request{
		Method: r.Method, URI: uri, Host: r.Host, Header: r.Header.Clone(),
		ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding, Body: body,
	})
}

// Requests returns all requests in the order of arrival, those that the script
// answered included (of very many the latest).
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// keep appends to a list of bounded length.
func keep[T any](list []T, v T) []T {
	if len(list) >= maxKept {
		list = slices.Delete(list, 0, maxKept/10)
	}
	return append(list, v)
}
