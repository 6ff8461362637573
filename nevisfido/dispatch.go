package nevisfido

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

// DispatchRequest is a request of the dispatch-token service (nevisFIDO
// reference guide, dispatch token service).
type DispatchRequest struct {
	Dispatcher   string // "" where the request names none
	TargetID     string // dispatchTargetId, "" where the request names none
	Username     string // from getUafRequest.context; the caller's word
	Notification Notification
	Data         Data
	Encoding     json.RawMessage // encodingParameters as they came; see ParseEncodingParameters
	Guesses      Guesses         // by which it was read

	// Doubt says why nothing may be dispatched by this reading of the request, which
	// nevisFIDO's own dispatchers may well understand: it begins with a byte order
	// mark, which some parsers skip and strict JSON (RFC 8259, section 8.1) has not,
	// or a more lenient parser might find another user in it. Its text quotes nothing.
	Doubt error

	body strictjson.Value
}

// Notification is the visible part of a push message.
type Notification struct{ Title, Body string }

// ParseDispatchRequest reads the body of a dispatch request strictly. Members that
// it does not know are kept by WithDispatcher and otherwise ignored. The error
// never quotes the body.
func ParseDispatchRequest(body []byte) (*DispatchRequest, error) {
	text, marked := bytes.CutPrefix(body, []byte("\ufeff"))
	o, err := strictjson.ParseObject(text)
	if err != nil {
		return nil, err
	}
	if err := o.RefuseVariants("dispatchTargetId", "dispatcher", "dispatchInformation", "getUafRequest"); err != nil {
		return nil, err
	}
	r := &DispatchRequest{body: o}
	if err := o.Strings(strictjson.Text{Name: "dispatcher", To: &r.Dispatcher}, strictjson.Text{Name: "dispatchTargetId", To: &r.TargetID}); err != nil {
		return nil, err
	}
	if err := r.readInformation(o); err != nil {
		return nil, fmt.Errorf("dispatchInformation: %w", err)
	}
	uaf, err := o.Object("getUafRequest")
	if err != nil {
		return nil, err
	}
	if r.Username, err = usernameOf(uaf); err != nil {
		r.Doubt = fmt.Errorf("getUafRequest: %w", err)
	}
	if marked {
		r.Doubt = errors.New("send it without a byte order mark")
	}
	return r, nil
}

// readInformation reads dispatchInformation: an object in every sample of the
// documentation, a string in its generated schema.
func (r *DispatchRequest) readInformation(o strictjson.Value) error {
	info := o.Member("dispatchInformation")
	switch info.Kind() {
	case 0:
		return nil
	case '"':
		var err error
		if info, err = strictjson.ParseObject([]byte(info.Text())); err != nil {
			r.Guesses |= GuessInformationFreeText
			return nil //nolint:nilerr // nevisFIDO may know what to do with it
		}
		r.Guesses |= GuessInformationText
	case '{':
	default:
		return errors.New("neither an object nor a string")
	}
	if err := info.RefuseVariants("notification", "data", "encodingParameters"); err != nil {
		return err
	}
	notification, err := info.Object("notification")
	if err != nil {
		return err
	}
	if err := notification.RefuseVariants("title", "body"); err != nil {
		return fmt.Errorf("notification: %w", err)
	}
	err = notification.Strings(strictjson.Text{Name: "title", To: &r.Notification.Title}, strictjson.Text{Name: "body", To: &r.Notification.Body})
	if err != nil {
		return fmt.Errorf("notification: %w", err)
	}
	r.Encoding = info.Member("encodingParameters").Raw()
	var guesses Guesses
	r.Data, guesses, err = readData(info.Member("data"))
	r.Guesses |= guesses
	return err
}

