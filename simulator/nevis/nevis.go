// Package nevis is a simulated nevisFIDO: its dispatch-token, dispatch-target,
// redeem and status services, and as much of FIDO UAF as a device needs to
// register and to answer. It follows the nevisFIDO reference guide (UAF HTTP
// API, out-of-band services); docs/protocol.md lists what the guide leaves open
// and what is assumed here.
//
// It is no FIDO server: UAF assertions are not verified, nothing is persisted,
// and the fetch channel (pending operations) is missing. Paths are read as
// leniently as servlet containers have been seen to read them, with path
// parameters, repeated slashes and dot segments, so that what a sidecar in
// front overlooks is served and shows.
//
// [Server.Script] makes single calls go wrong, [Server.Requests] tells exactly
// what arrived. A Server is safe for concurrent use.
package nevis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
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
	// maxBody bounds a request, in bytes.
	maxBody = 64 << 20
	// maxKept bounds each of the lists of requests, pushes and sessions: the
	// oldest entries are dropped.
	maxKept = 50_000
)

// Options configure a Server. The zero value is a working nevisFIDO.
type Options struct {
	// Mode is the release to be. Default: V8_2511.
	Mode Mode
	// BasePath is the path of all services. Default: "/nevisfido".
	BasePath string
	// FrontendURL is the public address, from which redeem URLs are calculated.
	// Default: "https://fido.example.com".
	FrontendURL string
	// LinkBase is the base URL of links. Default: "https://app.example.com/open".
	LinkBase string
	// Users are the names of the known users. Default: "jeff".
	Users []string
	// Dispatchers are the names of the configured dispatchers. A name that is
	// not built in stands for a plug-in, which answers "successful dispatch".
	// Default: the built-in ones of the mode.
	Dispatchers []string
	// Authorization, where given, is the value of the header Authorization that
	// the services for relying parties ask for; any other gets a 401.
	Authorization string
	// TokenLifetimes are the times for redeeming a token. Default: 5 minutes for
	// a registration, 2 minutes for the others.
	TokenLifetimes map[nevisfido.Operation]time.Duration
	// ResponseLifetimes are the times for answering the UAF request that a
	// redeemed token gave. Default: as TokenLifetimes.
	ResponseLifetimes map[nevisfido.Operation]time.Duration
	// ClockSkew is how far the time in a signed modification may be off.
	// Default: 5 minutes.
	ClockSkew time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	text := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	text(&o.BasePath, "/nevisfido")
	text(&o.FrontendURL, "https://fido.example.com")
	text(&o.LinkBase, "https://app.example.com/open")
	o.BasePath = path.Clean("/" + o.BasePath)
	if o.Users == nil {
		o.Users = []string{"jeff"}
	}
	if o.Dispatchers == nil {
		o.Dispatchers = []string{nevisfido.BuiltInFCM, nevisfido.BuiltInLink, nevisfido.BuiltInQRCode}
		if o.Mode != LTS21 {
			o.Dispatchers = append(o.Dispatchers, nevisfido.BuiltInLinkQR)
		}
	}
	o.TokenLifetimes = withLifetimes(o.TokenLifetimes)
	o.ResponseLifetimes = withLifetimes(o.ResponseLifetimes)
	if o.ClockSkew == 0 {
		o.ClockSkew = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func withLifetimes(given map[nevisfido.Operation]time.Duration) map[nevisfido.Operation]time.Duration {
	all := map[nevisfido.Operation]time.Duration{
		nevisfido.Registration:   5 * time.Minute,
		nevisfido.Authentication: 2 * time.Minute,
		nevisfido.Deregistration: 2 * time.Minute,
	}
	maps.Copy(all, given)
	return all
}

// Server is a simulated nevisFIDO.
type Server struct {
	options Options
	mux     *http.ServeMux

	mu       sync.Mutex
	targets  map[string]*Target   // by id
	owned    map[string][]*Target // by user, in the order of creation
	seen     map[string]bool
	sessions []*session // in the order of creation
	byToken  map[string]*session
	byID     map[string]*session
	pushes   []Push
	requests []Request
	script   []Fault
	created  int
	redeemed int

	serving []*http.Server
	done    sync.WaitGroup // of Start
}

// New returns a nevisFIDO without targets. It listens nowhere yet: it is an
// http.Handler, see also Start and Serve.
func New(o Options) *Server {
	s := &Server{
		options: o.withDefaults(),
		targets: map[string]*Target{},
		owned:   map[string][]*Target{},
		seen:    map[string]bool{},
		byToken: map[string]*session{},
		byID:    map[string]*session{},
	}
	s.mux = s.routes()
	return s
}

// Start listens on a free port of the loopback interface, serves in the
// background, and returns the address, such as "http://127.0.0.1:40123".
func (s *Server) Start() (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("starting the simulated nevisFIDO: %w", err)
	}
	server := s.newServer()
	s.done.Go(func() { _ = server.Serve(l) })
	return "http://" + l.Addr().String(), nil
}

// Serve serves connections of the listener, which may be a TLS one, until
// Close. It returns nil after Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.newServer().Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the simulated nevisFIDO: %w", err)
	}
	return nil
}

// newServer returns a server that Close knows before it serves.
func (s *Server) newServer() *http.Server {
	server := &http.Server{Handler: s, ReadHeaderTimeout: 30 * time.Second}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = append(s.serving, server)
	return server
}

// Close closes all listeners and connections, and ends what is being answered.
// What arrived stays readable.
func (s *Server) Close() error {
	s.mu.Lock()
	serving := s.serving
	s.serving = nil
	s.mu.Unlock()
	var errs []error
	for _, server := range serving {
		errs = append(errs, server.Close())
	}
	s.done.Wait()
	return errors.Join(errs...)
}

// ServeHTTP notes the request and answers it, or does what the script says.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	s.note(r, body)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.nextFault()(http.HandlerFunc(s.serve)).ServeHTTP(w, r)
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

// Tokens returns how many tokens were created and how many of them redeemed.
func (s *Server) Tokens() (created, redeemed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.created, s.redeemed
}

// Interface guards
var (
	_ http.Handler = (*Server)(nil)
	_ io.Closer    = (*Server)(nil)
)
