package device

import (
	"encoding/base64"
	"errors"
	"fmt"
	"image/png"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/oob-dispatch/oob-dispatch/internal/qrscan"
)

// What can be wrong with an artefact, for errors.Is.
var (
	// ErrNoKey means that none of the device's keys opens the message: it was
	// sealed for another device, or changed on its way.
	ErrNoKey = errors.New("no key of this device opens the message")
	// ErrClear means that the message is in clear and the device wants sealed ones.
	ErrClear = errors.New("the message is in clear")
	// ErrArtefact means that the artefact holds no out-of-band payload.
	ErrArtefact = errors.New("not an out-of-band message")
)

const (
	linkParameter = "dispatchTokenResponse"
	pngMagic      = "\x89PNG\r\n\x1a\n"
	dataPrefix    = "data:image/png;base64,"
)

// OpenPush opens the data of a push message, as the app hands it to the SDK.
func (d *Device) OpenPush(data map[string]string) (Message, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrArtefact, err)
	}
	return d.openEnvelope(text)
}

// Open opens an artefact of any other kind: a link, a QR code (the bytes of a
// PNG, or their base64, with or without a data: prefix; it holds a link or a
// payload), a payload in base64url, or its JSON, in which other members are
// ignored. The error is, or wraps, ErrNoKey, ErrClear or ErrArtefact where one
// of them fits, and never quotes the artefact.
func (d *Device) Open(artefact string) (Message, error) {
	if text, ok := pictureOf(artefact); ok {
		picture, err := png.Decode(strings.NewReader(text))
		if err != nil {
			return Message{}, fmt.Errorf("%w: decoding the PNG: %w", ErrArtefact, err)
		}
		if artefact, err = qrscan.Text(picture); err != nil {
			return Message{}, fmt.Errorf("%w: %w", ErrArtefact, err)
		}
	}
	text, err := payloadOf(artefact)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrArtefact, err)
	}
	return d.openEnvelope(text)
}

// pictureOf returns the bytes of a PNG. Some portals cut the padding off.
func pictureOf(artefact string) (picture string, ok bool) {
	if !strings.HasPrefix(artefact, pngMagic) {
		text := strings.TrimRight(strings.TrimPrefix(artefact, dataPrefix), "=")
		decoded, _ := base64.RawStdEncoding.DecodeString(text)
		artefact = string(decoded)
	}
	return artefact, strings.HasPrefix(artefact, pngMagic)
}

// payloadOf returns the JSON of the out-of-band payload.
func payloadOf(text string) ([]byte, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return []byte(text), nil
	}
	if strings.Contains(text, ":") {
		value, err := linkValue(text)
		if err != nil {
			return nil, err
		}
		text = value
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("not base64url without padding")
	}
	return payload, nil
}

// linkValue returns the raw value of the parameter in a link's query.
func linkValue(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil || u.Scheme == "" {
		return "", errors.New("not a link")
	}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if value, ok := strings.CutPrefix(pair, linkParameter+"="); ok {
			return value, nil
		}
	}
	return "", errors.New("a link without the parameter " + linkParameter)
}

// envelope is the out-of-band payload.
type envelope struct {
	Data        jsontext.Value `json:"nma_data"`
	ContentType string         `json:"nma_data_content_type"`
	Version     string         `json:"nma_data_version"`
}

func (d *Device) openEnvelope(text []byte) (Message, error) {
	var e envelope
	if json.Unmarshal(text, &e) != nil || len(e.Data) == 0 {
		return Message{}, fmt.Errorf("%w: not the JSON of a payload", ErrArtefact)
	}
	if e.Version != "1" {
		return Message{}, fmt.Errorf("%w: nma_data_version is not 1", ErrArtefact)
	}
	content := string(e.Data)
	isText := json.Unmarshal(e.Data, &content) == nil
	switch e.ContentType {
	case mediaJOSE:
		if !isText {
			return Message{}, fmt.Errorf("%w: a sealed nma_data is not a string", ErrArtefact)
		}
		return d.unseal(content)
	case mediaJSON:
		if d.options.RequireSealed {
			return Message{}, ErrClear
		}
		return parseMessage([]byte(content))
	}
	return Message{}, fmt.Errorf("%w: unknown nma_data_content_type", ErrArtefact)
}

// unseal tries all keys, the latest first: the header names none.
func (d *Device) unseal(jwe string) (Message, error) {
	keys := d.Keys()
	if len(keys) == 0 {
		return Message{}, fmt.Errorf("%w: it has none", ErrNoKey)
	}
	var errs []error
	for _, key := range keys {
		content, err := key.Open(jwe)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m, err := parseMessage(content)
		m.Sealed, m.KeyThumbprint = true, key.Public().Thumbprint()
		return m, err
	}
	return Message{}, fmt.Errorf("%w (of %d): %w", ErrNoKey, len(keys), errors.Join(errs...))
}
