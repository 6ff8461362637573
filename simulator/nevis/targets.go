package nevis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	Expired       bool // set by Expire
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

// Expire lets every dispatch to a target end in dispatchTargetExpired, as if
// the push service no longer knew the app, until the target gets a new address.
func (s *Server) Expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.targets[id]; ok {
		found.Expired = true
	}
}

// targetChange is what a request says of a target; nil members were not given.
type targetChange struct {
	Name, Address, Dispatcher   *string
	EncryptionKey, SignatureKey []byte
}

func parseChange(m members) (targetChange, error) {
	var c targetChange
	for name, to := range map[string]**string{"name": &c.Name, "target": &c.Address, "dispatcher": &c.Dispatcher} {
		if !m.has(name) {
			continue
		}
		value, err := m.text(name)
		if err != nil {
			return c, err
		}
		*to = &value
	}
	var err error
	if c.EncryptionKey, err = parseJWK(m, "encryptionKey"); err != nil {
		return c, err
	}
	c.SignatureKey, err = parseJWK(m, "signatureKey")
	return c, err
}

// parseJWK returns a key as JWK text. Whether nevisFIDO looks at more than the
// form is not documented: hostile keys are stored like any other.
func parseJWK(m members, name string) ([]byte, error) {
	jwk, err := m.object(name)
	if err != nil || jwk == nil {
		return nil, err
	}
	if kty, err := jwk.text("kty"); err != nil || kty == "" {
		return nil, fmt.Errorf("%s is no JWK", name)
	}
	if text, err := m.text(name); err == nil {
		return []byte(text), nil
	}
	return bytes.Clone(m[name]), nil
}

// apply changes a target, unless its name is taken or the dispatcher is not
// configured. s.mu must be held.
func (s *Server) apply(c targetChange, t *Target) error {
	if c.Dispatcher != nil && !slices.Contains(s.options.Dispatchers, *c.Dispatcher) {
		return errors.New("the dispatcher is not configured")
	}
	taken := func(other *Target) bool {
		return other.ID != t.ID && other.Name == *c.Name
	}
	if c.Name != nil && slices.ContainsFunc(s.owned[t.Username], taken) {
		return errors.New("the user has a target of that name")
	}
	if c.Address != nil {
		t.Expired = false
	}
	for to, value := range map[*string]*string{&t.Name: c.Name, &t.Address: c.Address, &t.Dispatcher: c.Dispatcher} {
		if value != nil {
			*to = *value
		}
	}
	for to, value := range map[*[]byte][]byte{&t.EncryptionKey: c.EncryptionKey, &t.SignatureKey: c.SignatureKey} {
		if value != nil {
			*to = value
		}
	}
	return nil
}

// addTarget creates a target from a request or a registration's context. It
// returns an HTTP status other than 201 where that is refused.
func (s *Server) addTarget(username string, m members) (id, extID string, status int) {
	c, err := parseChange(m)
	if err != nil || c.Name == nil || *c.Name == "" {
		return "", "", http.StatusBadRequest
	}
	t := &Target{Username: username, ID: newID(), ExtID: newID()}
	if t.DeviceID, err = m.text("deviceId"); err != nil {
		return "", "", http.StatusBadRequest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.options.Users, username) {
		return "", "", http.StatusForbidden
	}
	if s.apply(c, t) != nil {
		return "", "", http.StatusUnprocessableEntity
	}
	s.targets[t.ID] = t
	s.owned[username] = append(s.owned[username], t)
	return t.ID, t.ExtID, http.StatusCreated
}

func (s *Server) createTarget(w http.ResponseWriter, _ *http.Request, body []byte) {
	m, err := parse(body)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	username, err := m.text("username")
	if err != nil || username == "" {
		refuse(w, http.StatusBadRequest)
		return
	}
	id, extID, status := s.addTarget(username, m)
	if status != http.StatusCreated {
		refuse(w, status)
		return
	}
	answer(w, status, mediaJSON, struct {
		ID    string `json:"id"`
		ExtID string `json:"extId"`
	}{id, extID})
}

func (s *Server) queryTargets(w http.ResponseWriter, r *http.Request, _ []byte) {
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
		refuse(w, http.StatusBadRequest)
	case !slices.Contains(s.options.Users, username):
		refuse(w, http.StatusForbidden)
	case list == nil:
		refuse(w, http.StatusNotFound)
	default:
		answer(w, http.StatusOK, mediaJSON, map[string][]entry{"dispatchTargets": list})
	}
}

func (s *Server) deleteTarget(w http.ResponseWriter, r *http.Request, _ []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.targets[r.PathValue("id")]
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	s.remove(t)
	w.WriteHeader(http.StatusNoContent)
}

// remove deletes a target. s.mu must be held.
func (s *Server) remove(t *Target) {
	delete(s.targets, t.ID)
	s.owned[t.Username] = slices.DeleteFunc(s.owned[t.Username], func(other *Target) bool { return other == t })
}

// sessionTarget creates the target that a registration response brings in its
// context, if it does.
func (s *Server) sessionTarget(username string, raw json.RawMessage) (id string, err error) {
	context, err := members{"context": raw}.object("context")
	if err != nil || !context.has("dispatchTarget") {
		return "", err
	}
	target, err := context.object("dispatchTarget")
	if err != nil {
		return "", err
	}
	id, _, status := s.addTarget(username, target)
	if status != http.StatusCreated {
		return "", errors.New("the dispatch target is refused")
	}
	return id, nil
}
