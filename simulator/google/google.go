// Package google is a double of the two Google services that deliver a push
// message: the OAuth token endpoint and the FCM HTTP v1 API. It demands what
// the real ones demand (a signed assertion, a bearer token, a message of the
// documented form), answers as they do, keeps what it delivered for the phones
// that it registered, and fails on request in every documented way and in some
// that no documentation admits.
package google

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/internal/loopback"
)

// Options configure a Server. The zero value is a server on a free port of
// 127.0.0.1.
type Options struct {
	// Listener is where to serve; the server closes it.
	Listener net.Listener
	// TLS makes the server speak HTTPS and HTTP/2, with a certificate for
	// 127.0.0.1 and localhost that CA vouches for.
	TLS bool
	// Project is the Firebase project; default "oob-demo".
	Project string
	// TokenLifetime is how long an access token is good; default one hour.
	TokenLifetime time.Duration
}

// Server is the double.
type Server struct {
	project  string
	lifetime time.Duration
	ca       []byte
	server   *loopback.Server

	mu       sync.Mutex
	account  account
	access   map[string]time.Time // access tokens and their expiry
	inboxes  map[string]*inbox    // by registration token
	script   []Fault              // of the next sends
	byToken  map[string][]Fault   // of the next sends to a registration token
	oauth    []Fault              // of the next token requests
	requests []Request
	counts   map[string]int // requests by path
}

// Request is one that the server received.
type Request struct {
	Method, Path, Proto string
	Header              http.Header
	Body                []byte
}

const (
	maxRequestBody = 1 << 20
	keptRequests   = 256
)

// Start runs a server; Close ends it.
func Start(o Options) (*Server, error) {
	s := &Server{
		project:  o.Project,
		lifetime: o.TokenLifetime,
		access:   map[string]time.Time{},
		inboxes:  map[string]*inbox{},
		byToken:  map[string][]Fault{},
		counts:   map[string]int{},
	}
	if s.project == "" {
		s.project = "oob-demo"
	}
	if s.lifetime == 0 {
		s.lifetime = time.Hour
	}
	if err := s.RotateKey(); err != nil {
		return nil, err
	}
	var config *tls.Config
	var err error
	if o.TLS {
		config, s.ca, err = loopback.NewTLS(loopback.Certificate{CommonName: "simulated Google"})
		if err != nil {
			return nil, err
		}
	}
	if s.server, err = loopback.New(o.Listener, config); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.serveToken)
	mux.HandleFunc("GET /computeMetadata/v1/instance/service-accounts/default/token", s.serveMetadata)
	mux.HandleFunc("POST /v1/projects/{project}/{method}", s.serveSend)
	s.server.Serve(s.record(mux))
	return s, nil
}

// Close ends the server and every connection to it.
func (s *Server) Close() { s.server.Close() }

// URL is where the server is, as scheme://host:port: the dispatcher's
// endpoint. The token endpoint is /token under it.
func (s *Server) URL() string { return s.server.URL() }

// CA returns the PEM certificate to trust; nil without TLS.
func (s *Server) CA() []byte { return s.ca }

// Project is the Firebase project.
func (s *Server) Project() string { return s.project }

// record keeps a request and gives the handlers a body that was read whole.
func (s *Server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
		if err != nil {
			return
		}
		s.mu.Lock()
		if len(s.requests) == keptRequests {
			s.requests = s.requests[1:]
		}
		s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.Proto, r.Header.Clone(), body})
		s.counts[r.URL.Path]++
		s.mu.Unlock()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, body)))
	})
}

type bodyKey struct{}

func body(r *http.Request) []byte {
	b, _ := r.Context().Value(bodyKey{}).([]byte)
	return b
}

// Requests returns what the server received, oldest first, at most the last 256.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Sends returns how many requests to send a message there were, whatever
// became of them.
func (s *Server) Sends() int { return s.count("/v1/projects/" + s.project + "/messages:send") }

// TokenRequests returns how many requests for an access token there were.
func (s *Server) TokenRequests() int { return s.count("/token") }

func (s *Server) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

// RevokeTokens makes every access token invalid.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
}

func random() string { return rand.Text() + rand.Text() }
