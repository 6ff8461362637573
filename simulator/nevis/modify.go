package nevis

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// maxRequestID bounds requestId, in characters (nevisFIDO reference guide,
// device service).
const maxRequestID = 64

// modifyTarget changes what the target's key signed, once.
func (s *Server) modifyTarget(w http.ResponseWriter, r *http.Request, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target, ok := s.targets[r.PathValue("id")]
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	m, status := s.verify(string(body), target)
	if status != http.StatusOK {
		refuse(w, status)
		return
	}
	if id, err := m.text("dispatchTargetId"); err != nil || id != target.ID {
		refuse(w, http.StatusBadRequest)
		return
	}
	s.change(w, m, target)
}

// change applies a verified payload. s.mu must be held.
func (s *Server) change(w http.ResponseWriter, m members, target *Target) {
	c, err := parseChange(m)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	if s.apply(c, target) != nil {
		refuse(w, http.StatusUnprocessableEntity)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// verify checks a JWS with a target's signature key, its age, and that it comes
// for the first time; it returns the payload, or a status other than 200. s.mu
// must be held.
func (s *Server) verify(jws string, target *Target) (members, int) {
	if !isJWS(jws) {
		return nil, http.StatusBadRequest
	}
	key, err := encrypt.ParseSignatureKey(target.SignatureKey)
	if err != nil {
		return nil, http.StatusUnauthorized
	}
	payload, err := key.Verify(jws)
	if err != nil {
		return nil, http.StatusUnauthorized
	}
	m, err := parse(payload)
	if err != nil {
		return nil, http.StatusBadRequest
	}
	requestID, err := m.text("requestId")
	if err != nil || requestID == "" || len(requestID) > maxRequestID {
		return nil, http.StatusBadRequest
	}
	var millis int64
	if err := json.Unmarshal(m["creationTimeInEpochMillis"], &millis); err != nil {
		return nil, http.StatusBadRequest
	}
	skew := s.options.Now().Sub(time.UnixMilli(millis)).Abs()
	if skew > s.options.ClockSkew || s.seen[target.ID+" "+requestID] {
		return nil, http.StatusUnauthorized
	}
	s.seen[target.ID+" "+requestID] = true
	return m, http.StatusOK
}

// isJWS reports whether text has the form of a compact JWS.
func isJWS(text string) bool {
	_, err := encrypt.UnverifiedPayload(text)
	return err == nil
}

// modifyDevice is PATCH of the device service, of which only this is played:
// the header Device-Signature is a JWS that changes the device's target
// dispatchTargetId as modifyTarget does.
func (s *Server) modifyDevice(w http.ResponseWriter, r *http.Request, _ []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, status := s.verifyDevice(r)
	if status != http.StatusOK {
		refuse(w, status)
		return
	}
	id, err := m.text("dispatchTargetId")
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	target, ok := s.targets[id]
	if !ok || target.DeviceID != r.PathValue("id") {
		refuse(w, http.StatusNotFound)
		return
	}
	s.change(w, m, target)
}

// deleteDevice removes all targets of a device.
func (s *Server) deleteDevice(w http.ResponseWriter, r *http.Request, _ []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, status := s.verifyDevice(r)
	if status != http.StatusOK {
		refuse(w, status)
		return
	}
	for _, t := range s.targetsOf(r.PathValue("id")) {
		s.remove(t)
	}
	w.WriteHeader(http.StatusNoContent)
}

// verifyDevice checks Device-Signature with the keys of the device's targets.
// s.mu must be held.
func (s *Server) verifyDevice(r *http.Request) (members, int) {
	status := http.StatusNotFound
	for _, t := range s.targetsOf(r.PathValue("id")) {
		var m members
		if m, status = s.verify(r.Header.Get("Device-Signature"), t); status == http.StatusOK {
			return m, status
		}
	}
	return nil, status
}

// targetsOf returns the targets of a device. s.mu must be held.
func (s *Server) targetsOf(deviceID string) []*Target {
	var list []*Target
	for _, t := range s.targets {
		if t.DeviceID == deviceID {
			list = append(list, t)
		}
	}
	return list
}
