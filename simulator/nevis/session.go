package nevis

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// session is an operation from its token to its end.
type session struct {
	id, token  string // token is "" for an operation that was started in band
	operation  nevisfido.Operation
	username   string
	context    string
	challenge  string
	dispatcher *dispatcherInformation

	state    string // one of the values of the status service
	code     int    // UAF status code, once the session has ended
	changed  time.Time
	deadline time.Time // of redeeming, then of responding
	redeemed bool
}

// Values of status (nevisFIDO reference guide, status service).
const (
	tokenCreated         = "tokenCreated"
	clientRegistering    = "clientRegistering"
	clientAuthenticating = "clientAuthenticating"
	succeeded            = "succeeded"
	failed               = "failed"
	unknown              = "unknown"
)

// UAF status codes (FIDO UAF application API, section 3.1).
const (
	uafOK           = 1200
	uafNotFound     = 1404
	uafTimeout      = 1408
	uafInvalid      = 1491
	uafUnacceptable = 1498
)

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newSession starts an operation, with a token or in band.
func (s *Server) newSession(q *dispatchRequest, withToken bool) *session {
	now := s.options.Now()
	n := &session{
		id: newID(), operation: q.operation, username: q.username, context: q.context,
		challenge: base64.RawURLEncoding.EncodeToString([]byte(rand.Text())),
		state:     tokenCreated, changed: now, deadline: now.Add(s.options.TokenLifetimes[q.operation]),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) >= maxKept {
		for _, old := range s.sessions[:maxKept/10] {
			delete(s.byID, old.id)
			delete(s.byToken, old.token)
		}
	}
	s.sessions = keep(s.sessions, n)
	s.byID[n.id] = n
	if withToken {
		n.token = newID()
		s.byToken[n.token] = n
		s.created++
	}
	return n
}

// expire ends a session whose time is over.
func (n *session) expire(now time.Time) {
	if n.state != succeeded && n.state != failed && now.After(n.deadline) {
		n.end(failed, uafTimeout, n.deadline)
	}
}

func (n *session) end(state string, code int, at time.Time) {
	n.state, n.code, n.changed = state, code, at
}

// begin makes the UAF request; the app has to respond until the deadline. A
// deregistration has no response.
func (n *session) begin(now time.Time, lifetime time.Duration) {
	n.changed, n.deadline = now, now.Add(lifetime)
	switch n.operation {
	case nevisfido.Registration:
		n.state = clientRegistering
	case nevisfido.Authentication:
		n.state = clientAuthenticating
	default:
		n.end(succeeded, uafOK, now)
	}
}

// returnUAFRequest answers a token and an in-band request (FIDO UAF application
// API, section 3.2).
type returnUAFRequest struct {
	StatusCode     int    `json:"statusCode"`
	UAFRequest     string `json:"uafRequest,omitzero"`
	Op             string `json:"op,omitzero"`
	LifetimeMillis int64  `json:"lifetimeMillis,omitzero"`
}

// redeem is the redeem-token service: once per token, and only for the token's
// operation. What it answers otherwise is not documented: assumed are HTTP 200
// and the UAF status code 1404 for an unknown or used token, 1408 for one whose
// time is over.
func (s *Server) redeem(w http.ResponseWriter, r *http.Request, body []byte) {
	op := nevisfido.Operation(r.PathValue("operation"))
	if !op.Valid() {
		refuse(w, http.StatusNotFound)
		return
	}
	m, err := parse(body)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	token, err := m.text("token")
	if err != nil || token == "" {
		refuse(w, http.StatusBadRequest)
		return
	}
	answer(w, http.StatusOK, mediaUAF, s.redeemToken(op, token))
}

func (s *Server) redeemToken(op nevisfido.Operation, token string) returnUAFRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byToken[token]
	if n == nil || n.operation != op || n.redeemed {
		return returnUAFRequest{StatusCode: uafNotFound}
	}
	now := s.options.Now()
	if n.expire(now); n.state != tokenCreated {
		return returnUAFRequest{StatusCode: uafTimeout}
	}
	n.redeemed = true
	s.redeemed++
	return s.requestUAF(n, now)
}

// requestUAF starts the client's part of a session. s.mu must be held.
func (s *Server) requestUAF(n *session, now time.Time) returnUAFRequest {
	lifetime := s.options.ResponseLifetimes[n.operation]
	n.begin(now, lifetime)
	return returnUAFRequest{
		StatusCode: uafOK, UAFRequest: s.uafRequest(n), Op: hints[n.operation], LifetimeMillis: lifetime.Milliseconds(),
	}
}

// requestInBand is the UAF request service, for apps that are logged in by
// other means.
func (s *Server) requestInBand(w http.ResponseWriter, r *http.Request, body []byte) {
	op := nevisfido.Operation(r.PathValue("operation"))
	if !op.Valid() {
		refuse(w, http.StatusNotFound)
		return
	}
	username, context, err := parseUAFRequest(op, body)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	n := s.newSession(&dispatchRequest{operation: op, username: username, context: context}, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, http.StatusOK, mediaUAF, s.requestUAF(n, s.options.Now()))
}

type statusAnswer struct {
	Status           string            `json:"status"`
	Timestamp        string            `json:"timestamp"`
	UserID           string            `json:"userId,omitzero"`
	UAFStatusCode    int               `json:"uafStatusCode,omitzero"`
	TokenInformation *tokenInformation `json:"tokenInformation,omitzero"`
}

type tokenInformation struct {
	TokenResult           string                 `json:"tokenResult,omitzero"`
	DispatcherInformation *dispatcherInformation `json:"dispatcherInformation,omitzero"`
}

// status is the status service.
func (s *Server) status(w http.ResponseWriter, _ *http.Request, body []byte) {
	m, err := parse(body)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	id, err := m.text("sessionId")
	if err != nil || id == "" {
		refuse(w, http.StatusBadRequest)
		return
	}
	answer(w, http.StatusOK, mediaJSON, s.statusOf(id))
}

func (s *Server) statusOf(id string) statusAnswer {
	const layout = "2006-01-02T15:04:05.000Z"
	now := s.options.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byID[id]
	if n == nil {
		return statusAnswer{Status: unknown, Timestamp: now.UTC().Format(layout)}
	}
	n.expire(now)
	a := statusAnswer{Status: n.state, Timestamp: n.changed.UTC().Format(layout), UserID: n.username, UAFStatusCode: n.code}
	if n.token != "" {
		a.TokenInformation = &tokenInformation{DispatcherInformation: n.dispatcher}
		switch {
		case n.redeemed:
			a.TokenInformation.TokenResult = "tokenRedeemed"
		case n.state == failed:
			a.TokenInformation.TokenResult = "tokenTimedOut"
		}
	}
	return a
}
