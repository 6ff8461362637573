package nevis

import (
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// uafHeader is the OperationHeader of the messages (FIDO UAF protocol
// specification, section 3.1.2). The session travels in serverData.
type uafHeader struct {
	UPV        map[string]int `json:"upv"`
	Op         string         `json:"op"`
	AppID      string         `json:"appID"`
	ServerData string         `json:"serverData"`
}

// uafRequest makes the message for the client, without a policy. The
// transaction is the one of the relying party's context.
func (n *session) uafRequest() string {
	var context struct {
		Transaction jsontext.Value `json:"transaction"`
	}
	_ = decode([]byte(n.context), &context) // one that is not JSON has no transaction
	message := map[string]any{
		"header": uafHeader{
			UPV: map[string]int{"major": 1, "minor": 1}, Op: hints[n.operation], ServerData: n.id,
			AppID: frontend + basePath + "/uaf/1.1/facets",
		},
		"challenge": n.challenge,
		"username":  n.username,
	}
	if context.Transaction != nil {
		message["transaction"] = context.Transaction
	}
	return string(encode([]any{message}))
}

// uafResponse is what a client sends at the end (FIDO UAF application API,
// section 3.2).
type uafResponse struct {
	Text    string `json:"uafResponse"`
	Context string `json:"context"`

	header    uafHeader
	challenge string
}

func parseUAFResponse(body []byte) (r uafResponse, err error) {
	if err := decode(body, &r); err != nil {
		return r, err
	}
	var messages []struct {
		Header   uafHeader `json:"header"`
		FCParams string    `json:"fcParams"`
	}
	if err := decode([]byte(r.Text), &messages); err != nil || len(messages) != 1 {
		return r, errors.New("uafResponse is not the text of one UAF message")
	}
	final, err := base64.RawURLEncoding.DecodeString(messages[0].FCParams)
	if err != nil {
		return r, errors.New("fcParams is not base64url")
	}
	var params struct {
		Challenge string `json:"challenge"`
	}
	err = decode(final, &params)
	r.header, r.challenge = messages[0].Header, params.Challenge
	return r, err
}

type uafAnswer struct {
	StatusCode  int    `json:"statusCode"`
	Description string `json:"description,omitzero"`
}

// answerRegistration ends a registration and creates the dispatch target that
// the context of the response brings; where that fails the registration does.
func (s *Server) answerRegistration(_ *http.Request, body []byte) (status int, answer any) {
	response, err := parseUAFResponse(body)
	if err != nil {
		return http.StatusBadRequest, nil
	}
	n, code := s.finish(nevisfido.Registration, response)
	if code != uafOK || response.Context == "" {
		return http.StatusOK, uafAnswer{StatusCode: code}
	}
	var context struct {
		Target jsontext.Value `json:"dispatchTarget"`
	}
	err = decode([]byte(response.Context), &context)
	if err == nil && context.Target == nil {
		return http.StatusOK, uafAnswer{StatusCode: uafOK}
	}
	if target, status := s.addTarget(n.username, unwrap(context.Target)); status == http.StatusCreated {
		return http.StatusOK, uafAnswer{uafOK, string(encode(map[string]string{"dispatchTargetId": target.ID}))}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.end(failed, uafUnacceptable, time.Now())
	return http.StatusOK, uafAnswer{StatusCode: uafUnacceptable}
}

// answerAuthentication ends an authentication.
func (s *Server) answerAuthentication(_ *http.Request, body []byte) (status int, answer any) {
	response, err := parseUAFResponse(body)
	if err != nil {
		return http.StatusBadRequest, nil
	}
	_, code := s.finish(nevisfido.Authentication, response)
	return http.StatusOK, uafAnswer{StatusCode: code}
}

// finish closes the session of a response and returns it with a UAF status
// code.
func (s *Server) finish(op nevisfido.Operation, r uafResponse) (*session, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byKey[r.header.ServerData]
	if n == nil || n.operation != op || r.header.Op != hints[op] || r.challenge != n.challenge {
		return nil, uafInvalid
	}
	now := time.Now()
	n.expire(now)
	switch {
	case n.code == uafTimeout:
		return nil, uafTimeout
	case n.state != clientRegistering && n.state != clientAuthenticating:
		return nil, uafInvalid
	}
	n.end(succeeded, uafOK, now)
	return n, uafOK
}
