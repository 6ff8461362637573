package command

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // pictures of codes
	_ "image/png"
	"regexp"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/anybase64"
	"github.com/oob-dispatch/oob-dispatch/internal/qrscan"
	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// maxPixels bounds a picture that is decoded.
const maxPixels = 32 << 20

var errNoMessage = errors.New("there is no message in it: give a link with dispatchTokenResponse, a PNG or JPEG picture of a QR code, " +
	"a push message, an out-of-band payload, a JWE, or the answer of a dispatch call")

// take takes the outermost layer off and goes on with the next. The error is
// one of a layer that hides what is below; problems are what can be read all
// the same. Neither quotes the message.
func (o *opened) take(input []byte) error {
	if _, format, err := image.DecodeConfig(bytes.NewReader(input)); err == nil {
		return o.takePicture(input, format)
	}
	return o.takeText(strings.TrimSpace(strings.TrimPrefix(string(input), "\ufeff")))
}

func (o *opened) takePicture(input []byte, format string) error {
	config, _, err := image.DecodeConfig(bytes.NewReader(input))
	if err != nil {
		return fmt.Errorf("reading the picture: %w", err)
	}
	if config.Width*config.Height > maxPixels {
		return fmt.Errorf("the picture has %d x %d pixels: cut the code out of it", config.Width, config.Height)
	}
	picture, _, err := image.Decode(bytes.NewReader(input))
	if err != nil {
		return fmt.Errorf("reading the picture: %w", err)
	}
	text, err := qrscan.Text(picture)
	if err != nil {
		return fmt.Errorf("%w: cut the code out of it with a light margin, or take a sharper picture", err)
	}
	o.Picture = &pictureView{Format: format, Width: config.Width, Height: config.Height, Text: len(text)}
	return o.takeText(text)
}

// takeText is for everything but pictures.
func (o *opened) takeText(text string) error {
	switch {
	case strings.HasPrefix(text, "{"):
		return o.takeObject(text)
	case strings.Contains(text, linkParameter+"="):
		return o.takeLink(text)
	case strings.Count(text, ".") == 4:
		o.takeJWE(text)
		return nil
	case otherLink.MatchString(text):
		return errors.New("the link holds no message: if it is a short link, the page that it opens has the long one")
	}
	_, encoded, isDataURL := strings.Cut(text, ";base64,")
	if !isDataURL {
		encoded = text
	}
	if decoded, err := anybase64.Decode(encoded); err == nil && len(decoded) > 0 && o.Picture == nil {
		if _, format, err := image.DecodeConfig(bytes.NewReader(decoded)); err == nil {
			return o.takePicture(decoded, format)
		}
	}
	e, err := nevisfido.DecodeEnvelope(text)
	if err != nil {
		return errNoMessage
	}
	o.checkEncoded(text)
	o.takeEnvelope(e)
	return nil
}

// linkParameter is the one that carries the message in a link.
const linkParameter = "dispatchTokenResponse"

var otherLink = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://\S+$`)

var linkValue = regexp.MustCompile(linkParameter + `=([^&#]*)`)

func (o *opened) takeLink(link string) error {
	base, e, err := nevisfido.ParseLink(link)
	if err != nil {
		return fmt.Errorf("the parameter %s of the link cannot be read: %w", linkParameter, err)
	}
	o.Link = &linkView{Base: base, Size: len(link)}
	o.checkLink(base)
	o.checkEncoded(linkValue.FindStringSubmatch(link)[1])
	o.takeEnvelope(e)
	return nil
}

