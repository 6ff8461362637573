package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddytest"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// options are what a test wants to be different from the usual stack.
type options struct {
	nevis     nevis.Options
	push      string // further options of the dispatcher push
	handler   string // further options of oob_dispatch
	site      string // further directives of the site
	bare      bool   // without the module
	accessLog bool   // that filters nothing
	upstream  string // host:port instead of the simulated nevisFIDO
}

// stack is a running Caddy between its simulated parties.
type stack struct {
	t        *testing.T
	tester   *caddytest.Tester
	address  string
	upstream string // host:port of the simulated nevisFIDO
	config   string // Caddyfile
	storage  string // folder
	nevis    *nevis.Server
	google   *google.Server
	client   *http.Client
}

const visualCodeDigits = 4

func newClient() *http.Client {
	return &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

const accessLogText = "log {\n output oob_test_memory\n level DEBUG\n}\n"

// bufferText has the proxy read requests to their end where there is an access
// log: Caddy writes down there how much of a body was read, and may be reading
// it still if nevisFIDO answers quickly, which the race detector minds.
const bufferText = "request_buffers 1MiB"

// patience is how long anything may take that happens at once.
const patience = 20 * time.Second

const caddyfileText = `{
	admin %[1]s
	persist_config off
	auto_https off
	skip_install_trust
	grace_period 10s
	storage file_system %[2]s
	log {
		output oob_test_memory
		level DEBUG
	}
	servers {
		protocols h1 h2c
		max_header_size 64KiB # SecTokens are long, and Caddy allows 16 KiB
	}
}
http://%[3]s {
	bind 127.0.0.1
	%[4]s
	reverse_proxy %[5]s {
		%[6]s
		transport http {
			keepalive off
		}
	}
}
`

const handlerText = `oob_dispatch {
		visual_code %d
		dispatcher push fcm {
			credentials %s
			endpoint %s
			%s
		}
		dispatcher app-link link {
			base_url https://app.example.com/open?lang=de
		}
		dispatcher app-qr qr_code {
			base_url https://app.example.com/open
		}
		dispatcher raw-qr qr_code
		%s
	}`

// start runs the stack until the end of the test.
func start(t *testing.T, o options) *stack {
	t.Helper()
	s := &stack{
		t: t, storage: filepath.Join(testservice.Folder(t), "storage"), address: testservice.FreeAddress(t), client: newClient(),
	}
	t.Cleanup(s.stop)
	var err error
	s.nevis, err = nevis.Start(o.nevis)
	must(t, err)
	s.google, err = google.Start(google.Options{})
	must(t, err)
	credentials := filepath.Join(t.TempDir(), "firebase.json")
	must(t, os.WriteFile(credentials, s.google.ServiceAccountJSON(), 0o600))
	directives, buffers := o.site, ""
	if !o.bare {
		directives = fmt.Sprintf(handlerText, visualCodeDigits, credentials, s.google.URL(), o.push, o.handler+"\n\t\tlimit off") + "\n" + directives
	}
	if o.accessLog {
		directives, buffers = directives+"\n"+accessLogText, bufferText
	}
	if o.upstream == "" {
		o.upstream = s.nevis.Addr()
	}
	s.upstream = o.upstream
	s.config = fmt.Sprintf(caddyfileText, adminAddress(), s.storage, s.address, directives, o.upstream, buffers)
	s.load()
	return s
}

// load hands the configuration to Caddy. caddytest skips a test silently where
// its files are missing, as with -trimpath: that is a failure.
func (s *stack) load() {
	s.t.Helper()
	s.t.Cleanup(func() {
		if s.t.Skipped() {
			s.t.Error("caddytest skipped this test")
		}
	})
	logged.reset()
	s.tester = caddytest.NewTester(s.t)
	s.tester.InitServer(s.config, "caddyfile")
	if s.t.Failed() {
		s.t.FailNow()
	}
	// A configuration listens on a socket of its own. With that of the one
	// before, which is closed in the background, go connections that wait for it.
	waitFor(s.t, "the end of the earlier configuration's socket", func() bool {
		n := 0
		for _, address := range listeners(s.t) {
			if address == s.address {
				n++
			}
		}
		return n == 1
	})
}

func (s *stack) stop() {
	if s.t.Failed() {
		for _, level := range []string{`"level":"error"`, `"level":"warn"`} {
			for _, line := range logged.lines(level) {
				s.t.Log(line)
			}
		}
	}
	if err := idle(); err != nil {
		s.t.Error(err)
	}
	if s.google != nil {
		s.google.Close()
	}
	if s.nevis != nil {
		s.nevis.Close()
	}
}

func (s *stack) url() string { return "http://" + s.address }

// reply is an answer with its whole body.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	trailer http.Header
}

