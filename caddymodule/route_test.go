package caddymodule

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What is wrong with a route is told with the first request that shows it, and
// not with each.
func TestWarningsOfTheRoute(t *testing.T) {
	const twice, repeats = "two oob_dispatch", "the proxy repeats"
	for name, test := range map[string]struct {
		method  string
		other   string // base_path of a handler before this one, "" for none
		retries string
		want    []string
	}{
		"alone":              {http.MethodPost, "", "0", nil},
		"no proxy":           {http.MethodPost, "", "", nil},
		"two":                {http.MethodPost, "/nevisfido", "0", []string{twice}},
		"two paths":          {http.MethodPost, "/other", "0", nil},
		"repeated":           {http.MethodPost, "", "2", []string{repeats}},
		"a repeated reading": {http.MethodGet, "", "2", nil},
		"both":               {http.MethodPost, "/nevisfido", "1", []string{twice, repeats}},
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			h := &Handler{BasePath: "/nevisfido", logger: slog.New(slog.NewTextHandler(&logged, nil)), told: new(routeWarnings)}
			for range 2 {
				r := proxied()
				r.Method = test.method
				if test.other != "" {
					caddyhttp.SetVar(r.Context(), handlerVar, &Handler{BasePath: test.other})
				}
				h.warnBefore(r)
				if test.retries != "" {
					r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set(proxyRetries, test.retries)
				}
				h.warnAfter(r)
			}
			for _, warning := range []string{twice, repeats} {
				told := strings.Count(logged.String(), warning)
				if wanted := slices.Contains(test.want, warning); told > 1 || (told == 1) != wanted {
					t.Errorf("%q is told %d times: %s", warning, told, &logged)
				}
			}
		})
	}
}

// Through a unix socket there is no address of a client, which is told once a
// limit counts clients.
func TestLimitClientOnAUnixSocket(t *testing.T) {
	socket, log := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "log")
	for _, tc := range []struct {
		limit string
		want  int
	}{{"limit off", 0}, {"limit target 5 5m", 0}, {"limit client 5 5m", 1}} {
		s := startSite(t, "\t\t"+tc.limit+"\n\t\tdispatcher open link")
		config := regexp.MustCompile(`"listen":\[[^]]*\]`).ReplaceAllString(string(s.config), `"listen":["unix/`+socket+`"]`)
		config = strings.Replace(config, `{"output":"discard"}`, fmt.Sprintf(`{"output":"file","filename":%q}`, log), 1)
		s.load([]byte(config))
		s.client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
		for range 2 {
			if result := s.dispatch("open", "jeff"); result != "dispatched" {
				t.Errorf("%s: %s", tc.limit, result)
			}
		}
		if n := strings.Count(readFile(t, log), "limit client does not tell clients apart"); n != tc.want {
			t.Errorf("%s: told %d times, want %d", tc.limit, n, tc.want)
		}
	}
}
