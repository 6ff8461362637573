package nevisfido

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Data is dispatchInformation.data: further members for the app. They stand
// beside token and redeem_url in the message, not below them.
type Data struct {
	members *object
	text    string // free text, where data is a string that is no JSON object
}

// parseData takes both forms that clients use: an object, and a string that
// holds "plain text or JSON".
func parseData(raw jsontext.Value) (Data, error) {
	switch raw.Kind() {
	case jsontext.KindInvalid:
		return Data{}, nil
	case '{':
		o, err := parseObject(raw)
		return Data{members: o}, err
	case '"':
		text := unquote(raw)
		if o, err := parseObject([]byte(text)); err == nil {
			return Data{members: o}, nil
		}
		return Data{text: text}, nil
	}
	return Data{}, fmt.Errorf("data is neither an object nor a string")
}

// Value returns a member for use in a text: strings as they are, everything
// else as JSON.
func (d Data) Value(name string) (string, bool) {
	if d.members == nil {
		return "", false
	}
	raw := d.members.raw(name)
	switch raw.Kind() {
	case jsontext.KindInvalid:
		return "", false
	case '"':
		return unquote(raw), true
	}
	return raw.String(), true
}

// each yields the members to be merged into a message. Free text becomes a
// member "data": where nevisFIDO puts it is not documented.
func (d Data) each(yield func(name string, value jsontext.Value)) {
	if d.text != "" {
		yield("data", quote(d.text))
	}
	if d.members == nil {
		return
	}
	for _, m := range d.members.members {
		yield(m.name, d.members.text[m.start:m.end])
	}
}

// EncodingParameters are a request's wishes for a QR picture (nevisFIDO
// configuration guide, out-of-band registration client code examples).
type EncodingParameters struct {
	Width, Height                    int    // pixels, 0 where not given
	ForegroundColor, BackgroundColor string // such as "rgb(4, 125, 130)", "" where not given
}

// ParseEncodingParameters reads encodingParameters; sizes may be numbers or
// numbers in strings. The zero value stands for an absent member.
func ParseEncodingParameters(raw []byte) (EncodingParameters, error) {
	var p EncodingParameters
	if len(raw) == 0 {
		return p, nil
	}
	o, err := parseObject(raw)
	if err != nil {
		return p, fmt.Errorf("encodingParameters: %w", err)
	}
	err = o.strings(map[string]*string{"foregroundColor": &p.ForegroundColor, "backgroundColor": &p.BackgroundColor})
	if err != nil {
		return p, fmt.Errorf("encodingParameters: %w", err)
	}
	for name, to := range map[string]*int{"width": &p.Width, "height": &p.Height} {
		raw := o.raw(name)
		if raw == nil {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(raw.String(), `"`))
		if err != nil || n <= 0 {
			return p, fmt.Errorf("encodingParameters: %s is not a positive whole number", name)
		}
		*to = n
	}
	return p, nil
}
