package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// smsGateway is a gateway of messages that gives one answer to all of them.
type smsGateway struct {
	*httptest.Server

	mu     sync.Mutex
	status int
	answer string
	bodies []string
}

func startGateway(t *testing.T, status int, answer string) *smsGateway {
	t.Helper()
	g := &smsGateway{status: status, answer: answer}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.bodies = append(g.bodies, string(body))
		w.WriteHeader(g.status)
		_, _ = io.WriteString(w, g.answer)
	}))
	t.Cleanup(g.Close)
	return g
}

// received returns the bodies of all messages.
func (g *smsGateway) received() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.bodies)
}

// sms is a dispatcher of the gateway with further options.
func (g *smsGateway) sms(name, address, more string) string {
	return fmt.Sprintf(`
		dispatcher %s webhook {
			url %s/messages
			address %s
			base_url https://app.example.com/open
			body "{\"to\":\"{webhook.address}\",\"text\":\"{oob.link}\"}"
			%s
		}`, name, g.URL, address, more)
}

// A gateway that says no in the body of a 200 has not delivered: the caller is
// told, and a fallback goes on.
func TestGatewaysThatSayNoWithOK(t *testing.T) {
	const fallback = `
		dispatcher sms-or-link fallback {
			try sms app-link
			on refused temporary broken
		}`
	for name, test := range map[string]struct {
		status  int
		answer  string
		options string
		want    nevisfido.DispatchResult
	}{
		"Vonage, refused":       {200, `{"message-count":"1","messages":[{"status":"4","error-text":"Bad Credentials"}]}`, "success_body `\"status\" *: *\"0\"`", nevisfido.DispatchError},
		"Vonage, taken":         {200, `{"message-count":"1","messages":[{"status": "0"}]}`, "success_body `\"status\" *: *\"0\"`", nevisfido.Dispatched},
		"ASPSMS, refused":       {200, `<aspsms><ErrorCode>3</ErrorCode></aspsms>`, "success_body `<ErrorCode>1</ErrorCode>`", nevisfido.DispatchError},
		"ASPSMS, taken":         {200, `<aspsms><ErrorCode>1</ErrorCode></aspsms>`, "success_body `<ErrorCode>1</ErrorCode>`", nevisfido.Dispatched},
		"eCall, refused":        {200, "ResponseCode=11208", "failure_body `ResponseCode=[1-9]`", nevisfido.DispatchError},
		"eCall, taken":          {200, "ResponseCode=0", "failure_body `ResponseCode=[1-9]`", nevisfido.Dispatched},
		"SMS Central, refused":  {200, "513", "failure_body `^5\\d\\d$`", nevisfido.DispatchError},
		"SMS Central, taken":    {200, "0", "failure_body `^5\\d\\d$`", nevisfido.Dispatched},
		"both rules, refused":   {200, "OK but ERROR", "success_body OK\n failure_body ERROR", nevisfido.DispatchError},
		"empty":                 {200, "", "success_body OK", nevisfido.DispatchError},
		"endless without sign":  {200, strings.Repeat("x", 1<<20), "success_body OK", nevisfido.DispatchError},
		"status before body":    {400, "OK", "success_body OK", nevisfido.DispatchError},
		"no rule, as ever":      {200, "513", "", nevisfido.Dispatched},
		"wrong credentials":     {200, "AUTH", "failure_body AUTH broken", nevisfido.InternalError},
		"no credit, of a class": {200, "CREDIT", "failure_body CREDIT refused", nevisfido.DispatchError},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, test.status, test.answer)
			s := start(t, options{handler: g.sms("sms", `"+41790000000"`, test.options) + fallback})
			p := s.register("P-256")
			if a := s.dispatch("sms", p.TargetID()); a.Result != test.want {
				t.Errorf("%s, want %s", a.body, test.want)
			}
			a := s.dispatch("sms-or-link", p.TargetID())
			if delivered := a.Info.Response != nil && strings.HasPrefix(a.text(), "https://app.example.com/"); a.Result != nevisfido.Dispatched || delivered == (test.want == nevisfido.Dispatched) {
				t.Errorf("the fallback: %s", a.body)
			}
			if len(g.received()) == 0 {
				t.Error("the gateway got nothing")
			}
		})
	}
}

