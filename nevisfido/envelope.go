package nevisfido

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/anybase64"
	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

// Content types of an envelope's nma_data.
const (
	ContentTypePlain  = "application/json"
	ContentTypeSealed = "application/jose"
)

// EnvelopeVersion is the only version of the payload that is known.
const EnvelopeVersion = "1"

// Envelope is the out-of-band payload, the JSON object with the members
// nma_data, nma_data_content_type and nma_data_version that the device's SDK
// reads.
type Envelope struct {
	Data        []byte // nma_data as JSON: an object, or a string that holds a JWE or JSON text
	ContentType string
	Version     string
}

// ParseEnvelope reads an envelope. The error never quotes it.
func ParseEnvelope(text []byte) (Envelope, error) {
	o, err := strictjson.ParseObject(text)
	if err != nil {
		return Envelope{}, err
	}
	var e Envelope
	if err := o.Strings(strictjson.Text{Name: "nma_data_content_type", To: &e.ContentType}); err != nil {
		return Envelope{}, err
	}
	e.Version = strings.Trim(string(o.Member("nma_data_version").Raw()), `"`)
	if e.Version == "" {
		e.Version = EnvelopeVersion
	}
	data := o.Member("nma_data")
	if kind := data.Kind(); kind != '{' && kind != '"' {
		return Envelope{}, errors.New("nma_data is neither an object nor a string")
	}
	e.Data = data.Raw()
	return e, nil
}

// Text returns nma_data where it is a string: a JWE, or JSON text.
func (e Envelope) Text() (string, bool) {
	data := strictjson.Opaque(e.Data)
	return data.Text(), data.Kind() == '"'
}

// Content is the plain inner object of an envelope: what is sealed, and what
// the device reads after opening.
type Content struct {
	Token     string
	RedeemURL string

	object strictjson.Value
}

// ParseContent reads the inner object.
func ParseContent(text []byte) (Content, error) {
	o, err := strictjson.ParseObject(text)
	if err != nil {
		return Content{}, err
	}
	c := Content{object: o}
	err = o.Strings(strictjson.Text{Name: "token", To: &c.Token}, strictjson.Text{Name: "redeem_url", To: &c.RedeemURL})
	return c, err
}

// PlainContent returns the inner object of an envelope that is not sealed.
func (e Envelope) PlainContent() (Content, error) {
	text := e.Data
	if s, ok := e.Text(); ok {
		text = []byte(s)
	}
	c, err := ParseContent(text)
	if err != nil {
		return Content{}, fmt.Errorf("reading the plain nma_data: %w", err)
	}
	return c, nil
}

// Sealed returns the same envelope with a compact JWE as its content.
func (e Envelope) Sealed(jwe string) Envelope {
	return Envelope{Data: []byte(`"` + jwe + `"`), ContentType: ContentTypeSealed, Version: e.Version} // in base64url, without escapes
}

// JSON returns the envelope as the SDK expects it.
func (e Envelope) JSON() []byte {
	out := make([]byte, 0, len(e.Data)+128) // mostly the data
	out = append(append(out, `{"nma_data":`...), e.Data...)
	out = append(append(out, `,"nma_data_content_type":`...), strictjson.Quote(e.ContentType)...)
	out = append(append(out, `,"nma_data_version":`...), strictjson.Quote(e.Version)...)
	return append(out, '}')
}

// Fields returns the envelope as the flat map of strings that a push message
// carries; plain content becomes JSON text.
func (e Envelope) Fields() map[string]string {
	data, ok := e.Text()
	if !ok {
		data = string(e.Data)
	}
	return map[string]string{
		"nma_data":              data,
		"nma_data_content_type": e.ContentType,
		"nma_data_version":      e.Version,
	}
}

// Encoded returns the envelope in base64url without padding, as a QR code and
// a link carry it.
func (e Envelope) Encoded() string {
	return base64.RawURLEncoding.EncodeToString(e.JSON())
}

// DecodeEnvelope reads what Encoded writes, and base64 with padding or in the
// standard alphabet as well.
func DecodeEnvelope(encoded string) (Envelope, error) {
	text, err := anybase64.Decode(encoded)
	if err != nil {
		return Envelope{}, err
	}
	return ParseEnvelope(text)
}

// NewContent makes the inner object of a message.
func NewContent(token, redeemURL string) Content {
	o, _ := strictjson.ParseObject(fmt.Appendf(nil, `{"token":%s,"redeem_url":%s}`, strictjson.Quote(token), strictjson.Quote(redeemURL)))
	return Content{Token: token, RedeemURL: redeemURL, object: o}
}

// WithData returns the content with the members of data beside its own. What
// the content already has wins, and no spelling of a reserved member gets in:
// some apps read names without regard to letter case.
func (c Content) WithData(data Data) Content {
	var edits []strictjson.Edit
	for name, value := range data.each {
		if !c.object.Find(name).Exists() && !reserved(name) {
			edits = append(edits, strictjson.Edit{Name: name, Value: value})
		}
	}
	if len(edits) == 0 {
		return c
	}
	if o, err := strictjson.ParseObject(c.object.With(edits...)); err == nil {
		c.object = o
	}
	return c
}

func reserved(name string) bool {
	return strings.EqualFold(name, "token") || strings.EqualFold(name, "redeem_url")
}

// JSON returns the text of the inner object.
func (c Content) JSON() []byte { return c.object.Raw() }

// Member returns the JSON text of a member of the inner object; nil where it
// has none of that name.
func (c Content) Member(name string) []byte { return c.object.Member(name).Raw() }

// Envelope returns the content as a plain out-of-band payload.
func (c Content) Envelope() Envelope {
	return Envelope{Data: c.object.Raw(), ContentType: ContentTypePlain, Version: EnvelopeVersion}
}
