package device

import (
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
type site struct{ *nevis.Server }

func newSite(t *testing.T, o nevis.Options) *site {
	t.Helper()
	s, err := nevis.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &site{s}
}

func (s *site) base() string { return s.URL() + "/nevisfido" }

// phone makes a device whose redeem URLs lead to the site.
func (s *site) phone(t *testing.T, o Options) *Device {
	t.Helper()
	o.Frontend = s.URL()
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
	DispatcherInformation struct{ Name, Response string }
	DispatchResult        string
}

// dispatch starts an operation as a relying party does.
func (s *site) dispatch(t *testing.T, op nevisfido.Operation, dispatcher, targetID string) (d dispatched) {
	t.Helper()
	body := text(map[string]any{
		"dispatcher": dispatcher, "dispatchTargetId": targetID,
		"dispatchInformation": map[string]any{"data": map[string]any{"orderNo": 4711}},
		"getUafRequest":       map[string]string{"op": hints[op], "context": `{"username":"jeff"}`},
	})
	response, err := http.Post(s.base()+"/token/dispatch/"+string(op), "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&d); err != nil || d.DispatchResult != "dispatched" {
		t.Fatalf("dispatching with %s: %s, %v", dispatcher, d.DispatchResult, err)
	}
	return d
}

func register(t *testing.T, d *Device, base string, how Registration) {
	t.Helper()
	if err := d.Register(t.Context(), base, how); err != nil {
		t.Fatal(err)
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
					}
				})
			}
		}
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
	if refused, ok := errors.AsType[*StatusError](d.SendSigned(t.Context(), jws)); !ok || refused.Status != 401 {
		t.Errorf("a replay: got %v, want 401", refused)
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

func encoded(payload string) string { return base64.RawURLEncoding.EncodeToString([]byte(payload)) }
