package nevis

import (
	"net/http"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

const (
	// maxRequestID bounds requestId, in characters (nevisFIDO reference guide,
	// device service).
	maxRequestID = 64
	// clockSkew is how far the time in a signed modification may be off.
	clockSkew = 5 * time.Minute
)

// modifyTarget changes what the target's key signed, once.
func (s *Server) modifyTarget(r *http.Request, body []byte) (status int, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target, ok := s.targets[r.PathValue("id")]
	if !ok {
		return http.StatusNotFound, nil
	}
	d, status := s.verify(string(body), target)
	switch {
	case status != http.StatusOK:
		return status, nil
	case d.TargetID != target.ID:
		return http.StatusBadRequest, nil
	}
	return s.change(d, target), nil
}

// change applies a verified description. s.mu must be held.
func (s *Server) change(d description, target *Target) (status int) {
	if s.apply(d, target) != nil {
		return http.StatusUnprocessableEntity
	}
	return http.StatusNoContent
}

// verify checks a JWS with a target's signature key, its age, and that it comes
// for the first time; it returns the payload, or a status other than 200. s.mu
// must be held.
func (s *Server) verify(jws string, target *Target) (d description, status int) {
	if _, err := encrypt.UnverifiedPayload(jws); err != nil {
		return d, http.StatusBadRequest
	}
	key, err := encrypt.ParseSignatureKey(target.SignatureKey)
	if err != nil {
		return d, http.StatusUnauthorized
	}
	payload, err := key.Verify(jws)
	if err != nil {
		return d, http.StatusUnauthorized
	}
	d, err = parseDescription(payload)
	if err != nil || d.CreatedAt == nil || d.RequestID == "" || len(d.RequestID) > maxRequestID {
		return d, http.StatusBadRequest
	}
	request := target.ID + " " + d.RequestID
	if time.Since(time.UnixMilli(*d.CreatedAt)).Abs() > clockSkew || s.seen[request] {
		return d, http.StatusUnauthorized
	}
	s.seen[request] = true
	return d, http.StatusOK
}

// modifyDevice is PATCH of the device service, of which only this is played:
// the header Device-Signature is a JWS that changes the device's target
// dispatchTargetId as modifyTarget does.
func (s *Server) modifyDevice(r *http.Request, _ []byte) (status int, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, of, status := s.verifyDevice(r)
	if status != http.StatusOK {
		return status, nil
	}
	for _, target := range of {
		if target.ID == d.TargetID {
			return s.change(d, target), nil
		}
	}
	return http.StatusNotFound, nil
}

// deleteDevice removes all targets of a device.
func (s *Server) deleteDevice(r *http.Request, _ []byte) (status int, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, of, status := s.verifyDevice(r)
	if status != http.StatusOK {
		return status, nil
	}
	for _, target := range of {
		s.remove(target)
	}
	return http.StatusNoContent, nil
}

// verifyDevice checks Device-Signature with the keys of the device's targets,
// which it returns. s.mu must be held.
func (s *Server) verifyDevice(r *http.Request) (d description, of []*Target, status int) {
	for _, t := range s.targets {
		if t.DeviceID == r.PathValue("id") {
			of = append(of, t)
		}
	}
	status = http.StatusNotFound
	for _, t := range of {
		if d, status = s.verify(r.Header.Get("Device-Signature"), t); status == http.StatusOK {
			break
		}
	}
	return d, of, status
}
