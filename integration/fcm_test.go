package integration

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

// Each error of FCM becomes one result for the caller, after the attempts that
// it allows and no more.
func TestFCMErrors(t *testing.T) {
	const retries = 1
	s := start(t, options{push: "retries 1"})
	for _, tt := range []struct {
		name   string
		fault  fault.Fault
		result nevisfido.DispatchResult
		reason string
		sends  int
	}{
		{"UNREGISTERED", google.Unregistered, "dispatchTargetExpired", "unregistered", 1},
		{"INVALID_ARGUMENT", google.InvalidArgument, "dispatchError", "invalid_argument", 1},
		{"SENDER_ID_MISMATCH", google.SenderIDMismatch, "dispatchError", "sender_id_mismatch", 1},
		{"THIRD_PARTY_AUTH_ERROR", google.ThirdPartyAuthError, "internalError", "third_party_auth_error", 1},
		{"QUOTA_EXCEEDED", google.QuotaExceeded(""), "dispatchError", "quota_exceeded", 1},
		{"QUOTA_EXCEEDED for an hour", google.QuotaExceeded("3600"), "dispatchError", "quota_exceeded", 1},
		{"UNAVAILABLE", google.Unavailable(""), "dispatchError", "unavailable", 1 + retries},
		{"UNAVAILABLE for an hour", google.Unavailable("3600"), "dispatchError", "unavailable", 1},
		{"INTERNAL", google.Internal, "dispatchError", "internal", 1 + retries},
		{"reset", fault.Reset, "dispatchError", "connection", 1 + retries},
		{"half an answer", fault.Truncated, "dispatchError", "connection", 1 + retries},
		{"not found", google.NotFound, "internalError", "not_found", 1},
		{"permission denied", google.PermissionDenied, "internalError", "permission_denied", 1},
		{"a page", fault.HTML(200), "internalError", "unexpected_answer", 1},
		{"a gigabyte", fault.Flood, "internalError", "unexpected_answer", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := s.register("P-256")
			before := s.google.Sends()
			s.google.ScriptFor(p.pushToken, tt.fault, tt.fault, tt.fault)
			logged.reset()
			s.wantResult(s.dispatch("push", p.TargetID()), tt.result)
			if n := s.google.Sends() - before; n != tt.sends {
				t.Errorf("%d requests were sent to FCM, want %d", n, tt.sends)
			}
			if len(logged.lines(`"not dispatched"`, `"reason":"`+tt.reason+`"`)) != 1 {
				t.Errorf("the log does not tell the reason %s:\n%s", tt.reason, logged.lines("not dispatched"))
			}
		})
	}
}

func TestFCMRecovers(t *testing.T) {
	s := start(t, options{})
	for name, strike := range map[string]fault.Fault{
		"unavailable": google.Unavailable(""), "reset": fault.Reset, "token revoked": google.ExpiredToken,
	} {
		p := s.register("P-256")
		s.take(p, nevisfido.Authentication, "push") // the access token is known from here on
		s.google.ScriptFor(p.pushToken, strike)
		s.take(p, nevisfido.Authentication, "push")
		if n := len(s.google.Unread(p.pushToken)); n != 0 {
			t.Errorf("%s: %d more messages arrived", name, n)
		}
	}
	// A message that may have arrived twice replaces itself on the phone.
	p := s.register("P-256")
	s.google.ScriptFor(p.pushToken, fault.ResetAfterDelivery)
	if a := s.dispatch("push", p.TargetID()); a.Result != nevisfido.Dispatched {
		t.Fatalf("%s", a.body)
	}
	arrived := s.google.Unread(p.pushToken)
	if len(arrived) != 2 || arrived[0].Android.CollapseKey == "" || arrived[0].Android.CollapseKey != arrived[1].Android.CollapseKey ||
		arrived[0].APNS.Headers["apns-collapse-id"] != arrived[1].APNS.Headers["apns-collapse-id"] {
		t.Errorf("%d messages arrived, and do not replace one another", len(arrived))
	}
}

