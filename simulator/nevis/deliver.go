package nevis

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"maps"
	"slices"
	"strings"

	"github.com/skip2/go-qrcode"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// successful is the response of dispatchers that deliver elsewhere.
const successful = "successful dispatch"

// defaultPicture is the size of a QR code whose request names none, in pixels.
const defaultPicture = 300

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

// deliver hands the message to the dispatcher and returns its response.
func (s *Server) deliver(q *dispatchRequest, token string, target Target) (string, error) {
	e, err := s.envelopeFor(q, token, target)
	if err != nil {
		return "", err
	}
	switch q.dispatcher {
	case nevisfido.BuiltInLink:
		return s.link(e), nil
	case nevisfido.BuiltInQRCode:
		return picture(e.encoded(), q.encoding)
	case nevisfido.BuiltInLinkQR:
		return picture(s.link(e), q.encoding)
	case nevisfido.BuiltInFCM:
		return successful, s.push(q, e, target)
	}
	return successful, nil
}

// envelopeFor makes the message and seals it if the mode, the dispatcher and
// the target's key allow.
func (s *Server) envelopeFor(q *dispatchRequest, token string, target Target) (envelope, error) {
	content := members{}
	maps.Copy(content, q.data)
	content["token"] = encode(token)
	content["redeem_url"] = encode(s.redeemURL(q.operation))
	plain := envelope{content, "application/json", "1"}
	if s.options.Mode == LTS21 && q.dispatcher != nevisfido.BuiltInFCM {
		return plain, nil
	}
	key := target.sealingKey()
	if key == nil {
		return plain, nil
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

func (s *Server) redeemURL(op nevisfido.Operation) string {
	return strings.TrimSuffix(s.options.FrontendURL, "/") + strings.TrimSuffix(s.options.BasePath, "/") + "/token/redeem/" + string(op)
}

func (s *Server) link(e envelope) string {
	separator := "?"
	if strings.Contains(s.options.LinkBase, "?") {
		separator = "&"
	}
	return s.options.LinkBase + separator + "dispatchTokenResponse=" + e.encoded()
}

// push keeps the message. Push messages have to be sealed.
func (s *Server) push(q *dispatchRequest, e envelope, target Target) error {
	jwe, sealed := e.Data.(string)
	if !sealed {
		return errors.New("a push message has to be sealed, and the target has no usable key")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushes = keep(s.pushes, Push{
		DispatchTargetID: target.ID, Token: target.Address, Notification: q.notification,
		Data: map[string]string{"nma_data": jwe, "nma_data_content_type": e.ContentType, "nma_data_version": e.Version},
	})
	return nil
}

// picture draws a QR code and returns it as base64 of a PNG. Of the requested
// sizes the smaller one is the bound; modules have two whole pixels at least.
func picture(content string, parameters members) (string, error) {
	code, err := qrcode.New(content, qrcode.Low)
	if err != nil {
		return "", fmt.Errorf("drawing the QR code: %w", err)
	}
	size := 0
	for _, name := range []string{"width", "height"} {
		var n int
		if parameters.has(name) && json.Unmarshal(parameters[name], &n) == nil && (size == 0 || n < size) {
			size = n
		}
	}
	if size == 0 {
		size = defaultPicture
	}
	code.ForegroundColor = rgb(parameters, "foregroundColor", color.Black)
	code.BackgroundColor = rgb(parameters, "backgroundColor", color.White)
	scale := max(2, min(size, 2048)/len(code.Bitmap()))
	png, err := code.PNG(-scale)
	if err != nil {
		return "", fmt.Errorf("drawing the QR code: %w", err)
	}
	return base64.StdEncoding.EncodeToString(png), nil
}

// rgb reads a color such as "rgb(4, 125, 130)".
func rgb(parameters members, name string, otherwise color.Color) color.Color {
	text, err := parameters.text(name)
	if err != nil {
		return otherwise
	}
	c := color.RGBA{A: 0xff}
	if _, err := fmt.Sscanf(text, "rgb(%d, %d, %d)", &c.R, &c.G, &c.B); err != nil {
		return otherwise
	}
	return c
}
