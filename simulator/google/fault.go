package google

import (
	"bytes"
	"maps"
	"net"
	"net/http"
	"time"
)

// Fault answers one request, which was in order, in its own way. The texts of
// the errors hold the registration token (or the assertion), as a third
// party's texts may, so that a test can see where they end up.
type Fault func(*Call)

// Call is a request to be answered. Its fields are the server's own; a Fault of
// yours can do something and then leave the answer to one of this package.
type Call struct {
	w      http.ResponseWriter
	r      *http.Request
	quit   <-chan struct{}
	secret string
	answer func() []byte // carries the request out
}

func (c *Call) run(f Fault) {
	if f == nil {
		f = None
	}
	f(c)
}

// Script sets the faults of the next sends, one each, in order.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, faults...)
}

// ScriptFor sets the faults of the next sends to a registration token. They
// come before those of Script.
func (s *Server) ScriptFor(token string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byToken[token] = append(s.byToken[token], faults...)
}

// ScriptOAuth sets the faults of the next requests for an access token.
func (s *Server) ScriptOAuth(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oauth = append(s.oauth, faults...)
}

func (s *Server) nextFault(token string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if faults := s.byToken[token]; len(faults) > 0 {
		s.byToken[token] = faults[1:]
		return faults[0]
	}
	return pop(&s.script)
}

func (s *Server) nextOAuthFault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return pop(&s.oauth)
}

func pop(faults *[]Fault) Fault {
	if len(*faults) == 0 {
		return nil
	}
	f := (*faults)[0]
	*faults = (*faults)[1:]
	return f
}

// None is a regular answer, for the middle of a script.
func None(c *Call) { reply(c.w, http.StatusOK, c.answer()) }

// The documented errors of FCM (reference: ErrorCode).
var (
	Unregistered        = fcmFault(http.StatusNotFound, "NOT_FOUND", "UNREGISTERED", "")
	InvalidArgument     = fcmFault(http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "")
	SenderIDMismatch    = fcmFault(http.StatusForbidden, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "")
	ThirdPartyAuthError = fcmFault(http.StatusUnauthorized, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "")
	Internal            = fcmFault(http.StatusInternalServerError, "INTERNAL", "INTERNAL", "")
)

// QuotaExceeded is FCM's 429; retryAfter is the value of that header, "" for none.
func QuotaExceeded(retryAfter string) Fault {
	return fcmFault(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retryAfter)
}

// Unavailable is FCM's 503; retryAfter is the value of that header, "" for none.
func Unavailable(retryAfter string) Fault {
	return fcmFault(http.StatusServiceUnavailable, "UNAVAILABLE", "UNAVAILABLE", retryAfter)
}

// Errors of Google's front that carry no FcmError detail.
var (
	// ExpiredToken is what a request with an expired access token gets.
	ExpiredToken Fault = func(c *Call) { unauthenticated(c.w) }
	// NotFound is what a wrong path or project gets.
	NotFound = fcmFault(http.StatusNotFound, "NOT_FOUND", "", "")
	// PermissionDenied is what a service account without the right gets.
	PermissionDenied = fcmFault(http.StatusForbidden, "PERMISSION_DENIED", "", "")
)

func fcmFault(status int, canonical, code, retryAfter string) Fault {
	return func(c *Call) {
		if retryAfter != "" {
			c.w.Header().Set("Retry-After", retryAfter)
		}
		fcmError(c.w, status, canonical, code, "simulated error for "+c.secret)
	}
}

// OAuthError is an answer of the token endpoint such as invalid_grant.
func OAuthError(code string) Fault {
	return func(c *Call) { oauthError(c.w, code, "simulated error for "+c.secret) }
}

// Status is any other answer.
func Status(status int, header http.Header, body string) Fault {
	return func(c *Call) {
		maps.Copy(c.w.Header(), header)
		c.w.WriteHeader(status)
		_, _ = c.w.Write([]byte(body))
	}
}

// Slow answers regularly after a while.
func Slow(d time.Duration) Fault {
	return func(c *Call) {
		select {
		case <-time.After(d):
			None(c)
		case <-c.r.Context().Done():
		case <-c.quit:
			panic(http.ErrAbortHandler)
		}
	}
}

// Hang never answers.
func Hang(c *Call) {
	select {
	case <-c.r.Context().Done():
	case <-c.quit:
		panic(http.ErrAbortHandler)
	}
}

// Reset ends the connection (HTTP/2: the stream) before the request is carried
// out.
func Reset(c *Call) {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// ResetAfterDelivery carries the request out and then ends the connection: a
// repeated send is a duplicate.
func ResetAfterDelivery(c *Call) {
	c.answer()
	Reset(c)
}

// Truncated carries the request out and answers half.
func Truncated(c *Call) {
	out := c.answer()
	c.w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	c.w.Header().Set("Transfer-Encoding", "chunked")
	_, _ = c.w.Write(out[:len(out)/2])
	_ = http.NewResponseController(c.w).Flush()
	panic(http.ErrAbortHandler)
}

// Huge answers one gigabyte of JSON.
func Huge(c *Call) {
	c.w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = c.w.Write([]byte(`{"name":"`))
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 1 << 10 {
		if _, err := c.w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = c.w.Write([]byte(`"}`))
}

// HTML answers 200 with a page, as captive portals and proxies do.
func HTML(c *Call) {
	c.w.Header().Set("Content-Type", "text/html")
	_, _ = c.w.Write([]byte("<html><body>Please sign in. " + c.secret + "</body></html>"))
}

// CloseAfter answers regularly and takes no more requests on the connection
// (HTTP/2: GOAWAY).
func CloseAfter(c *Call) {
	c.w.Header().Set("Connection", "close")
	None(c)
}
