package httpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// The reasons of Explain.
const (
	ReasonTimeout    = "timeout"
	ReasonCanceled   = "canceled"
	ReasonProxy      = "proxy"
	ReasonTLS        = "tls"
	ReasonConnection = "connection"
)

// opProxy is what net/http calls the connection to a proxy.
const opProxy = "proxyconnect"

// Explain says what an error of a transport means for an attempt: Temporary, or
// Broken where a repetition fails in the same way. The cause holds what was being
// done and what happened here, and nothing that the other side sent but the names
// in a certificate that was not accepted.
func Explain(doing string, err error) *dispatchers.Error {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == opProxy {
		doing, err = doing+": connecting to the proxy", e.Err
	}
	class, reason, cause := explain(err)
	return dispatchers.Fail(class, reason, "%s: %w", doing, cause)
}

func explain(err error) (class dispatchers.Class, reason string, cause error) {
	if errors.Is(err, context.Canceled) {
		return dispatchers.Temporary, ReasonCanceled, context.Canceled
	}
	if e, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && e.Timeout() {
		return dispatchers.Temporary, ReasonTimeout, context.DeadlineExceeded
	}
	if e, ok := errors.AsType[*ProxyError](err); ok { // one that fails may recover, one that refuses will not
		if e.Status < http.StatusInternalServerError && e.Status != http.StatusTooManyRequests {
			return dispatchers.Broken, ReasonProxy, e
		}
		return dispatchers.Temporary, ReasonProxy, e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return dispatchers.Broken, ReasonTLS, e
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return dispatchers.Broken, ReasonTLS, errors.New("the server does not speak TLS")
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		switch e.Op {
		case "remote error": // a TLS alert
			return dispatchers.Broken, ReasonTLS, e
		case "read", "write": // whose text has our own address
			return dispatchers.Temporary, ReasonConnection, fmt.Errorf("the connection broke before there was a whole answer: %w", e.Err)
		}
		return dispatchers.Temporary, ReasonConnection, e
	}
	return dispatchers.Temporary, ReasonConnection, errors.New("the connection broke before there was a whole answer")
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
