package google

import (
	"net/http"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// serveSend is the FCM HTTP v1 method projects.messages.send.
func (s *Server) serveSend(w http.ResponseWriter, r *http.Request) {
	switch {
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
	m, validateOnly, err := parse(double.Body(r))
	if err != nil {
		invalid(w, err.Error())
		return
	}
	fault.Handler(&s.script, s.accept(m, validateOnly), m.Token, atSend).ServeHTTP(w, r)
}

// accept delivers a message, unless it was only to be checked.
func (s *Server) accept(m Message, validateOnly bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		phone, gone := s.phone(m.Token)
		switch {
		case gone:
			Unregistered(w, r, nil)
			return
		case phone == nil:
			invalid(w, "The registration token is not a valid FCM registration token")
			return
		}
		m.Name = "projects/" + s.project + "/messages/fake_message_id"
		if !validateOnly {
			m.Name = "projects/" + s.project + "/messages/0:" + strings.ToLower(random())
			phone.inbox.Put(m)
		}
		reply(w, http.StatusOK, map[string]string{"name": m.Name})
	})
}
