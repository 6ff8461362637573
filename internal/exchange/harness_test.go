package exchange

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/limiter"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	authentication = "/nevisfido/token/dispatch/authentication"
	registration   = "/nevisfido/token/dispatch/registration"
	targetsPath    = "/nevisfido/token/dispatch/targets"

	upstreamBase = "https://app.example.com/open"
	redeemURL    = "https://fido.example.com/nevisfido/token/redeem"
)

type (
	Channel = delivery.Channel
	Policy  = delivery.Policy
)

const (
	Required  = delivery.Required
	Preferred = delivery.Preferred
	Off       = delivery.Off
)

// A harness is an Exchange with a scripted nevisFIDO behind it, channels that
// keep what they are handed, and a store in memory. When the test ends, its
// log is searched for everything that is secret.
type harness struct {
	Config // may be changed between requests

	mu        sync.Mutex
	exchanges []*Exchange // that were made of it

	tb       testing.TB
	store    *kvtest.Memory
	upstream *upstream
	seen     *observed
	logs     *logBuffer
	errors   *logBuffer // what the server is handed, and will log

	token, targetID, pushToken, username, email string

	device *devicekey.PrivateKey
	signer *devicekey.SigningKey
}

// deviceKey and signingKey are made once: what counts is who can open what.
var (
	deviceKey  = sync.OnceValues(func() (*devicekey.PrivateKey, error) { return devicekey.GenerateKey("P-256") })
	rsaKey     = sync.OnceValues(func() (*devicekey.PrivateKey, error) { return devicekey.GenerateKey("RSA-2048") })
	signingKey = sync.OnceValues(func() (*devicekey.SigningKey, error) { return devicekey.GenerateSigningKey("P-256") })
)

func must[T any](tb testing.TB) func(T, error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// newHarness makes an Exchange that knows one target, registered for the
// channel "push". nevisFIDO answers with a link that holds a plain message.
func newHarness(tb testing.TB) *harness {
	tb.Helper()
	h := &harness{
		tb:        tb,
		store:     new(kvtest.Memory),
		upstream:  new(upstream),
		seen:      new(observed),
		logs:      new(logBuffer),
		errors:    new(logBuffer),
		token:     "token-" + rand.Text(),
		targetID:  "target-" + rand.Text(),
		pushToken: "push-" + rand.Text(),
		username:  "user-" + rand.Text(),
		device:    must[*devicekey.PrivateKey](tb)(deviceKey()),
		signer:    must[*devicekey.SigningKey](tb)(signingKey()),
	}
	h.email = h.username + "@example.com"
	h.Config = Config{
		Config: delivery.Config{
			Lifetimes: map[nevisfido.Operation]time.Duration{nevisfido.Authentication: 2 * time.Minute},
			Deadline:  time.Minute,
			Targets:   &targets.Directory{Store: h.store, Unsynced: new(targets.Unsynced)},
			Channels:  make(map[string]*Channel),
			Lookup:    func(*http.Request, string) (string, bool) { return "", false },
			Noticed:   func(delivery.Notice) {},
			Limiter:   limiter.New(),
			ClientIP:  func(*http.Request) string { return "192.0.2.1" },
			Log:       newLog(h.logs),
		},
		BasePath:           "/nevisfido",
		UpstreamDispatcher: nevisfido.BuiltInLink,
		UpstreamTimeout:    30 * time.Second,
		MaxBody:            64 << 10,
		Observer:           h.seen,
	}
	h.register("push", h.device)
	h.upstream.answer = h.dispatched(h.plainLink(h.token))
	tb.Cleanup(func() { h.searchLogs(tb) })
	return h
}

// newLog writes JSON as Caddy does, with levels in small letters.
func newLog(to io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey {
			a.Value = slog.StringValue(strings.ToLower(a.Value.String()))
		}
		return a
	}}))
}

// exchange makes an Exchange of the present configuration.
func (h *harness) exchange() *Exchange {
	h.tb.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	x, err := New(h.Config)
	if err != nil {
		h.tb.Fatal(err)
	}
	h.exchanges = append(h.exchanges, x)
	return x
}

// ServeHTTP has the present configuration handle a request.
func (h *harness) ServeHTTP(w http.ResponseWriter, r *http.Request, next Next) error {
	return h.exchange().ServeHTTP(w, r, next)
}

