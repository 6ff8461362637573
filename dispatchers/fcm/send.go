package fcm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

// The reasons of failed attempts that only FCM has.
const (
	reasonUnregistered     = "unregistered"
	reasonInvalidArgument  = "invalid_argument"
	reasonSenderIDMismatch = "sender_id_mismatch"
	reasonThirdPartyAuth   = "third_party_auth_error"
	reasonQuotaExceeded    = "quota_exceeded"
	reasonInternal         = "internal"
	reasonTokenRejected    = "token_rejected"
	reasonUnauthenticated  = "unauthenticated"
	reasonPermissionDenied = "permission_denied"
	reasonUnexpectedAnswer = "unexpected_answer"
	reasonOAuthRefused     = "oauth_refused"
	reasonOAuthUnavailable = "oauth_unavailable"
)

// fcmError is a status together with the code in the FcmError detail.
type fcmError struct {
	status int
	code   string
}

// documented are the errors of the FCM reference (ErrorCode). A code counts
// only along with its status: a target is not given up because of half a sign.
var documented = map[fcmError]httpsend.Meaning{
	{404, "UNREGISTERED"}: httpsend.Expired(reasonUnregistered,
		"the app was removed from the phone, or has another registration token now"),
	{400, "INVALID_ARGUMENT"}: httpsend.Refused(reasonInvalidArgument,
		"the address is not an FCM registration token, or FCM does not take the message"),
	{403, "SENDER_ID_MISMATCH"}: httpsend.Refused(reasonSenderIDMismatch,
		"the registration token belongs to an app of another Firebase project"),
	{401, "THIRD_PARTY_AUTH_ERROR"}: httpsend.Broken(reasonThirdPartyAuth, "check the APNs key in the Firebase console"),
	{429, "QUOTA_EXCEEDED"}:         httpsend.Temporary(reasonQuotaExceeded, "too many messages"),
	{503, "UNAVAILABLE"}:            httpsend.Temporary(dispatchers.ReasonUnavailable, "FCM is overloaded"),
	{500, "INTERNAL"}:               httpsend.Temporary(reasonInternal, "FCM failed"),
}

// bare are answers without such a detail: of Google's front, of a proxy, of
// whatever is at a wrong endpoint.
var bare = httpsend.Table{
	http.StatusBadRequest: httpsend.Refused(reasonInvalidArgument, "FCM does not take the message"),
	http.StatusUnauthorized: httpsend.Temporary(reasonTokenRejected,
		"the access token was no longer accepted; the next attempt fetches another"),
	http.StatusForbidden: httpsend.Broken(reasonPermissionDenied,
		"enable the FCM API in the project and give the service account the right cloudmessaging.messages.create"),
	http.StatusNotFound:            httpsend.Broken(dispatchers.ReasonNotFound, "check project and endpoint"),
	http.StatusTooManyRequests:     httpsend.Temporary(reasonQuotaExceeded, "too many messages"),
	http.StatusInternalServerError: httpsend.Temporary(reasonInternal, "FCM failed"),

	5: httpsend.Temporary(dispatchers.ReasonUnavailable, "FCM or something on the way to it is not available"),
	4: notFCM,
	3: notFCM,
	2: notFCM,
}

var (
	notFCM         = httpsend.Broken(reasonUnexpectedAnswer, "this is not an answer of FCM; check endpoint and proxy")
	newTokenFailed = httpsend.Broken(reasonUnauthenticated,
		"a new access token was not accepted; check the service account, its project and endpoint")
)

// send makes one request, after one for an access token if there is none that
// is good.
func (f *FCM) send(ctx context.Context, body []byte) error {
	token, fresh, err := f.tokens.get(ctx, f.source())
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.sendURL, bytes.NewReader(body))
	if err != nil {
		return dispatchers.Fail(dispatchers.Broken, dispatchers.ReasonEncoding, "making the request to FCM: check endpoint and project")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GOOG-API-FORMAT-VERSION", "2") // errors with an FcmError detail

	answer, err := f.service.Do(ctx, r)
	switch {
	case errors.Is(err, httpsend.ErrBodyTooBig):
		return f.service.Failed(answer, notFCM)
	case err != nil:
		return err
	case answer.Status == http.StatusOK:
		return f.checkReceipt(answer)
	}
	e := f.refusal(answer, fresh)
	if e.Reason == reasonTokenRejected || e.Reason == reasonUnauthenticated {
		f.tokens.drop(token)
	}
	return e
}

// quotaPause is how long to wait after a 429 that does not say: Google asks for
// a minute (FCM documentation, "Scale: handling retries").
const quotaPause = time.Minute

// refusal says what an answer other than 200 means; fresh is whether the
// access token was fetched for this attempt.
func (f *FCM) refusal(answer httpsend.Answer, fresh bool) *dispatchers.Error {
	code, wait := errorDetails(answer.Body)
	meaning, ok := documented[fcmError{answer.Status, code}]
	var e *dispatchers.Error
	switch {
	case ok:
		e = f.service.Failed(answer, meaning)
	case answer.Status == http.StatusUnauthorized && fresh:
		e = f.service.Failed(answer, newTokenFailed)
	default:
		e = f.service.Unsuccessful(answer)
	}
	e.KeepTarget = e.Class == dispatchers.Expired && f.KeepUnregistered
	if e.Class == dispatchers.Temporary {
		e.RetryAfter = max(e.RetryAfter, min(wait, httpclient.MaxRetryAfter))
		if answer.Status == http.StatusTooManyRequests && e.RetryAfter == 0 {
			e.RetryAfter = quotaPause
		}
	}
	return e
}

// errorDetails returns the code in the FcmError detail of an error answer, and
// how long its RetryInfo detail asks to wait.
func errorDetails(content []byte) (code string, wait time.Duration) {
	var answer struct {
		Error struct {
			Details []struct {
				Type       string `json:"@type"`
				ErrorCode  string `json:"errorCode"`
				RetryDelay string `json:"retryDelay"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(content, &answer) != nil {
		return "", 0
	}
	for _, d := range answer.Error.Details {
		switch d.Type {
		case "type.googleapis.com/google.firebase.fcm.v1.FcmError":
			code = cmp.Or(code, d.ErrorCode)
		case "type.googleapis.com/google.rpc.RetryInfo":
			wait, _ = time.ParseDuration(d.RetryDelay) // 0 if it is not a duration
		}
	}
	return code, wait
}

// checkReceipt tells FCM's answer from that of something else on the way.
func (f *FCM) checkReceipt(answer httpsend.Answer) error {
	var receipt struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(answer.Body, &receipt) != nil || !strings.HasPrefix(receipt.Name, "projects/") {
		return f.service.Failed(answer, notFCM)
	}
	return nil
}
