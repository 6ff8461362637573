// Package google is a double of the two Google services that deliver a push
// message: the OAuth token endpoint and the FCM HTTP v1 API. It demands what
// the real ones demand (a signed assertion, a bearer token, a message of the
// documented form), answers as they do, keeps what it delivered for the phones
// that it registered, and fails on request in every documented way.
package google

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// Options configure a Server. The zero value is a server without TLS.
type Options struct {
	// Address is where to listen, host:port. Default: a free port of 127.0.0.1.
	Address string
	// TLS makes the server speak HTTPS and HTTP/2, with a certificate for
	// 127.0.0.1 and localhost that CA vouches for.
	TLS bool
	// Project is the Firebase project; default "oob-demo".
	Project string
}

// Server is the double. Its URL is the dispatcher's endpoint; the token
// endpoint is /token under it.
type Server struct {
	*double.Server
	project string
	script  fault.Script[fault.Fault] // by registration token, or atSend or atToken

	mu      sync.Mutex
	account account
	access  map[string]time.Time // access tokens and their expiry
	phones  map[string]*phone    // by registration token
}

// The places of the script that are no registration token.
const (
	atSend  = "send"
	atToken = "token"
)

// phone is one that has, or had, the app.
type phone struct {
	gone  bool
	inbox double.Inbox[Message]
}

// Start runs a server; Close ends it.
func Start(o Options) (*Server, error) {
	s := &Server{project: o.Project, access: map[string]time.Time{}, phones: map[string]*phone{}}
	if s.project == "" {
		s.project = "oob-demo"
	}
	err := s.RotateKey()
	var config *tls.Config
	if err == nil && o.TLS {
		config, err = double.NewTLS(double.Certificate{CommonName: "simulated Google"})
	}
	if err != nil {
		return nil, err
	}
	if s.Server, err = double.Listen(o.Address, config); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.serveToken)
	mux.HandleFunc("GET /computeMetadata/v1/instance/service-accounts/default/token", s.serveMetadata)
	mux.HandleFunc("POST /v1/projects/{project}/messages:send", s.serveSend)
	double.Serve(s.Server, mux)
	return s, nil
}

// Project is the Firebase project.
func (s *Server) Project() string { return s.project }

// Sends returns how many requests to send a message there were, whatever
// became of them.
func (s *Server) Sends() int { return s.count("/v1/projects/" + s.project + "/messages:send") }

// TokenRequests returns how many requests for an access token there were.
func (s *Server) TokenRequests() int { return s.count("/token") }

func (s *Server) count(path string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

// Register returns the registration token of a phone that installs the app.
// Sends to any other token are refused.
func (s *Server) Register() string {
	token := strings.ToLower(random()[:22]) + ":APA91b" + random()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phones[token] = &phone{}
	return token
}

// Unregister removes the app from the phone.
func (s *Server) Unregister(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phones[token].gone = true
}

// phone returns nil for a token that is not registered.
func (s *Server) phone(token string) (p *phone, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = s.phones[token]
	return p, p != nil && p.gone
}

// Unread returns the messages that were delivered to a token and not yet
// taken by Wait, oldest first.
func (s *Server) Unread(token string) []Message {
	if p, _ := s.phone(token); p != nil {
		return p.inbox.Waiting()
	}
	return nil
}

// Wait takes the oldest unread message, or waits for the next.
func (s *Server) Wait(ctx context.Context, token string) (Message, error) {
	p, _ := s.phone(token)
	if p == nil {
		return Message{}, errors.New("no phone has this registration token")
	}
	return p.inbox.Wait(ctx, nil)
}

func random() string { return rand.Text() + rand.Text() }

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
