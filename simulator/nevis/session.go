package nevis

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
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

// lifetime is how long a token can be redeemed, and then how long the app may
// take to respond.
func lifetime(op nevisfido.Operation) time.Duration {
	if op == nevisfido.Registration {
		return 5 * time.Minute
	}
	return 2 * time.Minute
}

// newSession starts an operation, with a token or in band.
func (s *Server) newSession(op nevisfido.Operation, q getUAFRequest, withToken bool) *session {
	now := time.Now()
	n := &session{
		id: newID(), operation: op, username: q.username, context: q.Context, challenge: rand.Text(),
		state: tokenCreated, changed: now, deadline: now.Add(lifetime(op)),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) == maxKept {
		for _, old := range s.sessions[:maxKept/10] {
			delete(s.byKey, old.id)
			delete(s.byKey, old.token)
		}
		s.sessions = slices.Delete(s.sessions, 0, maxKept/10)
	}
	s.sessions = append(s.sessions, n)
	s.byKey[n.id] = n
	if withToken {
		n.token = newID()
		s.byKey[n.token] = n
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

// returnUAFRequest answers a token and an in-band request (FIDO UAF application
// API, section 3.2).
type returnUAFRequest struct {
	StatusCode     int    `json:"statusCode"`
	UAFRequest     string `json:"uafRequest,omitzero"`
	Op             string `json:"op,omitzero"`
	LifetimeMillis int64  `json:"lifetimeMillis,omitzero"`
}

// begin makes the UAF request, to which the app has to respond in time. A
// deregistration has no response.
func (n *session) begin() returnUAFRequest {
	now, limit := time.Now(), lifetime(n.operation)
	n.changed, n.deadline = now, now.Add(limit)
	switch n.operation {
	case nevisfido.Registration:
		n.state = clientRegistering
	case nevisfido.Authentication:
		n.state = clientAuthenticating
	default:
		n.end(succeeded, uafOK, now)
	}
	return returnUAFRequest{uafOK, n.uafRequest(), hints[n.operation], limit.Milliseconds()}
}

// redeem is the redeem-token service: once per token, and only for the token's
// operation. What it answers otherwise is not documented: assumed are HTTP 200
// and the UAF status code 1404 for an unknown or used token, 1408 for one whose
// time is over.
func (s *Server) redeem(r *http.Request, body []byte) (status int, answer any) {
	var q struct {
		Token string `json:"token"`
	}
	if decode(body, &q) != nil || q.Token == "" {
		return http.StatusBadRequest, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byKey[q.Token]
	if n == nil || n.token != q.Token || string(n.operation) != r.PathValue("operation") || n.redeemed {
		return http.StatusOK, returnUAFRequest{StatusCode: uafNotFound}
	}
	if n.expire(time.Now()); n.state != tokenCreated {
		return http.StatusOK, returnUAFRequest{StatusCode: uafTimeout}
	}
	n.redeemed = true
	s.redeemed++
	return http.StatusOK, n.begin()
}

// requestInBand is the UAF request service, for apps that are logged in by
// other means.
func (s *Server) requestInBand(r *http.Request, body []byte) (status int, answer any) {
	op := nevisfido.Operation(r.PathValue("operation"))
	var q getUAFRequest
	if decode(body, &q) != nil || q.read(op) != nil {
		return http.StatusBadRequest, nil
	}
	n := s.newSession(op, q, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.StatusOK, n.begin()
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
func (s *Server) status(_ *http.Request, body []byte) (status int, answer any) {
	const layout = "2006-01-02T15:04:05.000Z"
	var q struct {
		SessionID string `json:"sessionId"`
	}
	if decode(body, &q) != nil || q.SessionID == "" {
		return http.StatusBadRequest, nil
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byKey[q.SessionID]
	if n == nil || n.id != q.SessionID {
		return http.StatusOK, statusAnswer{Status: unknown, Timestamp: now.UTC().Format(layout)}
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
	return http.StatusOK, a
}