func TestOAuthErrors(t *testing.T) {
	s := start(t, options{push: "retries 0"})
	p := s.register("P-256")
	for name, tt := range map[string]struct {
		fault  fault.Fault
		result nevisfido.DispatchResult
	}{
		"invalid_grant": {google.OAuthError("invalid_grant"), nevisfido.InternalError},
		"unavailable":   {fault.Answer(503, nil, "<html>"), nevisfido.DispatchError},
		"a page":        {fault.HTML(200), nevisfido.InternalError},
		"reset":         {fault.Reset, nevisfido.DispatchError},
	} {
		s.google.ScriptOAuth(tt.fault)
		before := s.google.Sends()
		a := s.dispatch("push", p.TargetID())
		if a.Result != tt.result {
			t.Errorf("%s: %s, want %s", name, a.Result, tt.result)
		}
		s.wantResult(a, a.Result)
		if n := s.google.Sends() - before; n != 0 {
			t.Errorf("%s: %d requests were sent to FCM", name, n)
		}
	}
	s.take(p, nevisfido.Authentication, "push")
}

// A phone without the app gets nothing until it is modified: neither it nor
// nevisFIDO is asked again.
func TestQuarantine(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	s.google.Unregister(p.pushToken)
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	sends, asked := s.google.Sends(), len(s.nevis.Requests())
	for range 3 {
		s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	}
	if s.google.Sends() != sends || len(s.nevis.Requests()) != asked {
		t.Errorf("a quarantined target cost %d requests to FCM and %d to nevisFIDO", s.google.Sends()-sends, len(s.nevis.Requests())-asked)
	}
	p.pushToken = s.google.Register()
	s.modify(p, device.Change{Target: p.pushToken})
	s.take(p, nevisfido.Authentication, "push")
}

func TestKeepUnregistered(t *testing.T) {
	s := start(t, options{push: "keep_unregistered"})
	p := s.register("P-256")
	s.google.ScriptFor(p.pushToken, google.Unregistered)
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetExpired)
	s.take(p, nevisfido.Authentication, "push")
}

// A push token is the address of a push, and of nothing else.
func TestAddressOfAnotherChannel(t *testing.T) {
	s := start(t, options{})
	p := s.registerAs(device.Options{Dispatcher: "app-link"}, device.Registration{})
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchTargetNotFound)
	if n := s.google.Sends(); n != 0 {
		t.Errorf("%d push messages were sent", n)
	}
	s.take(p, nevisfido.Authentication, "app-link")
}

// Both of Google's hosts are reached through the proxy, with its credentials.
func TestProxyForBothHosts(t *testing.T) {
	for _, secure := range []bool{false, true} {
		via, err := proxy.Start(proxy.Options{User: "bank", Password: "pass%word"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(via.Close)
		t.Setenv("OOB_TEST_PROXY", via.URL())
		s := start(t, options{google: google.Options{TLS: secure}, push: "proxy {env.OOB_TEST_PROXY}\n\t\t\tretries 0"})
		p := s.register("P-256")
		s.take(p, nevisfido.Authentication, "push")
		s.take(p, nevisfido.Authentication, "push")
		counts := via.Counts()
		if counts.Refused != 0 || !secure && counts.Requests != 3 || secure && counts.Connects == 0 {
			t.Errorf("TLS %v: the proxy saw %+v, want the way to the token and two messages", secure, counts)
		}
		if s.google.TokenRequests() != 1 || s.google.Sends() != 2 {
			t.Errorf("TLS %v: Google saw %d and %d requests", secure, s.google.TokenRequests(), s.google.Sends())
		}
		if !secure { // a tunnel that is open stays open
			via.Refuse(502)
			s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatchError)
		}
		s.wantNowhere(map[string]string{"the proxy's password": "pass%word"})
	}
}
