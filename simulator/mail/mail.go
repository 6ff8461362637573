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
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
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
	script   fault.Script[Fault] // by point
	inbox    double.Inbox[Mail]
	hanging  chan struct{}
	running  sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	connections map[net.Conn]bool
	accepted    int
	commands    []string
}

// Start runs a server; Close ends it.
func Start(o Options) (*Server, error) {
	if len(o.Mechanisms) == 0 {
		o.Mechanisms = []string{"PLAIN", "LOGIN"}
	}
	s := &Server{options: o, listener: o.Listener, hanging: make(chan struct{}, 100), connections: map[net.Conn]bool{}}
	certificate, ca, err := double.NewCertificate(double.Certificate{CommonName: "simulated mail server"})
	if err != nil {
		return nil, err
	}
	s.ca = ca
	if o.Certificate != nil {
		certificate = *o.Certificate
	}
	s.config = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	if o.ClientCA != nil {
		s.config.ClientAuth, s.config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
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
	s.closed = true
	s.mu.Unlock()
	_ = s.listener.Close()
	s.DropConnections()
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

// Mails returns the mails that nobody has taken, in the order of arrival.
func (s *Server) Mails() []Mail { return s.inbox.Waiting() }

// Wait takes the oldest mail to a recipient out of the server, and waits for
// it if need be.
func (s *Server) Wait(ctx context.Context, recipient string) (Mail, error) {
	return s.inbox.Wait(ctx, func(m Mail) bool { return slices.Contains(m.To, recipient) })
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
