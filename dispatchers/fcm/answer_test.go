package fcm

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

// canary stands in the seeds for what no error may quote.
const canary = "Zx7Q-canary"

// service stands for Google, and always answers the same.
func service(c *dispatcherstest.Canned, statuses httpsend.Table) *httpsend.Service {
	return &httpsend.Service{Name: "it", Doing: "asking", Statuses: statuses, ReadsBody: true, Transport: c.Transport()}
}

// failure returns an error of an attempt that quotes nothing and asks to wait for
// no longer than a third party may ask.
func failure(t *testing.T, err error) *dispatchers.Error {
	t.Helper()
	e, ok := errors.AsType[*dispatchers.Error](err)
	if !ok {
		t.Fatalf("an error without a class: %v", err)
	}
	if !e.Class.Valid() || e.Reason == "" || strings.Contains(e.Error(), canary) || e.RetryAfter < 0 || e.RetryAfter > httpsend.MaxRetryAfter {
		t.Errorf("the error %v, to be repeated after %v", e, e.RetryAfter)
	}
	return e
}

// FuzzAnswer reads what FCM answers to a message. Only a 200 with a receipt is a
// delivery, only FCM's own word about a 404 takes the address off a target, and only a
// 401 gives up the access token.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []struct {
		status int
		body   string
		retry  string
	}{
		{200, `{"name":"projects/p/messages/0:1500415314455276%` + canary + `"}`, ""},
		{200, `{"name":"` + canary + `"}`, ""},
		{404, errorBody("UNREGISTERED"), ""},
		{403, errorBody("SENDER_ID_MISMATCH"), ""},
		{401, errorBody("THIRD_PARTY_AUTH_ERROR"), ""},
		{429, retryBody("30.5s"), "7"},
		{503, retryBody("-5s"), "Wed, 21 Oct 2065 07:28:00 GMT"},
		{503, retryBody("9999999h"), "99999999999999999999"},
		{401, `{"error":{"message":"` + canary + `","details":[null,1]}}`, canary},
		{400, `{"error":{"code":400,"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + canary + `"},{"@type":"` + canary + `"}]}}`, "-1"},
		{407, "", ""},
		{302, "<html>", ""},
	} {
		f.Add(seed.status, []byte(seed.body), seed.retry)
	}
	google := &dispatcherstest.Canned{}
	dispatcher := &FCM{sendURL: dispatcherstest.Scheme + "://fcm/send", service: service(google, statuses)}
	source := new(tokenSource)
	dispatcher.source = func() *tokenSource { return source }
	f.Fuzz(func(t *testing.T, status int, body []byte, retry string) {
		if status < 200 || status > 999 {
			return
		}
		*google = dispatcherstest.Canned{Status: status, Body: body, Header: http.Header{"Retry-After": {retry}}}
		source.token = accessToken{"ya29", time.Now().Add(time.Hour), time.Now().Add(time.Hour)}
		err := dispatcher.send(t.Context(), []byte("{}"))
		if source.token.value == "" && status != http.StatusUnauthorized {
			t.Errorf("status %d gives up the access token", status)
		}
		if google.Requests != 1 {
			t.Errorf("%d requests", google.Requests)
		}
		if err == nil {
			if status != http.StatusOK {
				t.Errorf("status %d with %q is a delivery", status, body)
			}
			return
		}
		if e := failure(t, err); e.Class == dispatchers.Expired && (status != http.StatusNotFound || !strings.Contains(string(body), "UNREGISTERED") && !strings.Contains(string(body), `\u`)) {
			t.Errorf("status %d with %q takes the address away", status, body)
		}
	})
}

// FuzzToken reads what the token service answers. A token comes with a 200 alone,
// and is used for no longer than a day.
func FuzzToken(f *testing.F) {
	for _, seed := range []struct {
		status int
		body   string
	}{
		{200, `{"access_token":"` + canary + `","expires_in":3599,"token_type":"Bearer"}`},
		{200, `{"access_token":"x","expires_in":"1.5"}`},
		{200, `{"access_token":"x","expires_in":1e300}`},
		{200, `{"access_token":"x","expires_in":"-Inf"}`},
		{200, `{"access_token":"x","expires_in":"NaN"}`},
		{200, `{"access_token":"","expires_in":{}}`},
		{400, `{"error":"invalid_grant","error_description":"` + canary + `"}`},
		{401, `{"error":"` + canary + `"}`},
		{503, canary},
		{429, ``},
		{307, `<html>`},
	} {
		f.Add(seed.status, []byte(seed.body))
	}
	google := &dispatcherstest.Canned{}
	source := &tokenSource{service: service(google, oauthStatuses), newRequest: func(ctx context.Context, _ time.Time) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, dispatcherstest.Scheme+"://oauth/token", http.NoBody)
	}}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 999 {
			return
		}
		*google = dispatcherstest.Canned{Status: status, Body: body}
		now := time.Now()
		token, err := source.fetch(t.Context())
		if err != nil {
			e := failure(t, err)
			if !slices.Contains([]dispatchers.Class{dispatchers.Broken, dispatchers.Temporary}, e.Class) && status/100 != 4 && status < 600 || token != (accessToken{}) {
				t.Errorf("status %d: %v with token %v", status, e, token)
			}
			return
		}
		if status != http.StatusOK || token.value == "" {
			t.Errorf("status %d with %q gives a token", status, body)
		}
		if token.refresh.After(token.until) || token.until.Sub(now) > maxLifetime || token.until.Before(now.Add(-time.Second)) {
			t.Errorf("%q: good for %v, fetched anew after %v", body, token.until.Sub(now), token.refresh.Sub(now))
		}
	})
}
