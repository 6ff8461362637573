package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
)

// What the reverse proxy tells of a request.
const (
	proxyRetries = "http.reverse_proxy.retries"
	proxyStatus  = "http.reverse_proxy.status_code" // of an answer that it got
)

// asNext tells the exchange where the proxy could not even connect. Where it
// tried several times, an earlier attempt may have got through. Where some
// upstream has answered, it is another proxy that could not connect, such as
// one in handle_response.
func asNext(next caddyhttp.Handler) exchange.Next {
	return func(w http.ResponseWriter, r *http.Request) error {
		if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			replacer.Delete(proxyStatus) // which forward_auth sets as well
		}
		err := next.ServeHTTP(w, r)
		if _, ok := errors.AsType[reverseproxy.DialError](err); !ok {
			return err
		}
		_, answered := lookup(r, proxyStatus)
		if retries, _ := lookup(r, proxyRetries); answered || retries != "0" {
			return err
		}
		return unsent{err}
	}
}

// unsent is an error about a request of which nevisFIDO has not got a byte.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

func (unsent) Is(target error) bool { return target == exchange.ErrUnsent }

// lookup resolves Caddy's own placeholders.
func lookup(r *http.Request, placeholder string) (string, bool) {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return "", false
	}
	return replacer.GetString(placeholder)
}
