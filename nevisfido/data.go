package nevisfido

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

// Data is dispatchInformation.data: further members for the app. They stand
// beside token and redeem_url in the message, not below them.
type Data struct {
	members strictjson.Value
	text    string // free text, where data is a string that is not a JSON object
}

// readData takes both forms that clients use: an object, and a string that
// holds "plain text or JSON".
func readData(value strictjson.Value) (Data, Guesses, error) {
	switch value.Kind() {
	case 0:
		return Data{}, 0, nil
	case '{':
		return Data{members: value}, 0, nil
	case '"':
		text := value.Text()
		if o, err := strictjson.ParseObject([]byte(text)); err == nil {
			return Data{members: o}, GuessDataText, nil
		}
		return Data{text: text}, GuessDataFreeText, nil
	}
	return Data{}, 0, errors.New("data is neither an object nor a string")
}

// Value returns a member for use in a text: strings as they are, everything
// else as JSON.
func (d Data) Value(name string) (string, bool) {
	member := d.members.Member(name)
	if member.Kind() == '"' {
		return member.Text(), true
	}
	return string(member.Raw()), member.Exists()
}

// each yields the members to be merged into a message. Free text becomes a
// member "data": where nevisFIDO puts it is not documented.
func (d Data) each(yield func(name string, value []byte) bool) {
	if d.text != "" && !yield("data", strictjson.Quote(d.text)) {
		return
	}
	for name, member := range d.members.Children() {
		if !yield(name, member.Raw()) {
			return
		}
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
	o, err := strictjson.ParseObject(raw)
	if err != nil {
		return p, fmt.Errorf("encodingParameters: %w", err)
	}
	err = o.Strings(strictjson.Text{Name: "foregroundColor", To: &p.ForegroundColor}, strictjson.Text{Name: "backgroundColor", To: &p.BackgroundColor})
	if err != nil {
		return p, fmt.Errorf("encodingParameters: %w", err)
	}
	for name, to := range map[string]*int{"width": &p.Width, "height": &p.Height} {
		member := o.Member(name)
		if !member.Exists() {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(string(member.Raw()), `"`))
		if err != nil || n <= 0 {
			return p, fmt.Errorf("encodingParameters: %s is not a positive whole number", name)
		}
		*to = n
	}
	return p, nil
}
