package nevis

import (
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Target is a dispatch target. Keys are JWK text, nil where the target has none.
type Target struct {
	ID, ExtID     string
	Username      string
	DeviceID      string
	Name          string
	Address       string // the member "target"
	Dispatcher    string // the default dispatcher
	EncryptionKey []byte
	SignatureKey  []byte
}

// Target returns the dispatch target with an id.
func (s *Server) Target(id string) (t Target, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.targets[id]
	if !ok {
		return Target{}, false
	}
	return *found, true
}

// description is what a request says of a target: to create one, in a
// registration's context, or signed to change one. Members that are nil were
// not given.
type description struct {
	Username      string         `json:"username"`
	DeviceID      string         `json:"deviceId"`
	Name          *string        `json:"name"`
	Address       *string        `json:"target"`
	Dispatcher    *string        `json:"dispatcher"`
	EncryptionKey jsontext.Value `json:"encryptionKey"`
	SignatureKey  jsontext.Value `json:"signatureKey"`

	// Of a change.
	RequestID string `json:"requestId"`
	CreatedAt *int64 `json:"creationTimeInEpochMillis"`
	TargetID  string `json:"dispatchTargetId"`

	encryptionKey, signatureKey []byte
}

func parseDescription(text []byte) (d description, err error) {
	if err = decode(text, &d); err != nil {
		return d, err
	}
	if d.encryptionKey, err = parseJWK(d.EncryptionKey); err != nil {
		return d, err
	}
	d.signatureKey, err = parseJWK(d.SignatureKey)
	return d, err
}

// apply changes a target, unless its name is taken or the dispatcher is not
// configured. s.mu must be held.
func (s *Server) apply(d description, t *Target) error {
	if d.Dispatcher != nil && !s.hasDispatcher(*d.Dispatcher) {
		return errors.New("the dispatcher is not configured")
	}
	taken := func(other *Target) bool { return other.ID != t.ID && other.Name == *d.Name }
	if d.Name != nil && slices.ContainsFunc(s.owned[t.Username], taken) {
		return errors.New("the user has a target of that name")
	}
	for to, value := range map[*string]*string{&t.Name: d.Name, &t.Address: d.Address, &t.Dispatcher: d.Dispatcher} {
		if value != nil {
			*to = *value
		}
	}
	for to, value := range map[*[]byte][]byte{&t.EncryptionKey: d.encryptionKey, &t.SignatureKey: d.signatureKey} {
		if value != nil {
			*to = value
		}
	}
	return nil
}

// addTarget creates a target from a description, for a user or else for the
// one that it names. The HTTP status is another than 201 where that is refused.
func (s *Server) addTarget(username string, text []byte) (t *Target, status int) {
	d, err := parseDescription(text)
	if username == "" {
		username = d.Username
	}
	if err != nil || username == "" || d.Name == nil || *d.Name == "" {
		return nil, http.StatusBadRequest
	}
	t = &Target{Username: username, ID: newID(), ExtID: newID(), DeviceID: d.DeviceID}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.options.Users, username) {
		return nil, http.StatusForbidden
	}
	if s.apply(d, t) != nil {
		return nil, http.StatusUnprocessableEntity
	}
	s.targets[t.ID] = t
	s.owned[username] = append(s.owned[username], t)
	return t, http.StatusCreated
}

func (s *Server) createTarget(_ *http.Request, body []byte) (status int, answer any) {
	t, status := s.addTarget("", body)
	if status != http.StatusCreated {
		return status, nil
	}
	return status, map[string]string{"id": t.ID, "extId": t.ExtID}
}

func (s *Server) queryTargets(r *http.Request, _ []byte) (status int, answer any) {
	type entry struct {
		Name       string `json:"name"`
		ID         string `json:"id"`
		Dispatcher string `json:"dispatcher,omitzero"`
	}
	username := r.URL.Query().Get("username")
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []entry
	for _, t := range s.owned[username] {
		list = append(list, entry{t.Name, t.ID, t.Dispatcher})
	}
	switch {
	case username == "":
		return http.StatusBadRequest, nil
	case !slices.Contains(s.options.Users, username):
		return http.StatusForbidden, nil
	case list == nil:
		return http.StatusNotFound, nil
	}
	return http.StatusOK, map[string][]entry{"dispatchTargets": list}
}

func (s *Server) deleteTarget(r *http.Request, _ []byte) (status int, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.targets[r.PathValue("id")]
	if !ok {
		return http.StatusNotFound, nil
	}
	s.remove(t)
	return http.StatusNoContent, nil
}

// remove deletes a target. s.mu must be held.
func (s *Server) remove(t *Target) {
	delete(s.targets, t.ID)
	s.owned[t.Username] = slices.DeleteFunc(s.owned[t.Username], func(other *Target) bool { return other == t })
}
