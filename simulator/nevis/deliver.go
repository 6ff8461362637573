package nevis

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/skip2/go-qrcode"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// Push is a message that the dispatcher firebase-cloud-messaging would have
// handed to FCM.
type Push struct {
	DispatchTargetID string
	Token            string // the registration token: the target's address
	Notification     []byte // dispatchInformation.notification as it came; nil where absent
	Data             map[string]string
}

// Pushes returns the push messages in the order of dispatching.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pushes)
}

// envelope is the out-of-band payload.
type envelope struct {
	Data        any    `json:"nma_data"`
	ContentType string `json:"nma_data_content_type"`
	Version     string `json:"nma_data_version"`
}

func (e envelope) encoded() string { return base64.RawURLEncoding.EncodeToString(encode(e)) }

func (e envelope) link() string { return linkBase + "?dispatchTokenResponse=" + e.encoded() }

// deliver hands the message to the dispatcher and returns its response.
func (s *Server) deliver(q *dispatchRequest, token string, target Target) (string, error) {
	e, err := s.envelopeFor(q, token, target)
	if err != nil {
		return "", err
	}
	switch q.Dispatcher {
	case nevisfido.BuiltInQRCode:
		return picture(e.encoded())
	case nevisfido.BuiltInLinkQR:
		return picture(e.link())
	case nevisfido.BuiltInFCM:
		return "successful dispatch", s.push(q, e, target)
	}
	return e.link(), nil
}

// envelopeFor makes the message and seals it if the mode, the dispatcher and
// the target's key allow.
func (s *Server) envelopeFor(q *dispatchRequest, token string, target Target) (envelope, error) {
	content := members{}
	maps.Copy(content, q.data)
	content["token"] = encode(token)
	content["redeem_url"] = encode(frontend + basePath + "/token/redeem/" + string(q.operation))
	key := target.sealingKey()
	if key == nil || s.is(LTS21) && q.Dispatcher != nevisfido.BuiltInFCM {
		return envelope{content, mediaJSON, "1"}, nil
	}
	jwe, err := key.Seal(encode(content))
	if err != nil {
		return envelope{}, fmt.Errorf("sealing the message: %w", err)
	}
	return envelope{jwe, mediaJOSE, "1"}, nil
}

// sealingKey returns the target's key if nevisFIDO can use it: its reference
// lists RSA-OAEP-256 with A256CBC-HS512 and nothing else (appendix crypto).
func (t Target) sealingKey() *encrypt.Key {
	key, err := encrypt.ParseKey(t.EncryptionKey, encrypt.Policy{})
	if err != nil {
		return nil
	}
	if alg, enc := key.Algorithms(); alg != "RSA-OAEP-256" || enc != "A256CBC-HS512" {
		return nil
	}
	return key
}

// push keeps the message. Push messages have to be sealed.
func (s *Server) push(q *dispatchRequest, e envelope, target Target) error {
	jwe, sealed := e.Data.(string)
	if !sealed {
		return errors.New("a push message has to be sealed, and the target has no usable key")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushes = double.Keep(s.pushes, Push{
		DispatchTargetID: target.ID, Token: target.Address, Notification: q.info.Notification,
		Data: map[string]string{"nma_data": jwe, "nma_data_content_type": e.ContentType, "nma_data_version": e.Version},
	})
	return nil
}

// picture draws a QR code and returns it as base64 of a PNG. The wishes of
// encodingParameters are not heard.
func picture(content string) (string, error) {
	png, err := qrcode.Encode(content, qrcode.Low, -2)
	if err != nil {
		return "", fmt.Errorf("drawing the QR code: %w", err)
	}
	return base64.StdEncoding.EncodeToString(png), nil
}