// Wait waits for what goes on after its request was answered.
func (h *harness) Wait() {
	for _, x := range h.exchanges {
		x.Wait()
	}
}

// register makes the target known, as a create call does.
func (h *harness) register(dispatcher string, key *devicekey.PrivateKey) {
	h.tb.Helper()
	jwk := ""
	if key != nil {
		jwk = string(key.Public().JWK())
	}
	h.registerJWK(dispatcher, jwk)
}

// registerJWK makes the target known with any encryption key; "" for none.
func (h *harness) registerJWK(dispatcher, jwk string) {
	h.tb.Helper()
	d := &nevisfido.TargetDescription{
		Username: h.username, DeviceID: "device-1", Name: "phone", Target: h.pushToken, Dispatcher: dispatcher,
		EncryptionKey: []byte(jwk), SignatureKey: h.signer.JWK(),
	}
	if err := h.Targets.Learn(h.tb.Context(), d, nevisfido.CreatedTarget{ID: h.targetID}, targets.SourceCreate); err != nil {
		h.tb.Fatal(err)
	}
}

// edit changes the record of the target behind the directory's back.
func (h *harness) edit(change func(*targets.Target)) {
	h.tb.Helper()
	err := h.store.Update(h.tb.Context(), h.ref(), func(t *targets.Target) (*targets.Target, error) {
		change(t)
		return t, nil
	})
	if err != nil {
		h.tb.Fatal(err)
	}
}

func (h *harness) ref() targets.Ref { return targets.Ref{ID: h.targetID} }

// failAt makes the store fail at one point of its work.
func failAt(at kvtest.Op) func(context.Context, kvtest.Op) error {
	return func(_ context.Context, op kvtest.Op) error {
		if op == at {
			return errors.New("disk full")
		}
		return nil
	}
}

// record returns the target as it is stored, nil where it is not.
func (h *harness) record() *targets.Target {
	h.tb.Helper()
	t, err := h.store.Load(context.Background(), h.ref())
	switch {
	case errors.Is(err, targets.ErrNotFound):
		return nil
	case err != nil:
		h.tb.Fatal(err)
	}
	return t
}

