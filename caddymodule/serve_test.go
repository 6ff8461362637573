package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
)

// proxied returns a request as the server hands it to the reverse proxy.
func proxied() *http.Request {
	r := httptest.NewRequest(http.MethodPatch, "/nevisfido/token/dispatch/targets/one", strings.NewReader("x"))
	for key, value := range map[caddy.CtxKey]any{
		caddy.ReplacerCtxKey:            caddy.NewReplacer(),
		caddyhttp.VarsCtxKey:            map[string]any{caddyhttp.ClientIPVarKey: "127.0.0.1", caddyhttp.TrustedProxyVarKey: false},
		caddyhttp.ServerCtxKey:          new(caddyhttp.Server),
		caddyhttp.OriginalRequestCtxKey: *r,
	} {
		r = r.WithContext(context.WithValue(r.Context(), key, value))
	}
	return r
}

// Only where no upstream has got the request is it certain that nothing has
// changed.
func TestUnsent(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer busy.Close()
	away := httptest.NewServer(nil)
	away.Close()
	dial := func(s *httptest.Server) string {
		return `"upstreams": [{"dial": "` + s.Listener.Addr().String() + `"}]`
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config string
		before any // a status that an earlier proxy has got, such as forward_auth
		unsent bool
	}{
		"away":                     {config: dial(away), unsent: true},
		"away, after forward_auth": {config: dial(away), before: http.StatusOK, unsent: true},
		"tried again":              {config: dial(away) + `, "load_balancing": {"retries": 1}`},
		"answered, and another is away": {
			config: dial(busy) + `, "handle_response": [{"match": {"status_code": [5]}, "routes": [{"handle": [{"handler": "reverse_proxy", ` + dial(away) + `}]}]}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, err := ctx.LoadModuleByID("http.handlers.reverse_proxy", json.RawMessage("{"+test.config+"}"))
			if err != nil {
				t.Fatal(err)
			}
			r := proxied()
			if test.before != nil {
				r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set(proxyStatus, test.before)
			}
			next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				return proxy.(caddyhttp.MiddlewareHandler).ServeHTTP(w, r, nil)
			})
			err = asNext(next)(httptest.NewRecorder(), r)
			if _, ok := errors.AsType[reverseproxy.DialError](err); !ok {
				t.Fatalf("error %v, want one of connecting", err)
			}
			if got := errors.Is(err, exchange.ErrUnsent); got != test.unsent {
				t.Errorf("unsent is %t: %v", got, err)
			}
		})
	}
}
