package fcm

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

// refusal says what an answer other than 200 means; fresh is whether the
// access token was fetched for this attempt.
func (f *FCM) refusal(answer httpsend.Answer, fresh bool) *dispatchers.Error {
	code, wait := errorDetails(answer.Body)
	e := f.service.Failed(answer)
	if meaning, ok := documented[strconv.Itoa(answer.Status)+" "+code]; ok {
		e = f.service.FailedAs(answer, meaning)
	} else if answer.Status == http.StatusUnauthorized && fresh {
		e = f.service.FailedAs(answer, newTokenFailed)
	}
	e.KeepTarget = e.Class == dispatchers.Expired && f.KeepUnregistered
	if e.Class == dispatchers.Temporary {
		e.RetryAfter = max(e.RetryAfter, min(wait, httpsend.MaxRetryAfter))
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

// documented are the errors of the FCM reference (ErrorCode) that mean something
// else than their status alone: the code in the FcmError detail counts only
// along with the status. A target is not given up because of half a sign.
var documented = map[string]httpsend.Meaning{
	"404 UNREGISTERED": httpsend.Expired(reasonUnregistered,
		"the app was removed from the phone, or has another registration token now"),
	"403 SENDER_ID_MISMATCH": httpsend.Refused(reasonSenderIDMismatch,
		"the registration token belongs to an app of another Firebase project"),
	"401 THIRD_PARTY_AUTH_ERROR": httpsend.Broken(reasonThirdPartyAuth, "check the APNs key in the Firebase console"),
}

// statuses are all other answers: of FCM, of Google's front, of a proxy, of whatever
// is at a wrong endpoint.
var statuses = httpsend.Table{
	http.StatusBadRequest: httpsend.Refused(reasonInvalidArgument,
		"the address is not an FCM registration token, or FCM does not take the message"),
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