func (r reply) String() string { return fmt.Sprintf("%d %v %s", r.status, r.header, r.body) }

// send makes a request; the header's names and values alternate.
func (s *stack) send(method, path, body string, header ...string) reply {
	s.t.Helper()
	r, err := s.try(method, path, body, header...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (s *stack) try(method, path, body string, header ...string) (reply, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, s.url()+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	return s.exchange(request)
}

func (s *stack) exchange(request *http.Request) (reply, error) {
	response, err := s.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, content, response.Trailer}, err
}

// answer is what the relying party gets.
type answer struct {
	reply
	Token      string                   `json:"token"`
	SessionID  string                   `json:"sessionId"`
	Result     nevisfido.DispatchResult `json:"dispatchResult"`
	VisualCode string                   `json:"visualCode"`
	Info       info                     `json:"dispatcherInformation"`
}

type info struct {
	Name     string           `json:"name"`
	Response *json.RawMessage `json:"response"`
}

// text returns dispatcherInformation.response.
func (a answer) text() string {
	if a.Info.Response == nil {
		return ""
	}
	var text string
	if err := json.Unmarshal(*a.Info.Response, &text); err != nil {
		return string(*a.Info.Response)
	}
	return text
}

const (
	dispatchPath = "/nevisfido/token/dispatch/"
	jsonType     = "application/json"
)

var hints = map[nevisfido.Operation]string{
	nevisfido.Registration: "Reg", nevisfido.Authentication: "Auth", nevisfido.Deregistration: "Dereg",
}

// orderNumber is the relying party's data.
const orderNumber = `{"no":"4711","lines":[1,2.50,null],"é":"\/"}`

// request returns the body of a dispatch request.
func request(op nevisfido.Operation, dispatcher, target string) string {
	members := ""
	if dispatcher != "" {
		members += fmt.Sprintf(`"dispatcher" : %q, `, dispatcher)
	}
	if target != "" {
		members += fmt.Sprintf(`"dispatchTargetId": %q, `, target)
	}
	return fmt.Sprintf(`{%s"x-unknown":[1.50e+02,12345678901234567890123],
		"dispatchInformation":{"notification":{"title":"Confirm payment 4711","body":"at the shop"},"data":{"order":%s}},
		"getUafRequest":{"op":%q,"context":"{\"username\":\"jeff\"}"}}`, members, orderNumber, hints[op])
}

// dispatch makes the relying party's call for an authentication.
func (s *stack) dispatch(dispatcher, target string) answer {
	s.t.Helper()
	return s.dispatchAs(nevisfido.Authentication, dispatcher, target)
}

func (s *stack) dispatchAs(op nevisfido.Operation, dispatcher, target string) answer {
	s.t.Helper()
	a, err := s.tryDispatch(op, dispatcher, target)
	must(s.t, err)
	return a
}

func (s *stack) tryDispatch(op nevisfido.Operation, dispatcher, target string) (answer, error) {
	r, err := s.try(http.MethodPost, dispatchPath+string(op), request(op, dispatcher, target), "Content-Type", jsonType)
	if err != nil {
		return answer{}, err
	}
	a := answer{reply: r}
	if r.status != http.StatusOK {
		return a, fmt.Errorf("status %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, &a); err != nil {
		return a, fmt.Errorf("%w in %s", err, r.body)
	}
	return a, nil
}

// wantResult checks a dispatch that failed: the result, and that nothing of
// nevisFIDO's own message reaches the caller.
func (s *stack) wantResult(a answer, want nevisfido.DispatchResult) {
	s.t.Helper()
	if a.Result != want || a.status != http.StatusOK {
		s.t.Errorf("status %d, %s, want %s: %s", a.status, a.Result, want, a.body)
	}
	if a.Info.Response != nil {
		s.t.Errorf("the answer to a dispatch that failed has the response %s", *a.Info.Response)
	}
	s.wantNoMessage(a.body)
}

// wantNoMessage checks that bytes hold no out-of-band message in clear.
func (s *stack) wantNoMessage(content []byte) {
	s.t.Helper()
	for _, mark := range []string{"dispatchTokenResponse", "nma_data", "bm1hX2RhdGE", "redeem"} {
		if bytes.Contains(content, []byte(mark)) {
			s.t.Errorf("%q stands in %s", mark, content)
		}
	}
}

// keys are made once: making an RSA key takes long.
var keys = struct {
	mu  sync.Mutex
	all map[string]*devicekey.PrivateKey
}{all: make(map[string]*devicekey.PrivateKey)}

func keyOf(t *testing.T, kind string) *devicekey.PrivateKey {
	t.Helper()
	keys.mu.Lock()
	defer keys.mu.Unlock()
	if keys.all[kind] == nil {
		key, err := devicekey.GenerateKey(kind)
		must(t, err)
		keys.all[kind] = key
	}
	return keys.all[kind]
}

// phone is a registered device with its push token.
type phone struct {
	*device.Device
	pushToken string
}

// register makes a phone for the dispatcher push and registers it through the
// sidecar, over the dispatch-target service.
func (s *stack) register(kind string) *phone {
	s.t.Helper()
	return s.registerAs(device.Options{KeyKind: kind}, device.Registration{})
}

func (s *stack) registerAs(o device.Options, how device.Registration) *phone {
	s.t.Helper()
	p := &phone{pushToken: s.google.Register()}
	o.Frontend, o.Target, o.Client = s.url(), p.pushToken, s.client
	if o.Dispatcher == "" {
		o.Dispatcher = "push"
		if how.Way == device.InRegistration {
			o.Dispatcher = nevisfido.BuiltInFCM // SDKs know the built-in names only
		}
	}
	if o.KeyKind != device.NoKey {
		kind := o.KeyKind
		if kind == "" {
			kind = "P-256"
		}
		o.Key, o.KeyKind = keyOf(s.t, kind), ""
	}
	var err error
	p.Device, err = device.New(o)
	must(s.t, err)
	if err := p.Register(s.t.Context(), s.url()+"/nevisfido", how); err != nil {
		s.t.Fatalf("registering: %v", err)
	}
	return p
}

// receive opens the message of a dispatch where the phone gets it.
func (s *stack) receive(p *phone, a answer) (wire string, m device.Message) {
	s.t.Helper()
	wire, m, err := s.tryReceive(p, a)
	if err != nil {
		s.t.Fatalf("%s: %v", a.Info.Name, err)
	}
	return wire, m
}

func (s *stack) tryReceive(p *phone, a answer) (wire string, m device.Message, err error) {
	switch {
	case a.Result != nevisfido.Dispatched:
		return "", m, fmt.Errorf("not dispatched: %s", a.body)
	case a.Info.Name != "push":
		wire = a.text()
		m, err = p.Open(wire)
		return wire, m, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pushed, err := s.google.Wait(ctx, p.pushToken)
	if err != nil {
		return "", m, fmt.Errorf("waiting for the push message: %w", err)
	}
	m, err = p.OpenPush(pushed.Data)
	return string(pushed.JSON), m, err
}
