// Package mail is a mail server that keeps what it gets: the mailbox of a
// simulated user. It demands what a submission server demands (TLS, a login,
// well-formed commands; RFC 5321, RFC 6409), and fails on request at every
// step of the dialogue, also in ways that no RFC admits. Read takes a mail
// apart as a mail program does.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/simulator/internal/loopback"
)

// TLS says how a Server encrypts.
type TLS int

// The ways to encrypt. None is also what a server looks like whose offer of
// STARTTLS somebody takes away.
const (
	STARTTLS TLS = iota // and nothing but EHLO without it
	Implicit
	None
)

// Options configure a Server. The zero value is a server with STARTTLS on a
// free port of 127.0.0.1 that lets everybody in.
type Options struct {
	// Listener is where to serve; the server closes it.
	Listener net.Listener
	TLS      TLS
	// Certificate replaces the server's own, which is for 127.0.0.1 and
	// localhost and which CA vouches for.
	Certificate *tls.Certificate
	// ClientCA, in PEM, is who vouches for the certificates that clients then
	// have to present.
	ClientCA []byte
	// User and Password are demanded if set. With XOAUTH2 the password is the
	// access token.
	User, Password string
	// Mechanisms are the ones offered; default PLAIN and LOGIN. There is XOAUTH2
	// as well.
	Mechanisms []string
}

// Mail is one that the server took.
type Mail struct {
	From       string
	To         []string
	Data       []byte // as sent, with the lines' ends as LF
	Encrypted  bool
	User       string // who was logged in
	Connection int    // the number of the connection, from 1
}

// Server is the mail server.
type Server struct {
	options  Options
	listener net.Listener
	config   *tls.Config
	ca       []byte
	quit     chan struct{}
	hanging  chan struct{}
	running  sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	connections map[net.Conn]bool
	accepted    int
	commands    []string
	mails       []Mail
	arrived     chan struct{} // closed at the next arrival
	faults      map[Point][]Fault
}

// Start runs a server; Close ends it.
func Start(o Options) (*Server, error) {
	if len(o.Mechanisms) == 0 {
		o.Mechanisms = []string{"PLAIN", "LOGIN"}
	}
	s := &Server{
		options:     o,
		listener:    o.Listener,
		quit:        make(chan struct{}),
		hanging:     make(chan struct{}, 100),
		connections: map[net.Conn]bool{},
		arrived:     make(chan struct{}),
		faults:      map[Point][]Fault{},
	}
	var err error
	if s.config, s.ca, err = loopback.NewTLS(Certificate{}.options()); err != nil {
		return nil, err
	}
	if o.Certificate != nil {
		s.config.Certificates = []tls.Certificate{*o.Certificate}
	}
	if o.ClientCA != nil {
		s.config.ClientAuth = tls.RequireAndVerifyClientCert
		s.config.ClientCAs = x509.NewCertPool()
		s.config.ClientCAs.AppendCertsFromPEM(o.ClientCA)
	}
	if s.listener == nil {
		if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listening: %w", err)
		}
	}
	s.running.Go(s.accept)
	return s, nil
}

// Close ends the server and its connections.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
		_ = s.listener.Close()
	}
	for c := range s.connections {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// DropConnections ends all connections, as a restart of the server would.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.connections {
		_ = c.Close()
	}
}

// Addr returns host and port of the server.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// CA returns the PEM certificate that vouches for the server's own.
func (s *Server) CA() []byte { return s.ca }

// Connections returns how many connections there have been.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Commands returns all lines that clients have sent as commands.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Mails returns the mails in the order of their arrival.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Wait takes the oldest mail to a recipient out of the server, and waits for
// it if need be.
func (s *Server) Wait(ctx context.Context, recipient string) (Mail, error) {
	for {
		m, arrived, ok := s.take(recipient)
		if ok {
			return m, nil
		}
		select {
		case <-arrived:
		case <-s.quit:
			return Mail{}, errors.New("the mail server was closed")
		case <-ctx.Done():
			return Mail{}, fmt.Errorf("waiting for a mail: %w", ctx.Err())
		}
	}
}

func (s *Server) take(recipient string) (Mail, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.mails, func(m Mail) bool { return slices.Contains(m.To, recipient) })
	if i < 0 {
		return Mail{}, s.arrived, false
	}
	m := s.mails[i]
	s.mails = slices.Delete(s.mails, i, i+1)
	return m, nil, true
}

func (s *Server) keep(m Mail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		number, ok := s.admit(c)
		if !ok {
			_ = c.Close()
			return
		}
		s.running.Go(func() {
			defer s.forget(c)
			s.talk(c, number)
		})
	}
}

func (s *Server) admit(c net.Conn) (number int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false
	}
	s.connections[c] = true
	s.accepted++
	return s.accepted, true
}

func (s *Server) forget(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = c.Close()
	delete(s.connections, c)
}
