package google

import (
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// Script sets the faults of the next sends that are in order, one each. The
// errors of this package quote the request, as a third party's may, so that a
// test can see where a registration token (or an assertion) ends up.
func (s *Server) Script(faults ...fault.Fault) { s.script.Add(atSend, faults...) }

// Always sets the fault of every send that is in order and for which neither
// Script nor ScriptFor left one; [fault.None] ends that.
func (s *Server) Always(f fault.Fault) { s.script.Always(atSend, f) }

// ScriptFor sets the faults of the next sends to a registration token. They
// come before those of Script.
func (s *Server) ScriptFor(token string, faults ...fault.Fault) { s.script.Add(token, faults...) }

// ScriptOAuth sets the faults of the next requests for an access token that
// are in order.
func (s *Server) ScriptOAuth(faults ...fault.Fault) { s.script.Add(atToken, faults...) }

// The documented errors of FCM (reference: ErrorCode).
var (
	Unregistered        = fcmFault(http.StatusNotFound, "NOT_FOUND", "UNREGISTERED", "")
	InvalidArgument     = fcmFault(http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "")
	SenderIDMismatch    = fcmFault(http.StatusForbidden, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "")
	ThirdPartyAuthError = fcmFault(http.StatusUnauthorized, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "")
	Internal            = fcmFault(http.StatusInternalServerError, "INTERNAL", "INTERNAL", "")
)

// QuotaExceeded is FCM's 429; retryAfter is the value of that header, "" for none.
func QuotaExceeded(retryAfter string) fault.Fault {
	return fcmFault(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retryAfter)
}

// Unavailable is FCM's 503; retryAfter is the value of that header, "" for none.
func Unavailable(retryAfter string) fault.Fault {
	return fcmFault(http.StatusServiceUnavailable, "UNAVAILABLE", "UNAVAILABLE", retryAfter)
}

// Errors of Google's front that carry no FcmError detail.
var (
	// ExpiredToken is what a request with an expired access token gets.
	ExpiredToken fault.Fault = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { unauthenticated(w) }
	// NotFound is what a wrong path or project gets.
	NotFound = fcmFault(http.StatusNotFound, "NOT_FOUND", "", "")
	// PermissionDenied is what a service account without the right gets.
	PermissionDenied = fcmFault(http.StatusForbidden, "PERMISSION_DENIED", "", "")
)

func fcmFault(status int, canonical, code, retryAfter string) fault.Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		fcmError(w, status, canonical, code, quote(r))
	}
}

// OAuthError is an answer of the token endpoint such as invalid_grant.
func OAuthError(code string) fault.Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) { oauthError(w, code, quote(r)) }
}

func quote(r *http.Request) string { return "simulated error for " + string(double.Body(r)) }

func unauthenticated(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
	fcmError(w, http.StatusUnauthorized, "UNAUTHENTICATED", "",
		"Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
}

func invalid(w http.ResponseWriter, message string) {
	fcmError(w, http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_ARGUMENT", message)
}

// fcmError answers with an error in Google's form (google.rpc.Status as JSON);
// without a code there is no FcmError detail.
func fcmError(w http.ResponseWriter, status int, canonical, code, message string) {
	content := map[string]any{"code": status, "message": message, "status": canonical}
	if code != "" {
		content["details"] = []any{map[string]string{
			"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code,
		}}
	}
	reply(w, status, map[string]any{"error": content})
}

func oauthError(w http.ResponseWriter, code, description string) {
	reply(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}