// takeObject is for JSON: an envelope in whatever it is wrapped in, the inner
// object alone, or the answer of a dispatch call.
func (o *opened) takeObject(text string) error {
	object, err := strictjson.ParseObject([]byte(text))
	if err != nil {
		return fmt.Errorf("reading the JSON: %w", err)
	}
	message, data := object, object
	if inner := message.Find("message"); inner.Kind() == '{' {
		message, data = inner, inner
	}
	inMessage := message.Find("data").Kind() == '{'
	if inMessage {
		data = message.Find("data")
	}
	answer := object.Find("dispatcherInformation")
	switch {
	case data.Find("nma_data").Exists():
		plainText := data.Find("nma_data").Kind() == '"' && data.Find("nma_data_content_type").Text() == nevisfido.ContentTypePlain
		if inMessage || plainText || data.Find("aps").Exists() {
			o.takePush(message, data, inMessage)
		}
		e, err := nevisfido.ParseEnvelope(data.Raw())
		if err != nil {
			return fmt.Errorf("reading the out-of-band payload: %w", err)
		}
		o.takeEnvelope(e)
	case answer.Find("response").Kind() == '"':
		o.Answer = &answerView{Dispatcher: answer.Find("name").Text(), Result: object.Find("dispatchResult").Text()}
		return o.takeText(answer.Find("response").Text())
	case answer.Exists():
		return errors.New("the answer of the dispatch call holds no message: dispatcherInformation.response is no text")
	case object.Find("token").Exists():
		o.takeContent(object.Raw())
	default:
		return errNoMessage
	}
	return nil
}

// takePush looks at what is around the payload in a push message.
func (o *opened) takePush(message, data strictjson.Value, inMessage bool) {
	o.Push = &pushView{Form: "data"}
	if inMessage {
		notification := message.Find("notification")
		o.Push = &pushView{Form: "message", Title: notification.Find("title").Text(), Body: notification.Find("body").Text()}
	}
	o.Push.Size = len(o.Push.Title) + len(o.Push.Body)
	for name, value := range data.Children() {
		o.Push.Size += len(name) + len(shownValue(value))
	}
	o.checkPush(data)
}

func (o *opened) takeEnvelope(e nevisfido.Envelope) {
	o.Envelope = &envelopeView{ContentType: e.ContentType, Version: e.Version, Size: len(e.JSON())}
	text, isText := e.Text()
	o.checkEnvelope(e)
	switch {
	case isText && strings.Count(text, ".") == 4 && !strings.HasPrefix(strings.TrimSpace(text), "{"):
		o.takeJWE(text)
	case isText:
		o.takeContent([]byte(text))
	default:
		o.takeContent(e.Data)
	}
}

func (o *opened) takeJWE(compact string) {
	parts := strings.Split(compact, ".")
	o.JWE = &jweView{Size: len(compact), Sealed: base64.RawURLEncoding.DecodedLen(len(parts[3]))}
	text, _ := anybase64.Decode(parts[0]) // nothing is no JSON object, either
	header, err := strictjson.ParseObject(text)
	if err != nil {
		o.problem("the header of the JWE is no JSON object: %v", err)
		o.JWE.Header = []byte("{}")
	} else {
		o.JWE.Header = header.Raw()
	}
	o.JWE.Alg, o.JWE.Enc = header.Member("alg").Text(), header.Member("enc").Text()
	switch {
	case strings.HasPrefix(o.JWE.Alg, "RSA"):
		o.JWE.For = fmt.Sprintf("RSA-%d", 8*base64.RawURLEncoding.DecodedLen(len(parts[1])))
	case header.Find("epk").Kind() == '{':
		o.JWE.For = header.Find("epk").Find("crv").Text()
	}
	o.checkJWE(header, encrypt.IsSealed(compact))
	if o.key == nil {
		return
	}
	plaintext, err := o.key.open(o.JWE, compact)
	if err != nil {
		o.problem("the JWE: %v", err)
		return
	}
	o.takeContent(plaintext)
}

// takeContent reads the inner object.
func (o *opened) takeContent(text []byte) {
	content, err := nevisfido.ParseContent(text)
	if err != nil {
		o.problem("the payload cannot be read: %v", err)
	}
	object, err := strictjson.ParseObject(text)
	if err != nil {
		return
	}
	o.payload, o.Payload = object, object.Raw()
	o.checkContent(content, object)
}
