package caddymodule

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/internal/reasons"
	"github.com/oob-dispatch/oob-dispatch/internal/version"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

func TestReloadKeepsWhatWasCounted(t *testing.T) {
	s := startSite(t, "\t\tlimit user 3 1h\n\t\tdispatcher open link")
	const dispatched = `caddy_oob_dispatches_total{dispatcher="open",operation="authentication",reason="",result="dispatched"}`
	const limited = `caddy_oob_limited_total{scope="user"}`
	dispatchedBefore, limitedBefore := s.metric(dispatched), s.metric(limited)

	for i := range 3 {
		if result := s.dispatch("open", "jeff"); result != "dispatched" {
			t.Fatalf("dispatch %d: %s", i, result)
		}
		s.load(s.config)
		if n := s.holders(); n != 1 {
			t.Fatalf("after reload %d the limiter is held %d times", i, n)
		}
	}
	if result := s.dispatch("open", "jeff"); result != "dispatchError" {
		t.Errorf("the limit was forgotten: %s", result)
	}
	if n := s.metric(dispatched) - dispatchedBefore; n != 3 {
		t.Errorf("%v dispatches were counted, want 3", n)
	}
	if n := s.metric(limited) - limitedBefore; n != 1 {
		t.Errorf("%v refusals were counted, want 1", n)
	}
}

func TestFailedReloadChangesNothing(t *testing.T) {
	s := startSite(t, "\t\tlimit user 1 1h\n\t\tdispatcher open link")
	if result := s.dispatch("open", "jeff"); result != "dispatched" {
		t.Fatal(result)
	}
	bad := strings.Replace(string(s.config), `"limits"`, `"visual_code": 1, "limits"`, 1)
	for range 3 {
		if err := caddy.Load([]byte(bad), true); err == nil {
			t.Fatal("a bad configuration was loaded")
		}
	}
	if n := s.holders(); n != 1 {
		t.Errorf("the limiter is held %d times", n)
	}
	if result := s.dispatch("open", "jeff"); result != "dispatchError" {
		t.Errorf("the limit was forgotten: %s", result)
	}
}

// Two handlers for one nevisFIDO count together, those of two tenants do not.
func TestLimiterIsSharedByNamespace(t *testing.T) {
	s := startSite(t, "\t\tlimit user 1 1h\n\t\tdispatcher open link")
	other := strings.Replace(string(s.config), `"handler":"oob_dispatch"`, `"handler":"oob_dispatch","namespace":"tenant-2"`, 1)
	if other == string(s.config) {
		t.Fatal("the configuration has another form than expected")
	}
	if result := s.dispatch("open", "jeff"); result != "dispatched" {
		t.Fatal(result)
	}
	s.load([]byte(other))
	if n := s.holders(); n != 0 {
		t.Errorf("the first tenant's limiter is held %d times", n)
	}
	if result := s.dispatch("open", "jeff"); result != "dispatched" {
		t.Errorf("a tenant is limited by what another did: %s", result)
	}
}

func TestNothingIsLeftAfterReloads(t *testing.T) {
	run := func(reloads int) {
		s := startSite(t, "\t\tlimit off\n\t\tdispatcher push fcm {\n\t\t\tcredentials "+credentials(t)+
			"\n\t\t}\n\t\tdispatcher qr qr_code\n\t\tdispatcher open link")
		for range reloads {
			s.load(s.config)
			if result := s.dispatch("open", "jeff"); result != "dispatched" {
				t.Fatal(result)
			}
		}
		s.stop()
		if n := s.holders(); n != 0 {
			t.Errorf("the limiter is held %d times", n)
		}
	}
	run(1)
	before := goleak.IgnoreCurrent()
	run(10)
	goleak.VerifyNone(t, before)
}

// Whatever a request or nevisFIDO says, no label takes its words.
func TestMetricLabelsAreClosedSets(t *testing.T) {
	s := startSite(t, "\t\tlimit off\n\t\tdispatcher open link\n\t\tdispatcher qr qr_code {\n\t\t\toperations registration\n\t\t}")
	s.nevis.Script(nevis.Result("surprise"), nevis.Result("dispatcherNotFound"), fault.HTML(200), fault.Answer(418, nil, ""),
		nevis.Members(map[string]string{"token": `4711`, "sessionId": `{}`, "dispatcherInformation": `[]`, "dispatchResult": `true`}))
	for range 5 {
		s.do(http.MethodPost, "/nevisfido/token/dispatch/authentication",
			`{"dispatcher":"open","dispatchTargetId":"surprise","getUafRequest":{"op":"Auth","context":"{\"username\":\"surprise\"}"}}`)
	}
	for _, dispatcher := range []string{"open", "qr", "surprise", "link"} {
		s.dispatch(dispatcher, "surprise")
		s.dispatch(dispatcher, "jeff")
	}
	build := version.Read()
	closed := map[string]string{
		"version":    regexp.QuoteMeta(build.Version),
		"commit":     regexp.QuoteMeta(build.Commit),
		"caddy":      regexp.QuoteMeta(build.Caddy),
		"go":         regexp.QuoteMeta(build.Go),
		"dispatcher": `.*`, // those of other tests of this process too; the words of a request are looked for apart
		"operation":  `registration|authentication|deregistration`,
		"result":     `dispatched|dispatchError|dispatchTargetExpired|dispatchTargetNotFound|dispatcherNotFound|userNotFound|internalError`,
		"reason":     strings.Join(slices.Concat(reasons.Names(reasons.Failures), reasons.Names(reasons.Passed)), "|") + "|",
		"outcome":    `[a-z_]+`,
		"alg":        `RSA-OAEP-256|ECDH-ES\+A256KW|`,
		"enc":        `A256CBC-HS512|A256GCM|`,
		"event":      `[a-z_]+`,
		"guess":      strings.Join(nevisfido.GuessNames(), "|"),
		"notice":     `on_expired|on_key_change`,
		"op":         `load|update|devices`,
		"source":     `create|registration|modify|delete|device|dispatch|operator|import`,
		"scope":      `target|user|client`,
		"le":         `[0-9.e+]+|\+Inf`,
	}
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	seen := 0
	for line := range strings.Lines(s.do(http.MethodGet, "/metrics", "")) {
		if !strings.HasPrefix(line, "caddy_oob_") {
			continue
		}
		seen++
		if strings.Contains(line, "surprise") {
			t.Errorf("a request's word stands in %s", line)
		}
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			if want, known := closed[l[1]]; !known || !regexp.MustCompile(`^(?:`+want+`)$`).MatchString(l[2]) {
				t.Errorf("label %s=%q in %s", l[1], l[2], line)
			}
		}
	}
	if seen == 0 {
		t.Error("there are no metrics")
	}
}
