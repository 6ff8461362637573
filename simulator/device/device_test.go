package device

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// keyOf is one encryption key for most tests: RSA keys take long to make.
var keyOf = sync.OnceValues(func() (*devicekey.PrivateKey, error) { return devicekey.GenerateKey("RSA-2048") })

// site is a nevisFIDO that runs.
type site struct {
	*nevis.Server
	address string
}

func newSite(t *testing.T, o nevis.Options) *site {
	t.Helper()
	s := nevis.New(o)
	address, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{s, address}
}

func (s *site) base() string { return s.address + "/nevisfido" }

// phone makes a device whose redeem URLs lead to the site.
func (s *site) phone(t *testing.T, o Options) *Device {
	t.Helper()
	o.Frontend = s.address
	return newDevice(t, o)
}

func newDevice(t *testing.T, o Options) *Device {
	t.Helper()
	if o.Key == nil && o.KeyKind == "" {
		key, err := keyOf()
		if err != nil {
			t.Fatal(err)
		}
		o.Key = key
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// dispatched is what a relying party gets.
type dispatched struct {
	Token                 string
	SessionID             string
	DispatcherInformation struct{ Name, Response string }
	DispatchResult        string
}

func post(t *testing.T, address string, body, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("posting to %s: %d", address, response.StatusCode)
	}
	if err := json.Unmarshal(got, into); err != nil {
		t.Fatal(err)
	}
}

// dispatch starts an operation as a relying party does.
func (s *site) dispatch(t *testing.T, op nevisfido.Operation, dispatcher, targetID string) dispatched {
	t.Helper()
	body := map[string]any{
		"dispatcher":          dispatcher,
		"dispatchInformation": map[string]any{"data": map[string]any{"orderNo": 4711}},
		"getUafRequest":       map[string]string{"op": hints[op], "context": `{"username":"jeff"}`},
	}
	if targetID != "" {
		body["dispatchTargetId"] = targetID
	}
	var d dispatched
	post(t, s.base()+"/token/dispatch/"+string(op), body, &d)
	if d.DispatchResult != "dispatched" {
		t.Fatalf("dispatching with %s: %s", dispatcher, d.DispatchResult)
	}
	return d
}

func (s *site) status(t *testing.T, session string) string {
	t.Helper()
	var answer struct{ Status string }
	post(t, s.base()+"/status", map[string]string{"sessionId": session}, &answer)
	return answer.Status
}

func register(t *testing.T, d *Device, base string, how Registration) {
	t.Helper()
	if err := d.Register(t.Context(), base, how); err != nil {
		t.Fatal(err)
	}
}

func TestWaysToRegister(t *testing.T) {
	for _, tt := range []struct {
		name string
		how  Registration
	}{
		{"create", Registration{}},
		{"create, keys as text", Registration{KeysAsText: true}},
		{"in a registration", Registration{Way: InRegistration}},
		{"in a registration, keys as text", Registration{Way: InRegistration, KeysAsText: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site := newSite(t, nevis.Options{})
			d := site.phone(t, Options{DeviceID: "d1", Name: "Jeff's phone", Target: "push", Dispatcher: "link"})
			register(t, d, site.base()+"/", tt.how)
			got, ok := site.Target(d.TargetID())
			if !ok {
				t.Fatal("the target is not there")
			}
			if got.Username != "jeff" || got.DeviceID != "d1" || got.Name != "Jeff's phone" || got.Address != "push" || got.Dispatcher != "link" {
				t.Errorf("got %+v", got)
			}
			if string(got.EncryptionKey) != string(d.Keys()[0].Public().JWK()) || string(got.SignatureKey) != string(d.SignatureKey().JWK()) {
				t.Error("the keys are not the device's")
			}
			requests := site.Requests()
			body := string(requests[len(requests)-1].Body)
			if tt.how.Way == CreateTarget && strings.Contains(body, `"encryptionKey":"`) != tt.how.KeysAsText {
				t.Error("the key was not sent in the form asked for")
			}
		})
	}
}

func TestRegistrationByAnOutOfBandMessage(t *testing.T) {
	site := newSite(t, nevis.Options{})
	d := site.phone(t, Options{})
	sent := site.dispatch(t, nevisfido.Registration, "png-qr-code", "")
	m, err := d.Open(sent.DispatcherInformation.Response)
	if err != nil {
		t.Fatal(err)
	}
	redeemed, err := d.Redeem(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	register(t, d, site.base(), Registration{Way: InRegistration, UAFRequest: redeemed.UAFRequest})
	if got := site.status(t, sent.SessionID); got != "succeeded" {
		t.Errorf("the session %s", got)
	}
	if _, ok := site.Target(d.TargetID()); !ok {
		t.Error("the target is not there")
	}
}

func TestEveryOperationOverEveryDispatcher(t *testing.T) {
	for mode, dispatchers := range map[nevis.Mode][]string{
		nevis.LTS21:   {"link", "png-qr-code", "firebase-cloud-messaging"},
		nevis.V8_2511: {"link", "png-qr-code", "link-png-qr-code", "firebase-cloud-messaging"},
	} {
		site := newSite(t, nevis.Options{Mode: mode})
		d := site.phone(t, Options{})
		register(t, d, site.base(), Registration{})
		for _, dispatcher := range dispatchers {
			for _, op := range nevisfido.Operations() {
				t.Run(fmt.Sprintf("mode %d, %s by %s", mode, op, dispatcher), func(t *testing.T) {
					sent := site.dispatch(t, op, dispatcher, d.TargetID())
					var m Message
					var err error
					if dispatcher == "firebase-cloud-messaging" {
						pushes := site.Pushes()
						m, err = d.OpenPush(pushes[len(pushes)-1].Data)
					} else {
						m, err = d.Open(sent.DispatcherInformation.Response)
					}
					if err != nil {
						t.Fatal(err)
					}
					sealed := mode == nevis.V8_2511 || dispatcher == "firebase-cloud-messaging"
					if m.Token != sent.Token || m.Operation() != op || m.Sealed != sealed {
						t.Errorf("got %v, sealed: %v", m, m.Sealed)
					}
					if string(m.Member("orderNo")) != "4711" || m.Len() != 3 {
						t.Errorf("%d members, orderNo is %s", m.Len(), m.Member("orderNo"))
					}
					redeemed, err := d.Redeem(t.Context(), m)
					if err != nil {
						t.Fatal(err)
					}
					if redeemed.Operation != op || redeemed.Lifetime < time.Minute {
						t.Errorf("redeemed for %s, %v", redeemed.Operation, redeemed.Lifetime)
					}
					if op == nevisfido.Authentication {
						if err := d.Approve(t.Context(), redeemed); err != nil {
							t.Error(err)
						}
						if got := site.status(t, sent.SessionID); got != "succeeded" {
							t.Errorf("the session %s", got)
						}
					}
				})
			}
		}
	}
}

func TestTokenIsRedeemedOnce(t *testing.T) {
	site := newSite(t, nevis.Options{})
	d := site.phone(t, Options{})
	m, err := d.Open(site.dispatch(t, nevisfido.Authentication, "link", "").DispatcherInformation.Response)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Redeem(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_, err = d.Redeem(t.Context(), m)
	if refused, ok := errors.AsType[*UAFError](err); !ok || refused.Code != 1404 {
		t.Errorf("got %v, want UAF status code 1404", err)
	}
	if strings.Contains(err.Error(), m.Token) {
		t.Error("the error holds the token")
	}
}

func TestModify(t *testing.T) {
	site := newSite(t, nevis.Options{})
	d := site.phone(t, Options{})
	register(t, d, site.base(), Registration{})
	early := site.dispatch(t, nevisfido.Authentication, "link", d.TargetID())

	err := d.Modify(t.Context(), Change{Name: "new name", Target: "new push", Dispatcher: "link", NewKey: "RSA-2048", KeysAsText: true})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := site.Target(d.TargetID())
	keys := d.Keys()
	if got.Name != "new name" || got.Address != "new push" || got.Dispatcher != "link" || string(got.EncryptionKey) != string(keys[0].Public().JWK()) {
		t.Errorf("got %+v", got)
	}
	late := site.dispatch(t, nevisfido.Authentication, "link", d.TargetID())
	for i, sent := range []dispatched{late, early} {
		m, err := d.Open(sent.DispatcherInformation.Response)
		if err != nil {
			t.Fatal(err)
		}
		if m.KeyThumbprint != keys[i].Public().Thumbprint() {
			t.Errorf("message %d was opened by another key", i)
		}
	}
}

func TestModifyIsRefused(t *testing.T) {
	site := newSite(t, nevis.Options{})
	d := site.phone(t, Options{})
	if err := d.Modify(t.Context(), Change{Name: "x"}); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("before registering: got %v", err)
	}
	register(t, d, site.base(), Registration{})
	jws, err := d.Sign(Change{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SendSigned(t.Context(), jws); err != nil {
		t.Fatal(err)
	}
	stranger := site.phone(t, Options{})
	register(t, stranger, site.base(), Registration{})
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"a replay":             {d.SendSigned(t.Context(), jws), 401},
		"a stranger's":         {stranger.SendSigned(t.Context(), jws), 401},
		"a sidecar dispatcher": {d.Modify(t.Context(), Change{Dispatcher: "smtp"}), 422},
	} {
		if refused, ok := errors.AsType[*StatusError](tt.err); !ok || refused.Status != tt.want {
			t.Errorf("%s: got %v, want %d", name, tt.err, tt.want)
		}
	}
	clock := time.Now().Add(-time.Hour)
	slow := site.phone(t, Options{Now: func() time.Time { return clock }})
	register(t, slow, site.base(), Registration{})
	if refused, ok := errors.AsType[*StatusError](slow.Modify(t.Context(), Change{Name: "y"})); !ok || refused.Status != 401 {
		t.Errorf("a clock that is slow: got %v", refused)
	}
}

func TestDelete(t *testing.T) {
	site := newSite(t, nevis.Options{})
	d := site.phone(t, Options{})
	register(t, d, site.base(), Registration{})
	id := d.TargetID()
	if err := d.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := site.Target(id); ok || d.TargetID() != "" {
		t.Error("the target is still there")
	}
	if err := d.Delete(t.Context()); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("a second time: got %v", err)
	}
}

func TestRegisterIsRefused(t *testing.T) {
	site := newSite(t, nevis.Options{Authorization: "Basic amVmZjp0b2tlbg=="})
	allowed := http.Header{"Authorization": {"Basic amVmZjp0b2tlbg=="}}
	register(t, site.phone(t, Options{Header: allowed, Name: "taken"}), site.base(), Registration{})
	for _, tt := range []struct {
		name   string
		o      Options
		way    Way
		status int // HTTP
		code   int // UAF
	}{
		{"no authorization", Options{}, CreateTarget, 401, 0},
		{"unknown user", Options{Header: allowed, Username: "mallory"}, CreateTarget, 403, 0},
		{"a name that is taken", Options{Header: allowed, Name: "taken"}, CreateTarget, 422, 0},
		{"a name that is taken, in a registration", Options{Header: allowed, Name: "taken"}, InRegistration, 0, 1498},
	} {
		d := site.phone(t, tt.o)
		err := d.Register(t.Context(), site.base(), Registration{Way: tt.way})
		if refused, ok := errors.AsType[*StatusError](err); tt.status != 0 && (!ok || refused.Status != tt.status) {
			t.Errorf("%s: got %v, want status %d", tt.name, err, tt.status)
		}
		if refused, ok := errors.AsType[*UAFError](err); tt.code != 0 && (!ok || refused.Code != tt.code) {
			t.Errorf("%s: got %v, want UAF status code %d", tt.name, err, tt.code)
		}
		if d.TargetID() != "" {
			t.Errorf("%s: the device has a target", tt.name)
		}
	}
}

func TestRegisterRefusesOddAnswers(t *testing.T) {
	for name, fault := range map[string]nevis.Fault{
		"HTML":        nevis.HTML(),
		"no id":       nevis.Members(map[string]string{"id": ""}),
		"redirect":    nevis.Redirect("/elsewhere"),
		"cut off":     nevis.TruncatedChunks(),
		"closed":      nevis.CloseConnection(),
		"too long":    nevis.Edit(func(b []byte) []byte { return append(b, make([]byte, maxAnswer)...) }),
		"wrong type":  nevis.Members(map[string]string{"id": "4711"}),
		"not created": nevis.Answer(200, http.Header{"Content-Type": {"application/json"}}, `{"id":"1"}`),
	} {
		site := newSite(t, nevis.Options{})
		d := site.phone(t, Options{})
		site.Script(fault)
		if err := d.Register(t.Context(), site.base(), Registration{}); err == nil || d.TargetID() != "" {
			t.Errorf("%s: got %v and target %q", name, err, d.TargetID())
		}
	}
}

func TestRedeemChecksTheAnswer(t *testing.T) {
	const good = `{"statusCode":1200,"uafRequest":"[{}]","op":"Auth","lifetimeMillis":1000}`
	for _, tt := range []struct {
		name, path, media, body string
		status                  int
		ok                      bool
	}{
		{"good", "/token/redeem/authentication", "application/fido+uaf;charset=UTF-8", good, 200, true},
		{"trailing slash", "/token/redeem/authentication/", "application/fido+uaf", good, 200, true},
		{"no operation", "/token/redeem/", "application/fido+uaf", good, 200, false},
		{"another operation", "/token/redeem/registration", "application/fido+uaf", good, 200, false},
		{"JSON", "/token/redeem/authentication", "application/json", good, 200, false},
		{"a redirect", "/token/redeem/authentication", "application/fido+uaf", good, 302, false},
		{"a refusal", "/token/redeem/authentication", "application/fido+uaf", `{"statusCode":1404}`, 200, false},
		{"no lifetime", "/token/redeem/authentication", "application/fido+uaf", `{"statusCode":1200,"uafRequest":"[{}]","op":"Auth"}`, 200, false},
		{"no request", "/token/redeem/authentication", "application/fido+uaf", `{"statusCode":1200,"op":"Auth","lifetimeMillis":1000}`, 200, false},
		{"not JSON", "/token/redeem/authentication", "application/fido+uaf", `x`, 200, false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.media)
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		}))
		d := newDevice(t, Options{})
		got, err := d.Redeem(t.Context(), Message{Token: "t", RedeemURL: server.URL + tt.path})
		if (err == nil) != tt.ok || tt.ok && got.UAFRequest != "[{}]" {
			t.Errorf("%s: got %v, %v", tt.name, got, err)
		}
		server.Close()
	}
}

func TestApproveIsForAuthentications(t *testing.T) {
	site := newSite(t, nevis.Options{})
	d := site.phone(t, Options{})
	if err := d.Approve(t.Context(), Redeemed{Operation: nevisfido.Authentication}); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("before registering: got %v", err)
	}
	register(t, d, site.base(), Registration{})
	for name, r := range map[string]Redeemed{
		"a deregistration": {Operation: nevisfido.Deregistration, UAFRequest: `[{"header":{}}]`},
		"no UAF request":   {Operation: nevisfido.Authentication},
		"no such session":  {Operation: nevisfido.Authentication, UAFRequest: `[{"header":{"op":"Auth"}}]`},
	} {
		if err := d.Approve(t.Context(), r); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

func TestCancelledCalls(t *testing.T) {
	site := newSite(t, nevis.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := site.phone(t, Options{}).Register(ctx, site.base(), Registration{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestUnknownKeyKinds(t *testing.T) {
	for _, o := range []Options{{KeyKind: "RSA-512"}, {SignatureKind: "HMAC", KeyKind: NoKey}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: want an error", o)
		}
	}
}

func encoded(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
