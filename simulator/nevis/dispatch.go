package nevis

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// hints are the values of op that belong to the operations.
var hints = map[nevisfido.Operation]string{
	nevisfido.Registration:   "Reg",
	nevisfido.Authentication: "Auth",
	nevisfido.Deregistration: "Dereg",
}

// dispatchRequest is what a dispatch asks for.
type dispatchRequest struct {
	operation            nevisfido.Operation
	dispatcher, targetID string
	username, context    string
	notification         json.RawMessage
	data                 members // to be merged into the message
	encoding             members // encodingParameters
}

func parseDispatchRequest(op nevisfido.Operation, body []byte) (*dispatchRequest, error) {
	m, err := parse(body)
	if err != nil {
		return nil, err
	}
	q := &dispatchRequest{operation: op}
	if err := m.texts(map[string]*string{"dispatcher": &q.dispatcher, "dispatchTargetId": &q.targetID}); err != nil {
		return nil, err
	}
	if q.username, q.context, err = parseUAFRequest(op, m["getUafRequest"]); err != nil {
		return nil, err
	}
	return q, q.parseInformation(m)
}

// parseUAFRequest reads a GetUAFRequest (FIDO UAF application API, section
// 3.2), whose op has to fit the path.
func parseUAFRequest(op nevisfido.Operation, raw []byte) (username, context string, err error) {
	m, err := parse(raw)
	if err != nil {
		return "", "", err
	}
	hint, err := m.text("op")
	if err != nil {
		return "", "", err
	}
	if hint != hints[op] {
		return "", "", errors.New("op does not fit the path")
	}
	if context, err = m.text("context"); err != nil || context == "" {
		return "", "", err
	}
	inner, err := parse([]byte(context))
	if err != nil {
		return "", "", err
	}
	username, err = inner.text("username")
	return username, context, err
}

// parseInformation reads dispatchInformation, which the generated schema types
// as a string and every sample shows as an object.
func (q *dispatchRequest) parseInformation(m members) error {
	info, err := m.object("dispatchInformation")
	if err != nil {
		return err
	}
	q.notification = info["notification"]
	if q.encoding, err = info.object("encodingParameters"); err != nil {
		return err
	}
	if q.data, err = info.object("data"); err == nil {
		return nil
	}
	// Plain text: where nevisFIDO puts it is not documented.
	if _, err := info.text("data"); err != nil {
		return err
	}
	q.data = members{"data": info["data"]}
	return nil
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

// dispatch is the dispatch-token service.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, body []byte) {
	op := nevisfido.Operation(r.PathValue("operation"))
	if !op.Valid() {
		refuse(w, http.StatusNotFound)
		return
	}
	q, err := parseDispatchRequest(op, body)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	answer(w, http.StatusOK, mediaJSON, s.perform(q))
}

// perform creates a token and dispatches it. On failure nothing but the result
// is told.
func (s *Server) perform(q *dispatchRequest) dispatchAnswer {
	target, result := s.resolve(q)
	if result != nevisfido.Dispatched {
		return dispatchAnswer{DispatchResult: result}
	}
	n := s.newSession(q, true)
	response, err := s.deliver(q, n.token, target)
	if err != nil {
		return dispatchAnswer{DispatchResult: nevisfido.DispatchError}
	}
	info := &dispatcherInformation{Name: q.dispatcher, Response: response}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.dispatcher = info
	return dispatchAnswer{n.token, n.id, info, nevisfido.Dispatched}
}

// resolve finds the dispatcher and a copy of the target of a request; the
// target's default dispatcher is taken where the request names none. A target
// of another user counts as not found.
func (s *Server) resolve(q *dispatchRequest) (Target, nevisfido.DispatchResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.username != "" && !slices.Contains(s.options.Users, q.username) {
		return Target{}, nevisfido.UserNotFound
	}
	var target Target
	if q.targetID != "" {
		found, ok := s.targets[q.targetID]
		if !ok || q.username != "" && found.Username != q.username {
			return Target{}, nevisfido.DispatchTargetNotFound
		}
		target = *found
	}
	if q.dispatcher == "" {
		q.dispatcher = target.Dispatcher
	}
	switch {
	case !slices.Contains(s.options.Dispatchers, q.dispatcher):
		return Target{}, nevisfido.DispatcherNotFound
	case q.dispatcher == nevisfido.BuiltInFCM && q.targetID == "":
		return Target{}, nevisfido.DispatchTargetNotFound
	case target.Expired:
		return Target{}, nevisfido.DispatchTargetExpired
	}
	return target, nevisfido.Dispatched
}
