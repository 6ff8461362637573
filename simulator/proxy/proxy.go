// Package proxy is a double of a forward proxy, as it stands between a bank's
// servers and the internet: Basic authentication, requests in absolute form
// and CONNECT tunnels, all counted.
package proxy

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/internal/loopback"
)

// Options configure a Server. The zero value is an open proxy on a free port
// of 127.0.0.1.
type Options struct {
	User, Password string // demanded if a user is set

	// TLS makes clients reach the proxy by https, over which it prefers
	// HTTP/2, with a certificate for 127.0.0.1 and localhost that CA vouches
	// for. Tunnels are for clients of HTTP/1.1.
	TLS bool
}

// Counts is what a proxy was asked for.
type Counts struct {
	Requests int // in absolute form
	Connects int // tunnels
	Refused  int // without the right credentials
}

// Server is the double.
type Server struct {
	options Options
	server  *loopback.Server
	ca      []byte
	forward *http.Transport

	mu     sync.Mutex
	counts Counts
	hosts  []string
	refuse int
	conns  map[net.Conn]struct{} // of tunnels; nil once closed
	tunnel sync.WaitGroup
}

// Start runs a proxy; Close ends it.
func Start(o Options) (*Server, error) {
	var config *tls.Config
	var ca []byte
	var err error
	if o.TLS {
		if config, ca, err = loopback.NewTLS(loopback.Certificate{CommonName: "simulated proxy"}); err != nil {
			return nil, err
		}
	}
	server, err := loopback.New(nil, config)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: o,
		server:  server,
		ca:      ca,
		forward: &http.Transport{DisableCompression: true},
		conns:   map[net.Conn]struct{}{},
	}
	server.Serve(http.HandlerFunc(s.serve))
	return s, nil
}

// Close ends the proxy and every tunnel through it.
func (s *Server) Close() {
	s.server.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.tunnel.Wait()
	s.forward.CloseIdleConnections()
}

// URL is the proxy's address, with the credentials that it demands.
func (s *Server) URL() string {
	u := url.URL{Scheme: "http", Host: s.Addr()}
	if s.options.TLS {
		u.Scheme = "https"
	}
	if s.options.User != "" {
		u.User = url.UserPassword(s.options.User, s.options.Password)
	}
	return u.String()
}

// CA returns the PEM certificate to trust; nil without TLS.
func (s *Server) CA() []byte { return s.ca }

// Addr is the proxy's host and port.
func (s *Server) Addr() string { return s.server.Addr() }

// Counts returns what the proxy was asked for so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Hosts returns the hosts that were asked for, in order.
func (s *Server) Hosts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hosts)
}

// Refuse makes the proxy answer every request with a status; 0 ends that.
func (s *Server) Refuse(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = status
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if status := s.count(r); status != 0 {
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		http.Error(w, "refused "+r.Host, status)
		return
	}
	switch {
	case r.Method == http.MethodConnect:
		s.connect(w, r)
	case r.URL.IsAbs():
		p := &httputil.ReverseProxy{
			Rewrite:   func(p *httputil.ProxyRequest) { p.Out.Header.Del("Proxy-Authorization") },
			Transport: s.forward,
			ErrorLog:  log.New(io.Discard, "", 0),
		}
		p.ServeHTTP(w, r)
	default:
		http.Error(w, "this is a proxy", http.StatusBadRequest)
	}
}

// count returns the status to refuse a request with, or 0.
func (s *Server) count(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = append(s.hosts, r.Host)
	switch {
	case s.refuse != 0:
		s.counts.Refused++
		return s.refuse
	case s.options.User != "" && r.Header.Get("Proxy-Authorization") != basic(s.options):
		s.counts.Refused++
		return http.StatusProxyAuthRequired
	case r.Method == http.MethodConnect:
		s.counts.Connects++
	default:
		s.counts.Requests++
	}
	return 0
}

func basic(o Options) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(o.User+":"+o.Password))
}

func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	upstream, err := net.DialTimeout("tcp", r.Host, 10*time.Second)
	if err != nil {
		http.Error(w, "cannot connect", http.StatusBadGateway)
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = upstream.Close()
		return
	}
	if _, err := client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = errors.Join(upstream.Close(), client.Close())
		return
	}
	s.join(client, upstream, buffered)
}

// join copies both ways until one side ends.
func (s *Server) join(client, upstream net.Conn, buffered io.Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		_ = errors.Join(client.Close(), upstream.Close())
		return
	}
	s.conns[client], s.conns[upstream] = struct{}{}, struct{}{}
	end := func() {
		_ = errors.Join(client.Close(), upstream.Close())
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, client)
		delete(s.conns, upstream)
	}
	s.tunnel.Go(func() {
		defer end()
		_, _ = io.Copy(upstream, buffered)
	})
	s.tunnel.Go(func() {
		defer end()
		_, _ = io.Copy(client, upstream)
	})
}
