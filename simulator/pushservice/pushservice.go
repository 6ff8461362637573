// Package pushservice is a double of a web push service (RFC 8030) and of the
// browsers that subscribe at it: it verifies who sends (RFC 8292), keeps what
// it cannot read, and hands it to the browser, which decrypts it (RFC 8291).
package pushservice

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

const maxBody = 4096 // what push services have to take (RFC 8030, section 7.2)

// Server is the double. It speaks HTTPS and HTTP/2, under the name localhost.
type Server struct {
	*double.Server

	mu            sync.Mutex
	subscriptions map[string]*Subscription // by the last segment of the endpoint
}

// Start runs a server; Close ends it.
func Start() (*Server, error) {
	config, err := double.NewTLS(double.Certificate{CommonName: "simulated push service", Host: "localhost"})
	if err != nil {
		return nil, err
	}
	s := &Server{subscriptions: map[string]*Subscription{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /push/{id}", s.servePush)
	if s.Server, err = double.Listen("", config); err != nil {
		return nil, err
	}
	double.Serve(s.Server, mux)
	return s, nil
}

// Host is localhost and the port, for the option allow.
func (s *Server) Host() string { return "localhost" + s.Addr()[strings.LastIndexByte(s.Addr(), ':'):] }

func (s *Server) servePush(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	subscription := s.subscriptions[r.PathValue("id")]
	s.mu.Unlock()
	body := double.Body(r)
	if status, text := s.check(subscription, r, body); status != 0 {
		http.Error(w, text, status)
		return
	}
	subscription.keep(double.NewRequest(r, body))
	w.Header().Set("Location", "https://"+s.Host()+"/message/"+rand.Text())
	w.Header().Set("TTL", r.Header.Get("TTL"))
	w.WriteHeader(http.StatusCreated)
}

// check returns how a request is refused; status 0 if it is in order.
func (s *Server) check(subscription *Subscription, r *http.Request, body []byte) (status int, text string) {
	if subscription == nil {
		return http.StatusNotFound, "no such subscription"
	}
	if subscription.gone.Load() {
		return http.StatusGone, "unsubscribed"
	}
	if status, err := authorize(r.Header.Get("Authorization"), "https://"+s.Host(), subscription.senderKey, time.Now()); err != nil {
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
