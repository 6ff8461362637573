package google

import (
	"fmt"
	"net/http"
	"strings"
)

// serveSend is the FCM HTTP v1 method projects.messages.send.
func (s *Server) serveSend(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.PathValue("method") != "messages:send":
		http.NotFound(w, r)
		return
	case !s.authentic(r):
		unauthenticated(w)
		return
	case r.PathValue("project") != s.project:
		fcmError(w, http.StatusForbidden, "PERMISSION_DENIED", "", "Permission denied on resource project.")
		return
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		invalid(w, "Invalid content type.")
		return
	}
	message, validateOnly, err := parseRequest(body(r))
	if err != nil {
		invalid(w, err.Error())
		return
	}
	token, _ := message["token"].(string)
	if token == "" {
		invalid(w, "Recipient of the message is not set.") // this double knows no topics
		return
	}
	known, gone := s.registered(token)
	if fault := s.nextFault(token); fault != nil || known && !gone {
		c := &Call{w: w, r: r, quit: s.server.Quit(), secret: token, answer: func() []byte {
			return s.accept(token, message, validateOnly)
		}}
		c.run(fault)
		return
	}
	if gone {
		Unregistered(&Call{w: w, secret: token})
		return
	}
	invalid(w, "The registration token is not a valid FCM registration token")
}

// accept delivers a message, unless it was only to be checked.
func (s *Server) accept(token string, message map[string]any, validateOnly bool) []byte {
	name := "projects/" + s.project + "/messages/"
	if validateOnly {
		return encode(map[string]string{"name": name + "fake_message_id"})
	}
	name += "0:" + strings.ToLower(random())
	s.deliver(token, newMessage(name, message))
	return encode(map[string]string{"name": name})
}

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
	type detail struct {
		Type      string `json:"@type"`
		ErrorCode string `json:"errorCode"`
	}
	type content struct {
		Code    int      `json:"code"`
		Message string   `json:"message"`
		Status  string   `json:"status"`
		Details []detail `json:"details,omitempty"`
	}
	c := content{Code: status, Message: message, Status: canonical}
	if code != "" {
		c.Details = []detail{{"type.googleapis.com/google.firebase.fcm.v1.FcmError", code}}
	}
	reply(w, status, encode(map[string]content{"error": c}))
}

// refusal is an error in Google's words, which follow no Go convention.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }
