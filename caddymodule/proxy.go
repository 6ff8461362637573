package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/targets"
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

// tellOfKey has the users told of what changed their keys. There is no request
// whose placeholders a notice could show, so that it has the server's alone.
func (h *Handler) tellOfKey(e targets.Event) {
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	h.exchange.KeyChanged((&http.Request{Header: http.Header{}, URL: new(url.URL)}).WithContext(ctx), e)
}

// clientIP returns the address that Caddy trusts, see its trusted_proxies. Only
// limit client asks for it.
func (h *Handler) clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if _, err := netip.ParseAddr(ip); err != nil {
		h.noClient.Do(func() {
			h.logger.Warn("requests come without the IP address of a client, such as through a unix socket, so that limit client does not tell clients apart: " +
				"have the proxy in front send X-Forwarded-For, and set trusted_proxies_unix in the global option servers")
		})
	}
	return ip
}
