package caddymodule

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

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
