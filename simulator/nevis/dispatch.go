package nevis

import (
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// hints are the values of op that belong to the operations.
var hints = map[nevisfido.Operation]string{
	nevisfido.Registration:   "Reg",
	nevisfido.Authentication: "Auth",
	nevisfido.Deregistration: "Dereg",
}

// getUAFRequest has the members of GetUAFRequest (FIDO UAF application API,
// section 3.2).
type getUAFRequest struct {
	Op      string `json:"op"`
	Context string `json:"context"`

	username string // from the context
}

// read takes the context apart. op has to fit the operation of the path.
func (q *getUAFRequest) read(op nevisfido.Operation) error {
	if q.Op != hints[op] {
		return errors.New("op does not fit the path")
	}
	if q.Context == "" {
		return nil
	}
	var context struct {
		Username string `json:"username"`
	}
	err := decode([]byte(q.Context), &context)
	q.username = context.Username
	return err
}

// dispatchRequest is the body of a dispatch.
type dispatchRequest struct {
	Dispatcher string         `json:"dispatcher"`
	TargetID   string         `json:"dispatchTargetId"`
	UAF        getUAFRequest  `json:"getUafRequest"`
	RawInfo    jsontext.Value `json:"dispatchInformation"`

	operation nevisfido.Operation
	info      information
	data      members // to be merged into the message
}

// information is dispatchInformation.
type information struct {
	Notification jsontext.Value `json:"notification"`
	Data         jsontext.Value `json:"data"`
}

func parseDispatchRequest(op nevisfido.Operation, body []byte) (*dispatchRequest, error) {
	q := &dispatchRequest{operation: op}
	if err := decode(body, q); err != nil {
		return nil, err
	}
	if err := q.UAF.read(op); err != nil {
		return nil, err
	}
	// The generated schema types dispatchInformation as a string; every sample
	// shows an object.
	if text := unwrap(q.RawInfo); text != nil {
		if err := decode(text, &q.info); err != nil {
			return nil, err
		}
	}
	if text := unwrap(q.info.Data); text != nil {
		err := decode(text, &q.data)
		if err != nil && q.info.Data.Kind() != jsontext.KindString {
			return nil, err
		}
		if err != nil { // plain text: where nevisFIDO puts it is not documented
			q.data = members{"data": q.info.Data}
		}
	}
	return q, nil
}

type dispatcherInformation struct {
	Name     string `json:"name"`
	Response string `json:"response"`
}

type dispatchAnswer struct {
	Token                 string                   `json:"token,omitzero"`
	SessionID             string                   `json:"sessionId,omitzero"`
	DispatcherInformation *dispatcherInformation   `json:"dispatcherInformation,omitzero"`
	DispatchResult        nevisfido.DispatchResult `json:"dispatchResult"`
}

// dispatch is the dispatch-token service. On failure nothing but the result is
// told.
func (s *Server) dispatch(r *http.Request, body []byte) (status int, answer any) {
	q, err := parseDispatchRequest(nevisfido.Operation(r.PathValue("operation")), body)
	if err != nil {
		return http.StatusBadRequest, nil
	}
	target, result := s.resolve(q)
	if result != nevisfido.Dispatched {
		return http.StatusOK, dispatchAnswer{DispatchResult: result}
	}
	n := s.newSession(q.operation, q.UAF, true)
	response, err := s.deliver(q, n.token, target)
	if err != nil {
		return http.StatusOK, dispatchAnswer{DispatchResult: nevisfido.DispatchError}
	}
	info := &dispatcherInformation{Name: q.Dispatcher, Response: response}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.dispatcher = info
	return http.StatusOK, dispatchAnswer{n.token, n.id, info, nevisfido.Dispatched}
}

// resolve finds the dispatcher and a copy of the target of a request; the
// target's default dispatcher is taken where the request names none. A target
// of another user counts as not found.
func (s *Server) resolve(q *dispatchRequest) (Target, nevisfido.DispatchResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := q.UAF.username
	if user != "" && !slices.Contains(s.options.Users, user) {
		return Target{}, nevisfido.UserNotFound
	}
	var target Target
	if q.TargetID != "" {
		found, ok := s.targets[q.TargetID]
		if !ok || user != "" && found.Username != user {
			return Target{}, nevisfido.DispatchTargetNotFound
		}
		target = *found
	}
	if q.Dispatcher == "" {
		q.Dispatcher = target.Dispatcher
	}
	switch {
	case !s.hasDispatcher(q.Dispatcher):
		return Target{}, nevisfido.DispatcherNotFound
	case q.Dispatcher == nevisfido.BuiltInFCM && q.TargetID == "":
		return Target{}, nevisfido.DispatchTargetNotFound
	}
	return target, nevisfido.Dispatched
}

// hasDispatcher reports whether a dispatcher is configured: all that are built
// in. s.mu must be held.
func (s *Server) hasDispatcher(name string) bool {
	switch name {
	case nevisfido.BuiltInFCM, nevisfido.BuiltInLink, nevisfido.BuiltInQRCode:
		return true
	case nevisfido.BuiltInLinkQR:
		return s.mode != LTS21
	}
	return false
}