// An address that still holds a placeholder is nobody's: nothing is sent, and
// what can be known of it is a warning when the configuration is loaded.
func TestPlaceholdersThatWereNotReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		address string
		header  []string
		want    nevisfido.DispatchResult
		warned  bool
	}{
		"right":    {"{http.request.header.X-Mobile}", []string{"X-Mobile", "+41790000000"}, nevisfido.Dispatched, false},
		"mistyped": {"{http.request.headers.X-Mobile}", []string{"X-Mobile", "+41790000000"}, nevisfido.InternalError, true},
		"unknown":  {"{mobile}", nil, nevisfido.InternalError, true},
		"empty":    {"{http.vars.mobile}", nil, "", false}, // which is no address
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, 200, "")
			s := start(t, options{handler: g.sms("sms", `"`+test.address+`"`, "")})
			// {mobile} may be one of the directive map.
			if warned := len(logged.lines(`"level":"warn"`, "placeholder")) > 0; name != "unknown" && warned != test.warned {
				t.Errorf("a warning at load: %v, want %v", warned, test.warned)
			}
			p := s.register("P-256")
			header := append([]string{"Content-Type", jsonType}, test.header...)
			r := s.send(http.MethodPost, dispatchPath+"authentication", request(nevisfido.Authentication, "sms", p.TargetID()), header...)
			if test.want != "" && !strings.Contains(string(r.body), fmt.Sprintf(`"dispatchResult":%q`, test.want)) {
				t.Errorf("%s, want %s", r, test.want)
			}
			for _, body := range g.received() {
				if strings.Contains(body, "{") && strings.Contains(body, `"to":"{`) || !strings.Contains(body, "+41790000000") {
					t.Errorf("the gateway got %s", body)
				}
			}
			if test.want != nevisfido.Dispatched && len(g.received()) > 0 {
				t.Error("something was sent")
			}
		})
	}
}

// What is gone is an address: whatever needs another one, or none, still serves
// the target, alone as in a composite.
func TestQuarantineIsAboutAnAddress(t *testing.T) {
	g := startGateway(t, 200, "")
	s := start(t, options{handler: g.sms("sms", `"+41790000000"`, "") + `
		dispatcher push-or-sms fallback {
			try push sms
		}
		dispatcher push-and-sms fan_out {
			to push sms
		}`})
	p := s.register("P-256")
	s.google.Unregister(p.pushToken)
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	sends := s.google.Sends()
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	for _, channel := range []string{"app-link", "app-qr", "raw-qr", "sms", "push-or-sms", "push-and-sms"} {
		if a := s.dispatch(channel, p.TargetID()); a.Result != nevisfido.Dispatched {
			t.Errorf("%s: %s", channel, a.body)
		}
	}
	if n := s.google.Sends() - sends; n != 0 {
		t.Errorf("%d messages went to the address that is gone", n)
	}
	if n := len(g.received()); n != 3 {
		t.Errorf("the gateway got %d messages, want 3", n)
	}
	// A new address ends it.
	p.pushToken = s.google.Register()
	s.modify(p, device.Change{Target: p.pushToken})
	s.take(p, nevisfido.Authentication, "push")
}