// usernameOf reads the user name out of the context, which is JSON within a
// string. What holds no object is nevisFIDO's to judge. The error says that a more
// lenient parser might find another name: limits count users.
func usernameOf(uaf strictjson.Value) (string, error) {
	if err := uaf.RefuseVariants("context"); err != nil {
		return "", err
	}
	context := uaf.Member("context")
	switch context.Kind() {
	case 0:
		return "", nil
	case '"':
		text := context.Text()
		if !strings.Contains(text, "{") {
			return "", nil
		}
		var err error
		if context, err = strictjson.ParseObject([]byte(text)); err != nil {
			return "", fmt.Errorf("context: %w", err)
		}
	case '{':
	default:
		return "", errors.New("context is neither a string nor an object")
	}
	if err := context.RefuseVariants("username"); err != nil {
		return "", fmt.Errorf("context: %w", err)
	}
	switch name := context.Member("username"); name.Kind() {
	case 0, '"':
		return name.Text(), nil
	case '0':
		return string(name.Raw()), nil
	}
	return "", errors.New("context: username is neither a string nor a number")
}

// WithDispatcher returns the body with nothing but the dispatcher's name
// changed; the member is added where the request has none.
func (r *DispatchRequest) WithDispatcher(name string) []byte {
	return r.body.With(strictjson.Edit{Name: "dispatcher", Value: strictjson.Quote(name)})
}

// DispatchAnswer is the answer of the dispatch-token service to a well-formed
// request.
type DispatchAnswer struct {
	Token     string
	SessionID string
	Result    DispatchResult
	Response  string // dispatcherInformation.response where it is a string

	body strictjson.Value
}

// ParseDispatchAnswer reads an answer strictly. The error never quotes it.
func ParseDispatchAnswer(body []byte) (*DispatchAnswer, error) {
	o, err := strictjson.ParseObject(body)
	if err != nil {
		return nil, err
	}
	a := &DispatchAnswer{body: o}
	var result string
	if err := o.Strings(strictjson.Text{Name: "token", To: &a.Token}, strictjson.Text{Name: "sessionId", To: &a.SessionID}, strictjson.Text{Name: "dispatchResult", To: &result}); err != nil {
		return nil, err
	}
	a.Result = DispatchResult(result)
	info, err := o.Object("dispatcherInformation")
	if err != nil {
		return nil, err
	}
	a.Response = info.Member("response").Text()
	return a, nil
}

// maxToken bounds a token; nevisFIDO's are UUIDs.
const maxToken = 256

// ValidToken reports whether a token consists of 1 to 256 characters that are
// safe in a URL, a header and JSON alike.
func ValidToken(token string) bool {
	if token == "" || len(token) > maxToken {
		return false
	}
	const punctuation = "-._~+/="
	for _, c := range []byte(token) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && !digit && !strings.ContainsRune(punctuation, rune(c)) {
			return false
		}
	}
	return true
}

// Outcome is what a caller learns of a dispatch.
type Outcome struct {
	Result DispatchResult

	// Members name and response of dispatcherInformation; without a response where
	// nothing was dispatched.
	Dispatcher string
	Response   json.RawMessage

	// Top-level members visualCode and visualCodePicture, which is SVG; left out
	// where empty.
	VisualCode, VisualCodePicture string
}

// WithOutcome returns the answer's text with the outcome put in place and
// every other member as nevisFIDO wrote it.
func (a *DispatchAnswer) WithOutcome(out Outcome) []byte {
	info := append([]byte(`{"name":`), strictjson.Quote(out.Dispatcher)...)
	if len(out.Response) > 0 {
		info = append(append(info, `,"response":`...), out.Response...)
	}
	edits := []strictjson.Edit{
		{Name: "dispatcherInformation", Value: append(info, '}')},
		{Name: "dispatchResult", Value: strictjson.Quote(string(out.Result))},
	}
	if out.VisualCode != "" {
		edits = append(edits, strictjson.Edit{Name: "visualCode", Value: strictjson.Quote(out.VisualCode)})
	}
	if out.VisualCodePicture != "" {
		edits = append(edits, strictjson.Edit{Name: "visualCodePicture", Value: strictjson.Quote(out.VisualCodePicture)})
	}
	return a.body.With(edits...)
}

// RefusalAnswer returns the answer to a request that was never forwarded.
func RefusalAnswer(out Outcome) []byte {
	answer, _ := ParseDispatchAnswer([]byte("{}"))
	return answer.WithOutcome(out)
}
