// Package double is what the doubles that speak HTTP have in common: they keep
// every request that arrives, and answer it regularly or with the next fault
// of their script.
package double

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

const (
	maxBody = 64 << 20 // bytes of a request
	maxKept = 50_000   // requests, of which the latest stay
)

// Request is a request as it arrived.
type Request struct {
	Method string
	// URI is the request target, byte for byte as in the request line.
	URI              string
	Path             string // decoded
	Host, Proto      string
	Header           http.Header
	ContentLength    int64 // as declared; -1 where it was not
	TransferEncoding []string
	Body             []byte
	Certificate      string // the common name in the client's certificate
}

// NewRequest describes a request whose body has been read.
func NewRequest(r *http.Request, body []byte) Request {
	q := Request{
		Method: r.Method, URI: r.RequestURI, Path: r.URL.Path, Host: r.Host, Proto: r.Proto, Header: r.Header.Clone(),
		ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding, Body: body,
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		q.Certificate = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	return q
}

// Body returns the body of a request to a double; it can be read again.
func Body(r *http.Request) []byte {
	body, _ := io.ReadAll(r.Body) // from memory
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

// Server is a double that listens.
type Server struct {
	web     *httptest.Server
	regular http.Handler
	script  fault.Script[fault.Fault]

	mu       sync.Mutex
	requests []Request
}

// Listen returns a server on an address, host:port; "" is a free port of
// 127.0.0.1. [Serve] has to follow. With a configuration, which has to have a
// certificate, it speaks HTTPS and HTTP/2.
func Listen(address string, config *tls.Config) (*Server, error) {
	l, err := net.Listen("tcp", cmp.Or(address, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return &Server{web: &httptest.Server{Listener: l, TLS: config, EnableHTTP2: true}}, nil
}

// Serve has a handler answer the requests to a server from now on; Close ends it.
// The handler finds a request's body in memory.
func Serve(s *Server, regular http.Handler) {
	s.regular = regular
	s.web.Config = &http.Server{Handler: s, ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	if s.web.TLS != nil {
		s.web.StartTLS()
	} else {
		s.web.Start()
	}
}

// Close ends the server and every connection to it.
func (s *Server) Close() {
	_ = s.web.Config.Close()
	s.web.Close()
}

// URL is where the server is, as scheme://host:port.
func (s *Server) URL() string { return s.web.URL }

// Addr is the server's host and port.
func (s *Server) Addr() string { return s.web.Listener.Addr().String() }

// CA returns the PEM certificate to trust; nil without TLS.
func (s *Server) CA() []byte {
	if s.web.TLS == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.web.TLS.Certificates[0].Certificate[0]})
}

// Script appends faults for the next requests, one each, in order.
func (s *Server) Script(faults ...fault.Fault) { s.script.Add("", faults...) }

// Always sets the fault of every request for which Script left none;
// [fault.None] ends that.
func (s *Server) Always(f fault.Fault) { s.script.Always("", f) }

// Requests returns what arrived, in order, whatever became of it; of very many
// the latest.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ServeHTTP keeps the request and answers it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	s.keep(NewRequest(r, body))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	fault.Handler(&s.script, s.regular, "").ServeHTTP(w, r)
}

func (s *Server) keep(q Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = Keep(s.requests, q)
}

// Keep appends to a list, of which it drops the oldest entries in time.
func Keep[T any](list []T, v T) []T {
	if len(list) >= maxKept {
		list = slices.Delete(list, 0, maxKept/10)
	}
	return append(list, v)
}