// add configures a channel with a guest that keeps what it is handed.
func (h *harness) add(c Channel) *guest {
	g := new(guest)
	c.Dispatcher = g
	if c.Encryption == "" {
		c.Encryption = Required
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Slots == nil {
		c.Slots = make(chan struct{}, 64)
	}
	h.Channels[c.Name] = &c
	return g
}

// push adds a channel that the target was registered for.
func (h *harness) push() *guest {
	return h.add(Channel{Name: "push", Type: "fcm", Traits: dispatchers.Traits{BuiltIn: nevisfido.BuiltInFCM}})
}

// link adds a channel that answers the caller.
func (h *harness) link(policy Policy) *guest {
	return h.add(Channel{Name: "link", Type: "link", Encryption: policy, Traits: dispatchers.Traits{AnswersCaller: true}})
}

// body returns a dispatch request for a channel, with the known target.
func (h *harness) body(dispatcher string) string { return h.bodyFor(dispatcher, h.targetID) }

func (h *harness) bodyFor(dispatcher, targetID string) string {
	return string(toJSON(h.tb, map[string]any{
		"dispatcher": dispatcher, "dispatchTargetId": targetID,
		"dispatchInformation": map[string]any{"notification": map[string]any{"title": "Confirm"}},
		"getUafRequest":       map[string]any{"op": "Auth", "context": `{"username":"` + h.username + `"}`},
	}))
}

func newRequest(tb testing.TB, method, path, body string) *http.Request {
	r := httptest.NewRequestWithContext(tb.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// dispatch sends a dispatch request for the known target to a channel.
func (h *harness) dispatch(dispatcher string) *answer {
	h.tb.Helper()
	return h.send(newRequest(h.tb, http.MethodPost, authentication, h.body(dispatcher)))
}

func (h *harness) send(r *http.Request) *answer {
	h.tb.Helper()
	a := &answer{ResponseRecorder: httptest.NewRecorder()}
	if a.err = h.ServeHTTP(a, r, h.upstream.next); a.err != nil {
		_, _ = io.WriteString(h.errors, a.err.Error())
	}
	return a
}

// dispatched plays a nevisFIDO that made a token.
func (h *harness) dispatched(response string) Next {
	return respond(http.StatusOK, string(toJSON(h.tb, map[string]any{
		"token": h.token, "sessionId": "session-1",
		"dispatcherInformation": map[string]any{"name": "link", "response": response},
		"dispatchResult":        "dispatched",
	})))
}

func (h *harness) plainLink(token string) string {
	return nevisfido.Link(upstreamBase, nevisfido.NewContent(token, redeemURL+"/authentication").Envelope())
}

// linkTo returns a link that carries any text as its envelope.
func linkTo(envelope string) string {
	return upstreamBase + "?dispatchTokenResponse=" + base64.RawURLEncoding.EncodeToString([]byte(envelope))
}

// respond plays a nevisFIDO that answers in JSON.
func respond(status int, body string) Next {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		w.WriteHeader(status)
		if body == "" {
			return nil
		}
		_, err := io.WriteString(w, body)
		return err
	}
}

// An answer is what the caller gets: what was written, or else an error for
// the server to turn into an answer.
type answer struct {
	*httptest.ResponseRecorder
	err error
}

// status returns the HTTP status that the caller sees.
func (a *answer) status() int {
	if e, ok := errors.AsType[*StatusError](a.err); ok {
		return e.Status
	}
	if a.err != nil {
		return http.StatusInternalServerError
	}
	return a.Code
}

type outcome struct {
	Token, SessionID string
	Result           string `json:"dispatchResult"`
	VisualCode       string
	Picture          string `json:"visualCodePicture"`
	Information      struct {
		Name     string
		Response json.RawMessage
	} `json:"dispatcherInformation"`
}

func (a *answer) outcome(tb testing.TB) outcome {
	tb.Helper()
	if a.err != nil {
		tb.Fatalf("no answer: %v", a.err)
	}
	if a.Code != http.StatusOK {
		tb.Fatalf("status %d", a.Code)
	}
	var o outcome
	if err := json.Unmarshal(a.Body.Bytes(), &o); err != nil {
		tb.Fatalf("answer %s: %v", a.Body, err)
	}
	return o
}

// wantResult checks what the caller is told, and that a failure tells nothing
// beside it.
func (a *answer) wantResult(tb testing.TB, want nevisfido.DispatchResult) {
	tb.Helper()
	o := a.outcome(tb)
	if o.Result != string(want) {
		tb.Errorf("dispatchResult %q, want %q", o.Result, want)
	}
	if want != nevisfido.Dispatched && (o.Information.Response != nil || o.VisualCode != "" || o.Picture != "") {
		tb.Errorf("a failure shows %s", a.Body)
	}
}

// A forwarded request, as nevisFIDO got it.
type forwarded struct {
	header http.Header
	body   string
	coding []string // of the transfer
	length int64
}

// upstream plays nevisFIDO.
type upstream struct {
	answer Next

	mu  sync.Mutex
	got []forwarded
}

func (u *upstream) next(w http.ResponseWriter, r *http.Request) error {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return err
		}
	}
	u.mu.Lock()
	u.got = append(u.got, forwarded{header: r.Header.Clone(), body: string(body), coding: r.TransferEncoding, length: r.ContentLength})
	answer := u.answer
	u.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return answer(w, r)
}

func (u *upstream) calls() []forwarded {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.got)
}

// one returns the only request that nevisFIDO got.
func (u *upstream) one(tb testing.TB) forwarded {
	tb.Helper()
	return only(tb, "requests at nevisFIDO", u.calls())
}

func only[T any](tb testing.TB, what string, all []T) T {
	tb.Helper()
	if len(all) != 1 {
		tb.Fatalf("there are %d %s, want one", len(all), what)
	}
	return all[0]
}

// A guest is a dispatcher that keeps what it is handed. It delivers, unless it
// is told otherwise.
type guest struct {
	do guestFunc

	mu  sync.Mutex
	got []*dispatchers.Message
}

func (*guest) Traits() dispatchers.Traits { return dispatchers.Traits{} }

func (g *guest) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	g.mu.Lock()
	g.got = append(g.got, m)
	g.mu.Unlock()
	if g.do != nil {
		return g.do(ctx, m)
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

func (g *guest) messages() []*dispatchers.Message {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.got)
}

// one returns the only message.
func (g *guest) one(tb testing.TB) *dispatchers.Message {
	tb.Helper()
	return only(tb, "messages at the dispatcher", g.messages())
}

