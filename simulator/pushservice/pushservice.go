// Package pushservice is a double of a web push service (RFC 8030) and of the
// browsers that subscribe at it: it verifies who sends (RFC 8292), keeps what
// it cannot read, hands it to the browser, which decrypts it (RFC 8291), and
// fails on request.
package pushservice

import (
	"bytes"
	"crypto/rand"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/internal/loopback"
)

// Options configure a Server. The zero value is a server on a free port of
// 127.0.0.1.
type Options struct {
	// Listener is where to serve; the server closes it. Its address has to be
	// one of this machine.
	Listener net.Listener
}

// Server is the double. It speaks HTTPS and HTTP/2, under the name localhost.
type Server struct {
	host   string
	ca     []byte
	server *loopback.Server

	mu            sync.Mutex
	subscriptions map[string]*Subscription // by the last segment of the endpoint
	script        []Fault
	requests      []Request
}

// Request is one that the server received: all that a push service sees.
type Request struct {
	Path   string
	Header http.Header
	Body   []byte
}

const (
	maxBody = 4096 // what push services have to take (RFC 8030, section 7.2)
	kept    = 256
)

// Start runs a server; Close ends it.
func Start(o Options) (*Server, error) {
	config, ca, err := loopback.NewTLS(loopback.Certificate{CommonName: "simulated push service", Host: "localhost"})
	if err != nil {
		return nil, err
	}
	server, err := loopback.New(o.Listener, config)
	if err != nil {
		return nil, err
	}
	s := &Server{
		host:          "localhost" + server.Addr()[strings.LastIndexByte(server.Addr(), ':'):],
		ca:            ca,
		server:        server,
		subscriptions: map[string]*Subscription{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /push/{id}", s.servePush)
	server.Serve(mux)
	return s, nil
}

// Close ends the server and every connection to it.
func (s *Server) Close() { s.server.Close() }

// Host is localhost and the port, for the option allow.
func (s *Server) Host() string { return s.host }

// CA returns the PEM certificate to trust.
func (s *Server) CA() []byte { return bytes.Clone(s.ca) }

func (s *Server) servePush(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	subscription, fault := s.note(r, body)
	if fault != nil {
		fault(&call{w: w, r: r, quit: s.server.Quit(), take: func() {
			if subscription != nil {
				subscription.keep(push{header: r.Header.Clone(), body: body})
			}
		}})
		return
	}
	if status, text := s.check(subscription, r, body); status != 0 {
		http.Error(w, text, status)
		return
	}
	subscription.keep(push{header: r.Header.Clone(), body: body})
	w.Header().Set("Location", "https://"+s.host+"/message/"+rand.Text())
	w.Header().Set("TTL", r.Header.Get("TTL"))
	w.WriteHeader(http.StatusCreated)
}

// note keeps a request and returns its subscription and its fault, if any.
func (s *Server) note(r *http.Request, body []byte) (*Subscription, Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == kept {
		s.requests = s.requests[1:]
	}
	s.requests = append(s.requests, Request{r.URL.Path, r.Header.Clone(), body})
	subscription := s.subscriptions[r.PathValue("id")]
	if len(s.script) == 0 {
		return subscription, nil
	}
	fault := s.script[0]
	s.script = s.script[1:]
	return subscription, fault
}

// check returns how a request is refused; status 0 if it is in order.
func (s *Server) check(subscription *Subscription, r *http.Request, body []byte) (status int, text string) {
	if subscription == nil {
		return http.StatusNotFound, "no such subscription"
	}
	if subscription.isGone() {
		return http.StatusGone, "unsubscribed"
	}
	if status, err := authorize(r.Header.Get("Authorization"), "https://"+s.host, subscription.senderKey, time.Now()); err != nil {
		return status, err.Error()
	}
	switch ttl, err := strconv.Atoi(r.Header.Get("TTL")); {
	case err != nil || ttl < 0:
		return http.StatusBadRequest, "TTL is missing or no number"
	case r.Header.Get("Content-Encoding") != "aes128gcm":
		return http.StatusUnsupportedMediaType, "Content-Encoding is not aes128gcm"
	case !validTopic(r.Header.Get("Topic")):
		return http.StatusBadRequest, "bad Topic"
	case !slices.Contains([]string{"", "very-low", "low", "normal", "high"}, r.Header.Get("Urgency")):
		return http.StatusBadRequest, "bad Urgency"
	case len(body) > maxBody:
		return http.StatusRequestEntityTooLarge, "more than 4096 bytes"
	}
	return 0, ""
}

// validTopic checks what RFC 8030, section 5.4, asks of a topic.
func validTopic(topic string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return len(topic) <= 32 && strings.Trim(topic, alphabet) == ""
}

// Requests returns what the server received, oldest first, at most the last
// 256.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Script sets the faults of the next requests, one each, in order. Nothing is
// checked in requests with a fault.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, faults...)
}

// Fault answers one request in its own way.
type Fault func(*call)

// call is a request to be answered.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	quit <-chan struct{}
	take func()
}

// Status takes nothing and answers with a status. The body quotes the
// endpoint, as a third party's may, so that a test can see where it ends up.
func Status(status int, header http.Header) Fault {
	return func(c *call) {
		maps.Copy(c.w.Header(), header)
		c.w.WriteHeader(status)
		_, _ = io.WriteString(c.w, c.r.URL.Path)
	}
}

// Hang never answers.
func Hang(c *call) {
	select {
	case <-c.r.Context().Done():
	case <-c.quit:
	}
}

// Reset ends the stream without an answer.
func Reset(*call) { panic(http.ErrAbortHandler) }

// Huge takes the message and answers with one gigabyte.
func Huge(c *call) {
	c.take()
	c.w.WriteHeader(http.StatusCreated)
	chunk := make([]byte, 1<<20)
	for range 1 << 10 {
		if _, err := c.w.Write(chunk); err != nil {
			return
		}
	}
}

// Endless takes the message and never ends its answer.
func Endless(c *call) {
	c.take()
	c.w.WriteHeader(http.StatusCreated)
	_ = http.NewResponseController(c.w).Flush()
	Hang(c)
}
