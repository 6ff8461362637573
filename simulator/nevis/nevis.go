// Package nevis is a simulated nevisFIDO: its dispatch-token, dispatch-target,
// redeem and status services, and as much of FIDO UAF as a device needs to
// register and to answer. It follows the nevisFIDO reference guide (UAF HTTP
// API, out-of-band services); docs/protocol.md lists what the guide leaves open
// and what is assumed here.
//
// It is not a FIDO server: UAF assertions are not verified, nothing is
// persisted, and the fetch channel (pending operations) is missing. Paths are
// read as leniently as servlet containers have been seen to read them, with
// path parameters, repeated slashes and dot segments, so that what a sidecar in
// front overlooks is served and shows.
package nevis

import (
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// Mode is the nevisFIDO release whose ways are followed.
type Mode int

const (
	// V8_2511 seals what is dispatched to a target with an RSA key, over
	// whichever dispatcher.
	V8_2511 Mode = iota
	// LTS21 (1.15) seals push messages only. It has neither the device service
	// nor the dispatcher link-png-qr-code.
	LTS21
)

const (
	basePath = "/nevisfido"
	// frontend is the public address, from which redeem URLs are calculated.
	frontend = "https://fido.example.com"
	linkBase = "https://app.example.com/open"
	// maxKept bounds the sessions: the oldest are dropped.
	maxKept = 50_000
)

// Options configure a Server. The zero value is a working nevisFIDO.
type Options struct {
	// Address is where to listen, host:port. Default: a free port of 127.0.0.1.
	Address string
	// Mode is the release to be. Default: V8_2511.
	Mode Mode
	// Users are the names of the known users. Default: "jeff".
	Users []string
	// Authorization, where given, is the value of the header Authorization that
	// the services for relying parties ask for; any other gets a 401.
	Authorization string
}

// Server is a simulated nevisFIDO. It is an http.Handler as well. A Server is
// safe for concurrent use.
type Server struct {
	*double.Server
	options Options
	mux     *http.ServeMux

	mu       sync.Mutex
	mode     Mode
	targets  map[string]*Target   // by id
	owned    map[string][]*Target // by user, in the order of creation
	seen     map[string]bool      // request ids of signed modifications
	sessions []*session           // in the order of creation
	byKey    map[string]*session  // by token and by id
	pushes   []Push
	created  int
	redeemed int
}

// Start runs a nevisFIDO without targets; Close ends it.
func Start(o Options) (*Server, error) {
	if o.Users == nil {
		o.Users = []string{"jeff"}
	}
	s := &Server{
		options: o,
		mode:    o.Mode,
		targets: map[string]*Target{},
		owned:   map[string][]*Target{},
		seen:    map[string]bool{},
		byKey:   map[string]*session{},
	}
	s.mux = s.routes()
	var err error
	if s.Server, err = double.Listen(o.Address, nil); err != nil {
		return nil, err
	}
	double.Serve(s.Server, http.HandlerFunc(s.serve))
	return s, nil
}

// serve normalises the path and finds the service.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	segments := strings.Split(r.URL.Path, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = path.Clean("/"+strings.Join(segments, "/")), ""
	s.mux.ServeHTTP(w, r)
}

// SetMode makes it another release from now on; what it keeps stays.
func (s *Server) SetMode(m Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
}

// is reports whether the server is the release.
func (s *Server) is(m Mode) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode == m
}

// Tokens returns how many tokens were created and how many of them redeemed.
func (s *Server) Tokens() (created, redeemed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.created, s.redeemed
}