func (g *guest) fails(class dispatchers.Class) {
	g.do = func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
		return dispatchers.Receipt{}, dispatchers.Fail(class, "scripted", "scripted")
	}
}

type guestFunc = func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error)

// script makes a guest that fails in the given ways, one after the other, and
// then delivers.
func script(failures ...error) guestFunc {
	return func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
		if len(failures) == 0 {
			return dispatchers.Receipt{Response: "ok"}, nil
		}
		failure := failures[0]
		failures = failures[1:]
		return dispatchers.Receipt{}, failure
	}
}

func panics(with any) guestFunc {
	return func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) { panic(with) }
}

func hang(ctx context.Context, _ *dispatchers.Message) (dispatchers.Receipt, error) {
	<-ctx.Done()
	return dispatchers.Receipt{}, fmt.Errorf("posting: %w", ctx.Err())
}

// open decrypts a message as the device does.
func open(tb testing.TB, key *devicekey.PrivateKey, m *dispatchers.Message) nevisfido.Content {
	tb.Helper()
	if m.Envelope.ContentType != nevisfido.ContentTypeSealed {
		tb.Fatalf("the message is not sealed: %s", m.Envelope.ContentType)
	}
	jwe, _ := m.Envelope.Text()
	text, err := key.Open(jwe)
	if err != nil {
		tb.Fatal(err)
	}
	return must[nevisfido.Content](tb)(nevisfido.ParseContent(text))
}

// everything returns all that a dispatcher can make of a message.
func everything(m *dispatchers.Message) string {
	all := dispatchers.Template("{oob.operation} {oob.dispatcher} {oob.username} {oob.target} {oob.target_id} {oob.device_id} {oob.name} " +
		"{oob.notification.title} {oob.notification.body} {oob.visual_code} {oob.link} {oob.data.token} {oob.token} {oob.answer}")
	return strings.Join([]string{
		m.ID, m.Address, m.Link, string(m.Envelope.JSON()), m.Envelope.Encoded(), string(m.EncodingParameters),
		m.Expand(all, nil), m.String(), m.GoString(),
	}, "\n")
}

// sealed is how a JWE begins, or any JSON in base64; longer than a thumbprint,
// which may begin so by chance.
var sealed = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{45}`)

// searchLogs fails where the log, an error or what the observer was told shows
// anything that is secret.
func (h *harness) searchLogs(tb testing.TB) {
	tb.Helper()
	told := fmt.Sprintf("%+v", h.seen.records)
	log := h.logs.String() + h.errors.String() + told
	for what, secret := range map[string]string{
		"token": h.token, "target id": h.targetID, "push token": h.pushToken, "username": h.username, "address": h.email,
	} {
		if testservice.Find(log, secret) >= 0 {
			tb.Errorf("the log shows the %s:\n%.2000s", what, log)
		}
	}
	if jwe := sealed.FindString(log); jwe != "" {
		tb.Errorf("the log shows a JWE: %s", jwe)
	}
}

// wantLog fails unless some line holds all the words.
func (h *harness) wantLog(words ...string) {
	h.tb.Helper()
	for line := range strings.Lines(h.logs.String()) {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			return
		}
	}
	h.tb.Errorf("no log line with %q in\n%s", words, h.logs)
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// observed keeps what the observer is told.
type observed struct {
	mu      sync.Mutex
	records []Record
	limited []dispatchers.Scope
	passed  []string
	guesses nevisfido.Guesses
}

func (o *observed) Exchanged(r Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records = append(o.records, r)
}

func (o *observed) Limited(scope dispatchers.Scope) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.limited = append(o.limited, scope)
}

func (o *observed) Passed(reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.passed = append(o.passed, reason)
}

func (*observed) Asked(time.Duration) {}

func (o *observed) Guessed(g nevisfido.Guesses) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.guesses |= g
}

// one returns the record of the only exchange.
func (o *observed) one(tb testing.TB) Record {
	tb.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	return only(tb, "records of exchanges", o.records)
}

func toJSON(tb testing.TB, v any) []byte {
	tb.Helper()
	return must[[]byte](tb)(json.Marshal(v))
}

// Interface guards
var (
	_ dispatchers.Dispatcher = (*guest)(nil)
	_ Observer               = (*observed)(nil)
)
