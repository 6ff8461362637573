package nevis

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// uafHeader is the OperationHeader of the messages (FIDO UAF protocol
// specification, section 3.1.2). The session travels in serverData.
type uafHeader struct {
	UPV        uafVersion `json:"upv"`
	Op         string     `json:"op"`
	AppID      string     `json:"appID"`
	ServerData string     `json:"serverData"`
}

type uafVersion struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

// uafRequest makes the message for the client, without a policy. The
// transaction is the one of the relying party's context.
func (s *Server) uafRequest(n *session) string {
	message := map[string]any{
		"header": uafHeader{
			UPV: uafVersion{1, 1}, Op: hints[n.operation], ServerData: n.id,
			AppID: strings.TrimSuffix(s.options.FrontendURL, "/") + strings.TrimSuffix(s.options.BasePath, "/") + "/uaf/1.1/facets",
		},
		"challenge": n.challenge,
		"username":  n.username,
	}
	if context, err := parse([]byte(n.context)); err == nil && context.has("transaction") {
		message["transaction"] = context["transaction"]
	}
	return string(encode([]any{message}))
}

// sendUAFResponse is what a client sends at the end (FIDO UAF application API,
// section 3.2).
type sendUAFResponse struct {
	sessionID, op, challenge string
	context                  json.RawMessage
}

func parseUAFResponse(body []byte) (*sendUAFResponse, error) {
	m, err := parse(body)
	if err != nil {
		return nil, err
	}
	text, err := m.text("uafResponse")
	if err != nil {
		return nil, err
	}
	var messages []struct {
		Header   uafHeader `json:"header"`
		FCParams string    `json:"fcParams"`
	}
	if err := json.Unmarshal([]byte(text), &messages); err != nil || len(messages) != 1 {
		return nil, errors.New("uafResponse is not the text of one UAF message")
	}
	if context, err := m.text("context"); err != nil {
		return nil, err
	} else if context == "" {
		delete(m, "context")
	}
	r := &sendUAFResponse{sessionID: messages[0].Header.ServerData, op: messages[0].Header.Op, context: m["context"]}
	final, err := base64.RawURLEncoding.DecodeString(messages[0].FCParams)
	if err != nil {
		return nil, errors.New("fcParams is not base64url")
	}
	params, err := parse(final)
	if err != nil {
		return nil, err
	}
	r.challenge, err = params.text("challenge")
	return r, err
}

type uafAnswer struct {
	StatusCode  int    `json:"statusCode"`
	Description string `json:"description,omitzero"`
}

func (s *Server) answerRegistration(w http.ResponseWriter, _ *http.Request, body []byte) {
	s.answerUAF(w, nevisfido.Registration, body)
}

func (s *Server) answerAuthentication(w http.ResponseWriter, _ *http.Request, body []byte) {
	s.answerUAF(w, nevisfido.Authentication, body)
}

func (s *Server) answerUAF(w http.ResponseWriter, op nevisfido.Operation, body []byte) {
	response, err := parseUAFResponse(body)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	answer(w, http.StatusOK, mediaUAF, s.finish(op, response))
}

// finish ends a session with the client's response. A registration creates the
// dispatch target that its context brings; where that fails the registration
// does (status code 1498).
func (s *Server) finish(op nevisfido.Operation, response *sendUAFResponse) uafAnswer {
	username, code := s.end(op, response)
	if code != uafOK || op != nevisfido.Registration || response.context == nil {
		return uafAnswer{StatusCode: code}
	}
	id, err := s.sessionTarget(username, response.context)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.byID[response.sessionID].end(failed, uafUnacceptable, s.options.Now())
		return uafAnswer{StatusCode: uafUnacceptable}
	}
	if id == "" {
		return uafAnswer{StatusCode: uafOK}
	}
	return uafAnswer{uafOK, string(encode(map[string]string{"dispatchTargetId": id}))}
}

// end closes the session of a response and returns its user and a UAF status
// code.
func (s *Server) end(op nevisfido.Operation, response *sendUAFResponse) (username string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byID[response.sessionID]
	if n == nil || n.operation != op || response.op != hints[op] || response.challenge != n.challenge {
		return "", uafInvalid
	}
	now := s.options.Now()
	if n.expire(now); n.code == uafTimeout {
		return "", uafTimeout
	}
	if n.state != clientRegistering && n.state != clientAuthenticating {
		return "", uafInvalid
	}
	n.end(succeeded, uafOK, now)
	return n.username, uafOK
}
