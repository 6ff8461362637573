// Package loopback holds what the doubles share that serve on this machine.
package loopback

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is an HTTP server.
type Server struct {
	listener net.Listener
	secure   bool
	server   *http.Server
	served   chan struct{}
	quit     chan struct{}
	closing  sync.Once
}

// New returns a server on l, or, if it is nil, on a free port of 127.0.0.1. It
// speaks HTTPS and HTTP/2 if there is a config. Serve has to follow.
func New(l net.Listener, config *tls.Config) (*Server, error) {
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listening: %w", err)
		}
	}
	return &Server{
		listener: l,
		secure:   config != nil,
		server: &http.Server{
			TLSConfig:         config,
			ReadHeaderTimeout: 10 * time.Second,
			ErrorLog:          log.New(io.Discard, "", 0),
		},
		served: make(chan struct{}),
		quit:   make(chan struct{}),
	}, nil
}

// Serve answers requests from now on; Close ends it.
func (s *Server) Serve(h http.Handler) {
	s.server.Handler = h
	go func() {
		defer close(s.served)
		if s.secure {
			_ = s.server.ServeTLS(s.listener, "", "")
			return
		}
		_ = s.server.Serve(s.listener)
	}()
}

// Addr is the server's host and port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is where the server is, as scheme://host:port.
func (s *Server) URL() string {
	if s.secure {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// Quit is closed when the server ends, for handlers that wait.
func (s *Server) Quit() <-chan struct{} { return s.quit }

// Close ends the server and every connection to it.
func (s *Server) Close() {
	s.closing.Do(func() { close(s.quit) })
	_ = s.server.Close()
	<-s.served
}
