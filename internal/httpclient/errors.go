package httpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// The reasons of Classify.
const (
	ReasonTimeout    = "timeout"
	ReasonCanceled   = "canceled"
	ReasonProxy      = "proxy"
	ReasonTLS        = "tls"
	ReasonConnection = "connection"
)

// opProxy is what net/http calls the way to a proxy.
const opProxy = "proxyconnect"

// Classify says what an error of a transport means for an attempt. Its text
// holds what was being done and the local cause; nothing that the other side
// sent is in it, but for the names in a certificate that was not accepted.
func Classify(doing string, err error) *dispatchers.Error {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == opProxy {
		doing, err = doing+": connecting to the proxy", e.Err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return dispatchers.Fail(dispatchers.Temporary, ReasonCanceled, "%s: %w", doing, context.Canceled)
	case timedOut(err):
		return dispatchers.Fail(dispatchers.Temporary, ReasonTimeout, "%s: %w", doing, context.DeadlineExceeded)
	}
	if e, ok := errors.AsType[*ProxyError](err); ok {
		return dispatchers.Fail(proxyClass(e.Status), ReasonProxy, "%s: %w", doing, e)
	}
	if e, ok := tlsError(err); ok {
		return dispatchers.Fail(dispatchers.Broken, ReasonTLS, "%s: %w", doing, e)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return dispatchers.Fail(dispatchers.Temporary, ReasonConnection, "%s: %w", doing, e)
	}
	return dispatchers.Fail(dispatchers.Temporary, ReasonConnection,
		"%s: the connection broke before there was a whole answer", doing)
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && e.Timeout()
}

// proxyClass: a proxy that fails may recover, one that refuses will not.
func proxyClass(status int) dispatchers.Class {
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		return dispatchers.Temporary
	}
	return dispatchers.Broken
}

func tlsError(err error) (error, bool) {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e, true
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" { // a TLS alert
		return e, true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return errors.New("the server does not speak TLS"), true
	}
	return nil, false
}

// maxRetryAfter bounds what a third party can ask for.
const maxRetryAfter = time.Hour

// RetryAfter returns how long an answer asks to wait (RFC 9110, section
// 10.2.3: seconds or a date), at most an hour; 0 if it does not say.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}
