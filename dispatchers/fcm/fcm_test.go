package fcm

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startGoogle(t *testing.T, o google.Options) *google.Server {
	t.Helper()
	s, err := google.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func credentialsFile(t *testing.T, s *google.Server) string {
	t.Helper()
	return testservice.File(t, "account.json", s.ServiceAccountJSON())
}

// load provisions a dispatcher as a configuration does.
func load(t *testing.T, options map[string]any) (*FCM, error) {
	t.Helper()
	return dispatcherstest.Load[*FCM](t, "fcm", options)
}

// newDispatcher loads a dispatcher that sends to s; more adds options.
func newDispatcher(t *testing.T, s *google.Server, more map[string]any) *FCM {
	t.Helper()
	options := map[string]any{"credentials": credentialsFile(t, s), "endpoint": s.URL()}
	maps.Copy(options, more)
	f, err := load(t, options)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const sealed = dispatcherstest.Sealed

func message(address string) *dispatchers.Message {
	return dispatcherstest.Message(address, map[string]string{
		"oob.notification.title": "Confirm payment", "oob.notification.body": "to\nACME",
	})
}

func TestDispatchDelivers(t *testing.T) {
	s := startGoogle(t, google.Options{})
	f := newDispatcher(t, s, nil)
	if n := len(s.Requests()); n != 0 {
		t.Fatalf("provisioning made %d requests", n)
	}
	phone := s.Register()
	m := message(phone)
	m.Link = "https://app.example.com/open?dispatchTokenResponse=canary-link"
	receipt, err := f.Dispatch(t.Context(), m)
	if err != nil || receipt.Response != dispatchers.SuccessfulDispatch {
		t.Fatalf("got %v, %v", receipt, err)
	}
	got, err := s.Wait(t.Context(), phone)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"nma_data": sealed, "nma_data_content_type": "application/jose", "nma_data_version": "1",
	}
	if !maps.Equal(got.Data, want) {
		t.Errorf("data %v, want %v", got.Data, want)
	}
	if got.Notification != (google.Notification{Title: "Confirm payment", Body: "to ACME"}) {
		t.Errorf("notification %+v", got.Notification)
	}
	// The keys are the same for all attempts, so that a duplicate replaces what is shown.
	if got.Android.Priority != "HIGH" || got.Android.CollapseKey != m.ID || got.Android.Notification.Tag != m.ID {
		t.Errorf("android %+v", got.Android)
	}
	if got.APNS.Headers["apns-priority"] != "10" || got.APNS.Headers["apns-collapse-id"] != m.ID {
		t.Errorf("apns headers %v", got.APNS.Headers)
	}
	if aps := got.APNS.Payload.APS; aps.Alert != got.Notification || aps.MutableContent != 1 {
		t.Errorf("aps %+v", aps)
	}
	for _, r := range s.Requests() {
		if text := r.Path + fmt.Sprint(r.Header) + string(r.Body); strings.Contains(text, "canary") || strings.Contains(text, "redeem") {
			t.Errorf("%s shows clear text", r.Path)
		}
	}
	// A reload does not wait for the exchanges of the old configuration.
	if err := f.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Dispatch(t.Context(), m); err != nil {
		t.Errorf("after Cleanup: %v", err)
	}
	if err := new(FCM).Cleanup(); err != nil {
		t.Errorf("after a Provision that failed: %v", err)
	}
}

func TestDryRunDeliversNothing(t *testing.T) {
	s := startGoogle(t, google.Options{})
	f := newDispatcher(t, s, map[string]any{"dry_run": true})
	phone := s.Register()
	if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
		t.Fatal(err)
	}
	if s.Sends() != 1 || len(s.Unread(phone)) != 0 {
		t.Errorf("%d sends, %d delivered; want 1 and 0", s.Sends(), len(s.Unread(phone)))
	}
}

func TestConcurrentDispatchesShareOneAccessToken(t *testing.T) {
	s := startGoogle(t, google.Options{})
	f := newDispatcher(t, s, nil)
	const n = 32
	var wg sync.WaitGroup
	for range n {
		phone := s.Register()
		wg.Go(func() {
			if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
				t.Error(err)
			}
			if got := len(s.Unread(phone)); got != 1 {
				t.Errorf("%d messages, want 1", got)
			}
		})
	}
	wg.Wait()
	if s.TokenRequests() != 1 || s.Sends() != n {
		t.Errorf("%d token requests and %d sends, want 1 and %d", s.TokenRequests(), s.Sends(), n)
	}
}

func TestProbe(t *testing.T) {
	s := startGoogle(t, google.Options{})
	f := newDispatcher(t, s, nil)
	if err := f.Probe(t.Context()); err != nil {
		t.Errorf("in order: %v", err)
	}
	s.RevokeTokens()
	s.ScriptOAuth(google.OAuthError("invalid_grant"))
	if err := f.Probe(t.Context()); err == nil {
		t.Error("a rejected access token passed")
	}
	dispatcherstest.WantFailure(t, f.Probe(t.Context()), dispatchers.Broken, "oauth_refused")

	other := newDispatcher(t, s, nil)
	s.Close()
	dispatcherstest.WantFailure(t, other.Probe(t.Context()), dispatchers.Temporary, "connection")
}
