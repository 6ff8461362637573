package fcm

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// The reasons of failed attempts, beside those of package httpclient.
const (
	reasonUnregistered     = "unregistered"
	reasonInvalidArgument  = "invalid_argument"
	reasonSenderIDMismatch = "sender_id_mismatch"
	reasonThirdPartyAuth   = "third_party_auth_error"
	reasonQuotaExceeded    = "quota_exceeded"
	reasonUnavailable      = "unavailable"
	reasonInternal         = "internal"
	reasonTooBig           = "too_big"
	reasonNoAddress        = "no_address"
	reasonBadAddress       = "bad_address"
	reasonEncoding         = "encoding"
	reasonTokenRejected    = "token_rejected"
	reasonUnauthenticated  = "unauthenticated"
	reasonPermissionDenied = "permission_denied"
	reasonNotFound         = "not_found"
	reasonUnexpectedAnswer = "unexpected_answer"
	reasonOAuthRefused     = "oauth_refused"
	reasonOAuthUnavailable = "oauth_unavailable"
)

// outcome is what an answer means.
type outcome struct {
	class  dispatchers.Class
	reason string
	advice string
}

// fcmError is a status together with the code in the FcmError detail.
type fcmError struct {
	status int
	code   string
}

// documented are the errors of the FCM reference (ErrorCode). A code counts
// only along with its status: a target is not given up because of half a sign.
var documented = map[fcmError]outcome{
	{404, "UNREGISTERED"}: {
		dispatchers.Expired, reasonUnregistered,
		"the app was removed from the phone, or has another registration token now",
	},
	{400, "INVALID_ARGUMENT"}: {
		dispatchers.Refused, reasonInvalidArgument,
		"the address is not an FCM registration token, or FCM does not take the message",
	},
	{403, "SENDER_ID_MISMATCH"}: {
		dispatchers.Refused, reasonSenderIDMismatch,
		"the registration token belongs to an app of another Firebase project",
	},
	{401, "THIRD_PARTY_AUTH_ERROR"}: {
		dispatchers.Refused, reasonThirdPartyAuth,
		"check the APNs key in the Firebase console",
	},
	{429, "QUOTA_EXCEEDED"}: {dispatchers.Temporary, reasonQuotaExceeded, "too many messages"},
	{503, "UNAVAILABLE"}:    {dispatchers.Temporary, reasonUnavailable, "FCM is overloaded"},
	{500, "INTERNAL"}:       {dispatchers.Temporary, reasonInternal, "FCM failed"},
}

// bare are answers without such a detail: of Google's front, of a proxy, of
// whatever stands at a wrong endpoint.
var bare = map[int]outcome{
	http.StatusBadRequest: {dispatchers.Refused, reasonInvalidArgument, "FCM does not take the message"},
	http.StatusForbidden: {
		dispatchers.Broken, reasonPermissionDenied,
		"enable the FCM API in the project and give the service account the right cloudmessaging.messages.create",
	},
	http.StatusNotFound:              {dispatchers.Broken, reasonNotFound, "check project and endpoint"},
	http.StatusRequestTimeout:        {dispatchers.Temporary, httpclient.ReasonTimeout, "the request did not get through in time"},
	http.StatusRequestEntityTooLarge: {dispatchers.Refused, reasonTooBig, "the message is too big"},
	http.StatusTooManyRequests:       {dispatchers.Temporary, reasonQuotaExceeded, "too many messages"},
	http.StatusInternalServerError:   {dispatchers.Temporary, reasonInternal, "FCM failed"},
}

// refusal says what an answer other than 200 means; fresh is whether the
// access token was fetched for this attempt.
func (f *Dispatcher) refusal(answer *http.Response, content []byte, fresh bool) *dispatchers.Error {
	status := answer.StatusCode
	if status == http.StatusProxyAuthRequired {
		return httpclient.Classify(sending, &httpclient.ProxyError{Status: status})
	}
	code := errorCode(content)
	o, ok := documented[fcmError{status, code}]
	if !ok {
		o, code = bareOutcome(status, fresh), "no error code known"
	}
	e := dispatchers.Fail(o.class, o.reason, "FCM answered %d (%s): %s", status, code, o.advice)
	e.KeepTarget = o.class == dispatchers.Expired && f.KeepUnregistered
	if o.class == dispatchers.Temporary {
		e.RetryAfter = httpclient.RetryAfter(answer.Header, time.Now())
	}
	return e
}

func bareOutcome(status int, fresh bool) outcome {
	if o, ok := bare[status]; ok {
		return o
	}
	switch {
	case status == http.StatusUnauthorized && fresh:
		return outcome{
			dispatchers.Broken, reasonUnauthenticated,
			"a new access token was not accepted; check the service account, its project and endpoint",
		}
	case status == http.StatusUnauthorized:
		return outcome{
			dispatchers.Temporary, reasonTokenRejected,
			"the access token was no longer accepted; the next attempt fetches another",
		}
	case status > http.StatusInternalServerError:
		return outcome{dispatchers.Temporary, reasonUnavailable, "FCM or something on the way to it is not available"}
	}
	return outcome{dispatchers.Broken, reasonUnexpectedAnswer, "this is not an answer of FCM; check endpoint and proxy"}
}

// errorCode returns the code in the FcmError detail of an error answer.
func errorCode(content []byte) string {
	var answer struct {
		Error struct {
			Details []struct {
				Type      string `json:"@type"`
				ErrorCode string `json:"errorCode"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(content, &answer) != nil {
		return ""
	}
	for _, d := range answer.Error.Details {
		if d.Type == "type.googleapis.com/google.firebase.fcm.v1.FcmError" {
			return d.ErrorCode
		}
	}
	return ""
}

func notFCM(status int) error {
	return dispatchers.Fail(dispatchers.Broken, reasonUnexpectedAnswer,
		"FCM answered %d, but not in its form; check endpoint and proxy", status)
}

// validProject reports whether a project id can stand in a path: letters,
// digits, hyphens, and the dots and colon of ids with a domain.
func validProject(id string) bool {
	for _, r := range id {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == ':':
		default:
			return false
		}
	}
	return id != "" && id != "." && id != ".."
}
