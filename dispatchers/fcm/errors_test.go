package fcm

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

// faults are FCM's answers and what they mean.
var faults = []struct {
	name       string
	fault      fault.Fault
	class      dispatchers.Class
	reason     string
	retryAfter time.Duration
}{
	{"unregistered", google.Unregistered, dispatchers.Expired, "unregistered", 0},
	{"invalid argument", google.InvalidArgument, dispatchers.Refused, "invalid_argument", 0},
	{"sender id mismatch", google.SenderIDMismatch, dispatchers.Refused, "sender_id_mismatch", 0},
	{"third-party auth error", google.ThirdPartyAuthError, dispatchers.Broken, "third_party_auth_error", 0},
	{"quota", google.QuotaExceeded("7"), dispatchers.Temporary, "quota_exceeded", 7 * time.Second},
	{"quota without hint", google.QuotaExceeded(""), dispatchers.Temporary, "quota_exceeded", time.Minute},
	{"quota with RetryInfo", fault.Answer(429, nil, retryBody("30.5s")), dispatchers.Temporary, "quota_exceeded", 30500 * time.Millisecond},
	{"RetryInfo and a longer hint", fault.Answer(503, http.Header{"Retry-After": {"40"}}, retryBody("30s")), dispatchers.Temporary, "unavailable", 40 * time.Second},
	{"RetryInfo of a day", fault.Answer(503, nil, retryBody("86400s")), dispatchers.Temporary, "unavailable", time.Hour},
	{"RetryInfo that is none", fault.Answer(503, nil, retryBody("soon")), dispatchers.Temporary, "unavailable", 0},
	{"unavailable for longer than can be said", google.Unavailable("99999999999999999999"), dispatchers.Temporary, "unavailable", time.Hour},
	{"unavailable", google.Unavailable("3"), dispatchers.Temporary, "unavailable", 3 * time.Second},
	{"unavailable for a year", google.Unavailable("31536000"), dispatchers.Temporary, "unavailable", time.Hour},
	{"unavailable, nonsense hint", google.Unavailable("soon"), dispatchers.Temporary, "unavailable", 0},
	{"internal", google.Internal, dispatchers.Temporary, "internal", 0},
	{"not found without detail", google.NotFound, dispatchers.Broken, "not_found", 0},
	{"permission denied", google.PermissionDenied, dispatchers.Broken, "permission_denied", 0},
	{"fresh token rejected", google.ExpiredToken, dispatchers.Broken, "unauthenticated", 0},
	{"404 page", fault.Answer(404, nil, "<html>"), dispatchers.Broken, "not_found", 0},
	{"400 page", fault.Answer(400, nil, "<html>"), dispatchers.Refused, "invalid_argument", 0},
	{"code without its status", fault.Answer(400, nil, errorBody("UNREGISTERED")), dispatchers.Refused, "invalid_argument", 0},
	{"code of another detail", fault.Answer(404, nil, strings.ReplaceAll(errorBody("UNREGISTERED"), "FcmError", "Other")), dispatchers.Broken, "not_found", 0},
	{"code that is new", fault.Answer(418, nil, errorBody("TEAPOT")), dispatchers.Broken, "unexpected_answer", 0},
	{"407", fault.Answer(407, nil, ""), dispatchers.Broken, "proxy", 0},
	{"redirect", fault.Answer(302, http.Header{"Location": {"/elsewhere"}}, ""), dispatchers.Broken, "unexpected_answer", 0},
	{"204", fault.Answer(204, nil, ""), dispatchers.Broken, "unexpected_answer", 0},
	{"page", fault.HTML(200), dispatchers.Broken, "unexpected_answer", 0},
	{"JSON of something else", fault.Answer(200, nil, `{"ok":true}`), dispatchers.Broken, "unexpected_answer", 0},
	{"one gigabyte", fault.Flood, dispatchers.Broken, "unexpected_answer", 0},
	{"half an answer", fault.Truncated, dispatchers.Temporary, "connection", 0},
	{"reset", fault.Reset, dispatchers.Temporary, "connection", 0},
	{"reset after delivery", fault.ResetAfterDelivery, dispatchers.Temporary, "connection", 0},
}

func errorBody(code string) string {
	return `{"error":{"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"}]}}`
}

func retryBody(delay string) string {
	return `{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"` + delay + `"}]}}`
}

func TestAnswers(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := startGoogle(t, google.Options{TLS: secure})
		for _, tt := range faults {
			t.Run(tt.name+map[bool]string{false: " over HTTP/1.1", true: " over HTTP/2"}[secure], func(t *testing.T) {
				f := newDispatcher(t, s, trust(t, s))
				phone, before := s.Register(), s.Sends()
				s.ScriptFor(phone, tt.fault)

				_, err := f.Dispatch(t.Context(), message(phone))
				e := dispatcherstest.WantFailure(t, err, tt.class, tt.reason)
				if e.RetryAfter != tt.retryAfter {
					t.Errorf("retry after %v, want %v", e.RetryAfter, tt.retryAfter)
				}
				if n := s.Sends() - before; n != 1 {
					t.Errorf("%d requests, want exactly 1", n)
				}
				wantNoSecret(t, &e, s, phone)
				if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
					t.Errorf("the next attempt: %v", err)
				}
			})
		}
	}
}

// wantNoSecret looks for what the simulator puts into its error texts.
func wantNoSecret(t *testing.T, err error, s *google.Server, phone string) {
	t.Helper()
	secrets := []string{phone, "simulated error", "sign in", "ya29."}
	for _, r := range s.Requests() {
		secrets = append(secrets, r.Header.Get("Authorization"))
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the error %q holds %q", err, secret)
		}
	}
}
