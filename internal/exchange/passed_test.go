package exchange

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A dispatch call that slips past is counted, and warned about where it may be
// a fault.
func TestCallsThatPass(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		reason             string // "" where it is not looked at
		warned             bool
	}{
		"nevisFIDO's own":      {body: `{"dispatcher":"firebase-cloud-messaging"}`, reason: PassedUpstream},
		"our upstream one":     {body: `{"dispatcher":"our-link"}`, reason: PassedUpstream},
		"none":                 {body: `{}`, reason: PassedUnnamed},
		"unknown":              {body: `{"dispatcher":"pusch"}`, reason: PassedUnknown, warned: true},
		"another case":         {body: `{"dispatcher":"PUSH"}`, reason: PassedMisspelt, warned: true},
		"a space":              {body: `{"dispatcher":"push "}`, reason: PassedMisspelt, warned: true},
		"another base path":    {path: "/fido/token/dispatch/authentication", body: `{"dispatcher":"push"}`, reason: PassedBasePath, warned: true},
		"no base path":         {path: "/token/dispatch/registration/", body: `{"dispatcher":"push"}`, reason: PassedBasePath, warned: true},
		"another call":         {path: "/fido/token/redeem/authentication", body: `{}`},
		"targets beside it":    {path: "/fido/token/dispatch/targets", body: `{}`},
		"another method":       {method: http.MethodGet, path: "/fido/token/dispatch/authentication"},
		"ours":                 {body: `{"dispatcher":"push"}`},
		"ours, no such target": {body: `{"dispatcher":"push","dispatchTargetId":"x"}`},
	} {
		for _, observe := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				h := newHarness(t)
				h.ObserveOnly, h.UpstreamDispatcher = observe, "our-link"
				h.push()
				method, path := c.method, c.path
				if method == "" {
					method = http.MethodPost
				}
				if path == "" {
					path = authentication
				}
				h.send(newRequest(t, method, path, c.body))
				if got := strings.Join(h.seen.passed, " "); got != c.reason {
					t.Errorf("passed because of %q, want %q", got, c.reason)
				}
				if warned := strings.Contains(h.logs.String(), "went to nevisFIDO"); warned != c.warned {
					t.Errorf("warned: %t", warned)
				}
			})
		}
	}
}

func TestOneWarningAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.push()
		x := h.exchange()
		for range 3 {
			for range 10 {
				for _, name := range []string{"PUSH", "other"} {
					body := `{"dispatcher":"` + name + `"}`
					if err := x.ServeHTTP(&answer{}, newRequest(t, http.MethodPost, authentication, body), respondNothing); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(time.Minute)
		}
		if n := strings.Count(h.logs.String(), "went to nevisFIDO"); n != 6 || len(h.seen.passed) != 60 {
			t.Errorf("%d warnings of %d calls", n, len(h.seen.passed))
		}
	})
}

func respondNothing(http.ResponseWriter, *http.Request) error { return nil }