// registerWithout makes a phone whose target names the dispatcher, or none. It
// registers at the base URL.
func (s *stack) registerWithout(dispatcher, base string) *phone {
	s.t.Helper()
	p := &phone{pushToken: s.google.Register()}
	var err error
	p.Device, err = device.New(device.Options{
		Frontend: s.url(), Target: p.pushToken, Client: s.client, Dispatcher: dispatcher, Key: keyOf(s.t, "P-256"),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.Register(s.t.Context(), base+"/nevisfido", device.Registration{}); err != nil {
		s.t.Fatalf("registering: %v", err)
	}
	return p
}

// A target that names no dispatcher has a push address: nevisFIDO has no other
// built-in dispatcher with a target. It is nobody's mail address.
func TestTargetsWithoutDispatcher(t *testing.T) {
	nevisIDM, err := idm.Start(idm.Options{Release: idm.V8_2511})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nevisIDM.Close)
	nevisIDM.SetUser(idm.User{ExtID: "jeff", LoginID: "jeff"})
	t.Setenv("OOB_TEST_IDM_TOKEN", "token")
	s := start(t, options{handler: fmt.Sprintf(`
		key_source nevisidm %s {
			client 100
			auth bearer {env.OOB_TEST_IDM_TOKEN}
		}
		dispatcher mail smtp {
			server %s
			from login@example.com
			base_url https://app.example.com/open
		}`, nevisIDM.URL(), testservice.FreeAddress(t))})
	known := s.registerWithout("", "http://"+s.upstream) // past the sidecar
	nevisIDM.SetTarget("jeff", idm.Target{
		ID: known.TargetID(), DeviceID: known.DeviceID(), Name: "phone", Address: known.pushToken,
		EncryptionKey: string(known.Keys()[0].Public().JWK()), SigningKey: string(known.SignatureKey().Public().JWK()),
	})
	for name, p := range map[string]*phone{"learned": s.registerWithout("", s.url()), "of nevisIDM": known} {
		a := s.dispatch("push", p.TargetID())
		if a.Result != nevisfido.Dispatched {
			t.Errorf("%s: %s", name, a.body)
			continue
		}
		_, m := s.receive(p, a)
		s.check(p, nevisfido.Authentication, a, m)
		s.wantResult(s.dispatch("mail", p.TargetID()), nevisfido.DispatchTargetNotFound)
	}
}

// The address of a target that was registered for a composite belongs to the
// one type among its members that takes addresses. Where there are several, it
// is nobody's, and the load says so.
func TestTargetsOfComposites(t *testing.T) {
	g := startGateway(t, 200, "")
	s := start(t, options{handler: g.sms("sms", `"+41790000000"`, "") + `
		dispatcher push-or-sms fallback {
			try push sms
		}
		dispatcher push-or-link fallback {
			try push app-link
		}`})
	if lines := logged.lines(`"level":"warn"`, "push-or-"); len(lines) > 0 {
		t.Errorf("a clear choice is warned about: %s", lines)
	}
	for _, name := range []string{"push-or-sms", "push-or-link"} {
		p := s.registerWithout(name, s.url())
		for _, channel := range []string{name, "push", ""} {
			a := s.dispatch(channel, p.TargetID())
			if a.Result != nevisfido.Dispatched || len(s.google.Unread(p.pushToken)) != 1 {
				t.Errorf("%s by %q: %s, %d messages", name, channel, a.body, len(s.google.Unread(p.pushToken)))
				continue
			}
			if _, err := s.google.Wait(t.Context(), p.pushToken); err != nil {
				t.Error(err)
			}
		}
	}

	ambiguous := start(t, options{handler: fmt.Sprintf(`
		dispatcher mail smtp {
			server %s
			from login@example.com
			base_url https://app.example.com/open
		}
		dispatcher either fallback {
			try push mail
		}`, testservice.FreeAddress(t))})
	if lines := logged.lines(`"level":"warn"`, "either"); len(lines) == 0 {
		t.Error("a choice that is not clear is not warned about")
	}
	p := ambiguous.registerWithout("either", ambiguous.url())
	ambiguous.wantResult(ambiguous.dispatch("either", p.TargetID()), nevisfido.DispatchTargetNotFound)
	if n := ambiguous.google.Sends(); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

// metric returns the sum of the series whose name and labels hold all words.
func (s *stack) metric(words ...string) (sum float64) {
	s.t.Helper()
	response, err := http.Get("http://" + adminAddress() + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		missing := slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
		if missing || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			s.t.Fatalf("metric %q: %v", line, err)
		}
		sum += value
	}
	return sum
}

// tryRegister makes a phone for push.
func (s *stack) tryRegister(way device.Way) (*phone, error) {
	p := &phone{pushToken: s.google.Register()}
	var err error
	p.Device, err = device.New(device.Options{
		Frontend: s.url(), Target: p.pushToken, Client: s.client, Dispatcher: nevisfido.BuiltInFCM, Key: keyOf(s.t, "P-256"),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return p, p.Register(s.t.Context(), s.url()+"/nevisfido", device.Registration{Way: way})
}

// A storage that has vanished, as an unmounted volume does, is not an empty
// one: nothing is sent or changed, and no old key is used afterwards.
func TestUnmountedStorage(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "targets")
	s := start(t, options{handler: "store caddy {\n storage file_system " + folder + "\n}"})
	changed, deleted := s.register("P-256"), s.register("P-256")
	away := folder + ".away"
	if err := os.Rename(folder, away); err != nil {
		t.Fatal(err)
	}
	sends := s.google.Sends()
	s.wantResult(s.dispatch("push", changed.TargetID()), nevisfido.InternalError)
	s.wantStatus(changed.Modify(t.Context(), device.Change{NewKey: "P-384"}), http.StatusServiceUnavailable)
	r := s.send(http.MethodDelete, "/nevisfido/token/dispatch/targets/"+deleted.TargetID(), "")
	if r.status != http.StatusServiceUnavailable {
		t.Errorf("a deletion: %s", r)
	}
	_, err := s.tryRegister(device.CreateTarget)
	s.wantStatus(err, http.StatusServiceUnavailable)
	if n := s.google.Sends() - sends; n != 0 {
		t.Errorf("%d messages were sent", n)
	}

	// Whatever was made in its place meanwhile is below the mount point.
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, folder); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*phone{"the unchanged one": changed, "the one that was not deleted": deleted} {
		if a := s.dispatch("push", p.TargetID()); a.Result != nevisfido.Dispatched {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	s.modify(changed, device.Change{NewKey: "P-384"})
	if _, err := s.google.Wait(t.Context(), changed.pushToken); err != nil {
		t.Fatal(err)
	}
	s.take(changed, nevisfido.Authentication, "push")
}

// Servers that match paths by suffix take authentication.json for a call.
func TestSuffixesOfCalls(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	before := len(s.nevis.Requests())
	for _, suffix := range []string{".json", ".xml", ".html", ".x", ".do", ".action", ".json/", ".json;a=b", "%2ejson", ".", ".."} {
		for call, body := range map[string]string{
			"POST /nevisfido/token/dispatch/authentication":            request(nevisfido.Authentication, "push", p.TargetID()),
			"POST /nevisfido/token/dispatch/registration":              request(nevisfido.Registration, "push", ""),
			"POST /nevisfido/token/dispatch/targets":                   "{}",
			"PATCH /nevisfido/token/dispatch/targets/" + p.TargetID():  "{}",
			"DELETE /nevisfido/token/dispatch/targets/" + p.TargetID(): "",
			"POST /nevisfido/uaf/1.1/registration":                     "{}",
			"PATCH /nevisfido/devices/credentials/" + p.DeviceID():     "",
			"DELETE /nevisfido/devices/credentials/" + p.DeviceID():    "",
		} {
			method, path, _ := strings.Cut(call, " ")
			if strings.Contains(path, "targets/") || strings.Contains(path, "credentials/") {
				if suffix != ".json" { // an id may hold a dot
					continue
				}
			}
			if r := s.send(method, path+suffix, body, "Content-Type", jsonType); r.status != http.StatusBadRequest {
				t.Errorf("%s%s: %s", call, suffix, r)
			}
		}
	}
	if n := len(s.nevis.Requests()) - before; n != 0 {
		t.Errorf("nevisFIDO saw %d requests: %s", n, s.nevis.Requests()[before].URI)
	}
	// What is no call of ours passes.
	for _, path := range []string{"/nevisfido/status.json", "/nevisfido/token/dispatch.json", "/favicon.ico"} {
		if r := s.send(http.MethodPost, path, "{}", "Content-Type", jsonType); r.status == http.StatusBadRequest && strings.Contains(string(r.body), "oob") {
			t.Errorf("%s: %s", path, r)
		}
	}
	s.take(p, nevisfido.Authentication, "app-link")
}

// A store that cannot be written is noticed before the first user is lost.
func TestStoreThatCannotBeWrittenAtLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]string{
		"caddy": "store caddy {\n storage file_system " + file + "\n}",
		"redis": "store redis redis://" + testservice.FreeAddress(t),
		"":      "store caddy {\n storage file_system " + filepath.Join(dir, "good") + "\n}",
	} {
		t.Run("store "+name, func(t *testing.T) {
			start(t, options{handler: store})
			warned := func() bool {
				return len(logged.lines(`"level":"warn"`, "store"))+len(logged.lines(`"level":"error"`, "store")) > 0
			}
			if name == "" {
				if warned() {
					t.Errorf("a warning of a store that works: %s", logged.lines(`"level":"warn"`))
				}
				return
			}
			waitFor(t, "the warning", warned)
		})
	}
}

// A dispatch call that goes past the module is a warning, not one a call, and
// is counted.
func TestCallsThatSlipPast(t *testing.T) {
	for name, test := range map[string]struct {
		options options
		path    string
		named   string
	}{
		"another letter case": {options{}, dispatchPath, "PUSH"},
		"a name with a space": {options{}, dispatchPath, "push "},
		"an unknown name":     {options{}, dispatchPath, "pigeon"},
		"wrong base_path":     {options{handler: "base_path /fido"}, dispatchPath, "push"},
		"base_path too long":  {options{handler: "base_path /nevisfido/token/dispatch"}, dispatchPath, "push"},
		"stripped prefix":     {options{site: "uri strip_prefix /front"}, "/front/token/dispatch/", "push"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.options)
			before := s.metric("caddy_oob_passed_total")
			for range 3 {
				s.send(http.MethodPost, test.path+"authentication", request(nevisfido.Authentication, test.named, "x"), "Content-Type", jsonType)
			}
			if n := s.metric("caddy_oob_passed_total") - before; n != 3 {
				t.Errorf("%v calls were counted, want 3", n)
			}
			lines := slices.DeleteFunc(logged.lines(`"level":"warn"`, `"logger":"http.handlers.oob_dispatch"`),
				func(line string) bool { return strings.Contains(line, "dispatches are not limited") })
			if n := len(lines); n == 0 || n > 2 { // at load and with the first call
				t.Errorf("want a warning, got %q", lines)
			}
		})
	}
	// nevisFIDO's own dispatchers, and none, are no mistake.
	s := start(t, options{nevis: nevis.Options{Mode: nevis.LTS21}})
	for _, own := range []string{nevisfido.BuiltInLink, nevisfido.BuiltInFCM, ""} {
		s.send(http.MethodPost, dispatchPath+"authentication", request(nevisfido.Authentication, own, ""), "Content-Type", jsonType)
	}
	if lines := logged.lines(`"level":"warn"`, `"logger":"http.handlers.oob_dispatch"`); len(lines) > 1 {
		t.Errorf("warnings: %q", lines)
	}
}
