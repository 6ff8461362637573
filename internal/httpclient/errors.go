package httpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// The reasons of a Failure, fit for a metric label.
const (
	ReasonTimeout    = "timeout"
	ReasonCanceled   = "canceled"
	ReasonProxy      = "proxy"
	ReasonTLS        = "tls"
	ReasonConnection = "connection"
)

// opProxy is what net/http calls the connection to a proxy.
const opProxy = "proxyconnect"

// Failure is what an error of a transport means. Its text holds what was being
// done and the local cause, and nothing that the other side sent but the names
// in a certificate that was not accepted.
type Failure struct {
	Reason  string
	Lasting bool // a repetition fails in the same way
	Err     error
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Explain says what an error of a transport means.
func Explain(doing string, err error) *Failure {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == opProxy {
		doing, err = doing+": connecting to the proxy", e.Err
	}
	reason, lasting, cause := explain(err)
	return &Failure{Reason: reason, Lasting: lasting, Err: fmt.Errorf("%s: %w", doing, cause)}
}

func explain(err error) (reason string, lasting bool, cause error) {
	if errors.Is(err, context.Canceled) {
		return ReasonCanceled, false, context.Canceled
	}
	if e, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && e.Timeout() {
		return ReasonTimeout, false, context.DeadlineExceeded
	}
	if e, ok := errors.AsType[*ProxyError](err); ok { // one that fails may recover, one that refuses will not
		return ReasonProxy, e.Status < http.StatusInternalServerError && e.Status != http.StatusTooManyRequests, e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return ReasonTLS, true, e
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return ReasonTLS, true, errors.New("the server does not speak TLS")
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		switch e.Op {
		case "remote error": // a TLS alert
			return ReasonTLS, true, e
		case "read", "write": // whose text has our own address
			return ReasonConnection, false, fmt.Errorf("the connection broke before there was a whole answer: %w", e.Err)
		}
		return ReasonConnection, false, e
	}
	return ReasonConnection, false, errors.New("the connection broke before there was a whole answer")
}

// ProxyError says that the proxy did not open a connection.
type ProxyError struct{ Status int }

func (e *ProxyError) Error() string {
	text := fmt.Sprintf("the proxy answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Status == http.StatusProxyAuthRequired {
		text += ": check user and password in proxy"
	}
	return text
}
