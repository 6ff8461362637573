package nevisfido

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// DispatchRequest is a request of the dispatch-token service (nevisFIDO
// reference guide, dispatch token service).
type DispatchRequest struct {
	Dispatcher   string // "" where the request names none
	TargetID     string // dispatchTargetId, "" where the request names none
	Username     string // from getUafRequest.context; the caller's word
	Notification Notification
	Data         Data
	Encoding     jsontext.Value // encodingParameters as they came; see ParseEncodingParameters

	body *object
}

// Notification is the visible part of a push message.
type Notification struct{ Title, Body string }

// ParseDispatchRequest reads the body of a dispatch request strictly. Members
// that it does not know are kept by WithDispatcher and otherwise ignored. The
// error never quotes the body.
func ParseDispatchRequest(body []byte) (*DispatchRequest, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	if err := o.refuseVariants("dispatchTargetId", "dispatcher", "dispatchInformation", "getUafRequest"); err != nil {
		return nil, err
	}
	r := &DispatchRequest{body: o}
	if err := o.strings(map[string]*string{"dispatcher": &r.Dispatcher, "dispatchTargetId": &r.TargetID}); err != nil {
		return nil, err
	}
	if err := r.readInformation(o); err != nil {
		return nil, fmt.Errorf("dispatchInformation: %w", err)
	}
	uaf, err := o.object("getUafRequest")
	if err != nil {
		return nil, err
	}
	if uaf != nil {
		r.Username = usernameOf(uaf)
	}
	return r, nil
}

// readInformation reads dispatchInformation: an object in every sample of the
// documentation, a string in its generated schema.
func (r *DispatchRequest) readInformation(o *object) error {
	raw := o.raw("dispatchInformation")
	if raw == nil {
		return nil
	}
	if raw.Kind() == '"' {
		raw = jsontext.Value(unquote(raw))
		if _, err := parseObject(raw); err != nil {
			return nil //nolint:nilerr // free text: nevisFIDO may know what to do with it
		}
	}
	info, err := parseObject(raw)
	if err != nil {
		return err
	}
	if err := info.refuseVariants("notification", "data", "encodingParameters"); err != nil {
		return err
	}
	notification, err := info.object("notification")
	if err != nil {
		return err
	}
	if notification != nil {
		err := notification.strings(map[string]*string{"title": &r.Notification.Title, "body": &r.Notification.Body})
		if err != nil {
			return fmt.Errorf("notification: %w", err)
		}
	}
	r.Encoding = info.raw("encodingParameters")
	r.Data, err = parseData(info.raw("data"))
	return err
}

// usernameOf reads the user name out of the context, which is JSON within a
// string. What cannot be read is nevisFIDO's to judge.
func usernameOf(uaf *object) string {
	context, err := uaf.string("context")
	if err != nil || context == "" {
		return ""
	}
	inner, err := parseObject([]byte(context))
	if err != nil {
		return ""
	}
	username, err := inner.string("username")
	if err != nil {
		return ""
	}
	return username
}

// WithDispatcher returns the body with nothing but the dispatcher's name
// changed; the member is added where the request has none.
func (r *DispatchRequest) WithDispatcher(name string) []byte {
	return r.body.apply(edit{"dispatcher", quote(name)})
}

// DispatchAnswer is the answer of the dispatch-token service to a well-formed
// request.
type DispatchAnswer struct {
	Token     string
	SessionID string
	Result    DispatchResult
	Response  string // dispatcherInformation.response where it is a string

	body *object
}

// ParseDispatchAnswer reads an answer strictly. The error never quotes it.
func ParseDispatchAnswer(body []byte) (*DispatchAnswer, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	a := &DispatchAnswer{body: o}
	var result string
	if err := o.strings(map[string]*string{"token": &a.Token, "sessionId": &a.SessionID, "dispatchResult": &result}); err != nil {
		return nil, err
	}
	a.Result = DispatchResult(result)
	info, err := o.object("dispatcherInformation")
	if err != nil {
		return nil, err
	}
	if info != nil {
		if response := info.raw("response"); response.Kind() == '"' {
			a.Response = unquote(response)
		}
	}
	return a, nil
}

// DispatcherInformation is the member of that name in a dispatch answer.
type DispatcherInformation struct {
	Name     string         `json:"name"`
	Response jsontext.Value `json:"response,omitzero"` // left out where nothing was dispatched
}

// Outcome is what a caller learns of a dispatch.
type Outcome struct {
	Result     DispatchResult
	Dispatcher DispatcherInformation
	VisualCode string // top-level member visualCode; left out where empty
}

// WithOutcome returns the answer's text with the outcome put in place and
// every other member as nevisFIDO wrote it.
func (a *DispatchAnswer) WithOutcome(out Outcome) []byte {
	edits := []edit{
		{"dispatcherInformation", marshal(out.Dispatcher)},
		{"dispatchResult", quote(string(out.Result))},
	}
	if out.VisualCode != "" {
		edits = append(edits, edit{"visualCode", quote(out.VisualCode)})
	}
	return a.body.apply(edits...)
}

// RefusalAnswer returns the answer to a request that was never forwarded.
func RefusalAnswer(out Outcome) []byte {
	empty := DispatchAnswer{body: &object{text: []byte("{}")}}
	return empty.WithOutcome(out)
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
