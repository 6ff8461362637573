// Package gateway is a double of an HTTP gateway that takes messages: an SMS
// provider, or a system of the house. It verifies signatures by the Standard
// Webhooks convention, takes a message with a known Idempotency-Key only once,
// and keeps what it took.
package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// Options configure a Server. The zero value takes every message.
type Options struct {
	// Address is where to listen, host:port. Default: a free port of 127.0.0.1.
	Address string
	// Secrets are keys of the form whsec_<base64>. Where there are any, every
	// message has to bear a fresh signature by one of them.
	Secrets []string
	// Authorization, where given, is the value of that header to ask for.
	Authorization string
}

// Server is the double. It takes messages at any path.
type Server struct {
	*double.Server
	authorization string
	keys          [][]byte

	inbox double.Inbox[Message]

	mu       sync.Mutex
	accepted []Message
	again    int
}

// Message is a message to the gateway.
type Message = double.Request

// Start runs a server; Close ends it.
func Start(o Options) (*Server, error) {
	s := &Server{authorization: o.Authorization}
	for _, secret := range o.Secrets {
		key, err := decodeSecret(secret)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, key)
	}
	var err error
	if s.Server, err = double.Listen(o.Address, nil); err != nil {
		return nil, err
	}
	double.Serve(s.Server, http.HandlerFunc(s.serve))
	return s, nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body := double.Body(r)
	if err := s.check(r, body); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	s.take(double.NewRequest(r, body))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"queued"}`)
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

// take keeps a message, once.
func (s *Server) take(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := m.Header.Get("Idempotency-Key")
	if id != "" && slices.ContainsFunc(s.accepted, func(a Message) bool { return a.Header.Get("Idempotency-Key") == id }) {
		s.again++
		return
	}
	s.accepted = double.Keep(s.accepted, m)
	s.inbox.Put(m)
}

// Messages returns what the server took, oldest first; of very many the latest.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// Duplicates returns how many messages came again after they had been taken.
func (s *Server) Duplicates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.again
}

// Wait returns the oldest message that no call of Wait returned yet, or waits
// for the next.
func (s *Server) Wait(ctx context.Context) (Message, error) { return s.inbox.Wait(ctx, nil) }
