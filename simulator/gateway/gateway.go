// Package gateway is a double of an HTTP gateway that takes messages: an SMS
// provider, or a system of the house. It verifies signatures by the Standard
// Webhooks convention, takes a message with a known id only once, keeps what it
// took, and fails on request.
package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/internal/loopback"
)

// Options configure a Server. The zero value is a server on a free port of
// 127.0.0.1 that takes every message.
type Options struct {
	// Listener is where to serve; the server closes it.
	Listener net.Listener
	// Secrets are keys of the form whsec_<base64>. Where there are any, every
	// message has to bear a fresh signature by one of them.
	Secrets []string
	// Authorization, where given, is the value of that header to ask for.
	Authorization string
}

// Server is the double.
type Server struct {
	authorization string
	keys          [][]byte
	server        *loopback.Server

	mu         sync.Mutex
	script     []Fault
	requests   []Message
	accepted   []Message
	unread     int // of accepted, at its end
	arrived    chan struct{}
	duplicates int
}

// Message is a request that the server received.
type Message struct {
	ID          string // Idempotency-Key
	Method, URI string
	Header      http.Header
	Body        []byte
}

const (
	maxRequestBody = 1 << 20
	kept           = 256
)

// Start runs a server; Close ends it.
func Start(o Options) (*Server, error) {
	s := &Server{
		authorization: o.Authorization,
		arrived:       make(chan struct{}),
	}
	for _, secret := range o.Secrets {
		key, err := decodeSecret(secret)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, key)
	}
	var err error
	if s.server, err = loopback.New(o.Listener, nil); err != nil {
		return nil, err
	}
	s.server.Serve(http.HandlerFunc(s.serve))
	return s, nil
}

// Close ends the server and every connection to it.
func (s *Server) Close() { s.server.Close() }

// URL is where the server is, as scheme://host:port. It takes messages at any
// path.
func (s *Server) URL() string { return s.server.URL() }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
	if err != nil {
		return
	}
	m := Message{
		ID: r.Header.Get("Idempotency-Key"), Method: r.Method, URI: r.RequestURI,
		Header: r.Header.Clone(), Body: body,
	}
	c := &call{w: w, r: r, quit: s.server.Quit(), message: m, take: func() { s.take(m) }}
	if fault := s.note(m); fault != nil {
		fault(c)
		return
	}
	if err := s.check(r, body); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	None(c)
}

func (s *Server) check(r *http.Request, body []byte) error {
	if s.authorization != "" && r.Header.Get("Authorization") != s.authorization {
		return errors.New("wrong credentials")
	}
	if len(s.keys) == 0 {
		return nil
	}
	return verify(r.Header, s.keys, body, time.Now())
}

// note keeps a request and returns its fault, if any.
func (s *Server) note(m Message) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = keep(s.requests, m)
	if len(s.script) == 0 {
		return nil
	}
	fault := s.script[0]
	s.script = s.script[1:]
	return fault
}

// take keeps a message, once.
func (s *Server) take(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.ID != "" && slices.ContainsFunc(s.accepted, func(a Message) bool { return a.ID == m.ID }) {
		s.duplicates++
		return
	}
	s.accepted = keep(s.accepted, m)
	s.unread = min(s.unread+1, len(s.accepted))
	close(s.arrived)
	s.arrived = make(chan struct{})
}

func keep(list []Message, m Message) []Message {
	if len(list) == kept {
		list = list[1:]
	}
	return append(list, m)
}

// Requests returns what the server received, oldest first, at most the last
// 256.
func (s *Server) Requests() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Messages returns what the server took, oldest first, at most the last 256.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// Duplicates returns how many messages came again after they had been taken.
func (s *Server) Duplicates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.duplicates
}

// Wait returns the oldest message that no call of Wait returned yet, or waits
// for the next.
func (s *Server) Wait(ctx context.Context) (Message, error) {
	for {
		s.mu.Lock()
		arrived := s.arrived
		if s.unread > 0 {
			m := s.accepted[len(s.accepted)-s.unread]
			s.unread--
			s.mu.Unlock()
			return m, nil
		}
		s.mu.Unlock()
		select {
		case <-arrived:
		case <-ctx.Done():
			return Message{}, fmt.Errorf("waiting for a message: %w", ctx.Err())
		}
	}
}

// Script sets the faults of the next requests, one each, in order. Nothing is
// verified in requests with a fault.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, faults...)
}

// Fault answers one request in its own way.
type Fault func(*call)

// call is a request to be answered.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	quit    <-chan struct{}
	message Message
	take    func()
}

// None is a regular answer, for the middle of a script.
func None(c *call) {
	c.take()
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(c.w, `{"status":"queued"}`)
}

// Status is any other answer. Its body quotes the message, as a third party's
// may, so that a test can see where it ends up.
func Status(status int, header http.Header) Fault {
	return func(c *call) {
		maps.Copy(c.w.Header(), header)
		c.w.WriteHeader(status)
		_, _ = c.w.Write(c.message.Body)
	}
}

// Hang never answers.
func Hang(c *call) {
	select {
	case <-c.r.Context().Done():
	case <-c.quit:
	}
}

// Endless takes the message, answers with headers and half a body, and never
// ends it.
func Endless(c *call) {
	c.take()
	_, _ = io.WriteString(c.w, `{"status":`)
	_ = http.NewResponseController(c.w).Flush()
	Hang(c)
}

// Reset ends the connection without an answer.
func Reset(*call) { panic(http.ErrAbortHandler) }

// ResetAfterDelivery takes the message and ends the connection without an
// answer: a repeated message is a duplicate.
func ResetAfterDelivery(c *call) {
	c.take()
	Reset(c)
}

// Huge takes the message and answers 200 with one gigabyte.
func Huge(c *call) {
	c.take()
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 1 << 10 {
		if _, err := c.w.Write(chunk); err != nil {
			return
		}
	}
}
