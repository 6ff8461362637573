package device

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

const uafOK = 1200

// uafAnswer has the members of ReturnUAFRequest and of the answer to a UAF
// response (FIDO UAF application API, section 3.2).
type uafAnswer struct {
	StatusCode     int    `json:"statusCode"`
	UAFRequest     string `json:"uafRequest"`
	Op             string `json:"op"`
	LifetimeMillis int64  `json:"lifetimeMillis"`
	Description    string `json:"description"`
}

// hints are the values of op that belong to the operations.
var hints = map[nevisfido.Operation]string{
	nevisfido.Registration:   "Reg",
	nevisfido.Authentication: "Auth",
	nevisfido.Deregistration: "Dereg",
}

// Redeemed is what a token was redeemed for.
type Redeemed struct {
	Operation  nevisfido.Operation
	UAFRequest string        // the UAF message, JSON text
	Lifetime   time.Duration // for answering it
}

// Redeem redeems the message's token at its redeem URL and checks the answer. A
// token that is unknown, used or too old is an error.
func (d *Device) Redeem(ctx context.Context, m Message) (r Redeemed, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("redeeming the token: %w", err)
		}
	}()
	op := m.Operation()
	if !op.Valid() {
		return Redeemed{}, errors.New("the redeem URL does not end in an operation")
	}
	address, err := d.rewrite(m.RedeemURL)
	if err != nil {
		return Redeemed{}, err
	}
	a, err := d.doUAF(ctx, address, mediaJSON, map[string]string{"token": m.Token})
	switch {
	case err != nil:
		return Redeemed{}, err
	case a.Op != hints[op]:
		return Redeemed{}, errors.New("the answer is for another operation")
	case a.UAFRequest == "" || a.LifetimeMillis <= 0:
		return Redeemed{}, errors.New("the answer has no UAF request or no lifetime")
	}
	return Redeemed{op, a.UAFRequest, time.Duration(a.LifetimeMillis) * time.Millisecond}, nil
}

// rewrite puts Options.Frontend in place of the public front end.
func (d *Device) rewrite(redeemURL string) (string, error) {
	u, err := url.Parse(redeemURL)
	if err != nil || u.Host == "" {
		return "", errors.New("the redeem URL is not absolute")
	}
	if d.options.Frontend == "" {
		return redeemURL, nil
	}
	frontend, err := url.Parse(d.options.Frontend)
	if err != nil || frontend.Host == "" {
		return "", errors.New("the option Frontend is not an absolute URL")
	}
	u.Scheme, u.Host = frontend.Scheme, frontend.Host
	return u.String(), nil
}

// Approve answers the UAF request of an authentication, which ends the session.
// For a registration see [Device.Register]; a deregistration has no answer.
func (d *Device) Approve(ctx context.Context, r Redeemed) error {
	base, _, err := d.registration()
	if err != nil {
		return err
	}
	if r.Operation != nevisfido.Authentication {
		return fmt.Errorf("a %s is not approved this way", r.Operation)
	}
	if _, err := d.respond(ctx, base+"/uaf/1.1/authentication/", r.UAFRequest, ""); err != nil {
		return fmt.Errorf("approving the authentication: %w", err)
	}
	return nil
}

// requestRegistration asks for a registration request in band.
func (d *Device) requestRegistration(ctx context.Context, base string) (string, error) {
	a, err := d.doUAF(ctx, base+"/uaf/1.1/request/registration/", mediaUAF,
		map[string]string{"op": hints[nevisfido.Registration], "context": text(map[string]string{"username": d.options.Username})})
	if err != nil {
		return "", err
	}
	return a.UAFRequest, nil
}

// respond sends a SendUAFResponse: the request's header, the challenge, and an
// empty list of assertions.
func (d *Device) respond(ctx context.Context, address, request, uafContext string) (*uafAnswer, error) {
	var messages []struct {
		Header    jsontext.Value `json:"header"`
		Challenge string         `json:"challenge"`
	}
	if err := json.Unmarshal([]byte(request), &messages); err != nil || len(messages) != 1 {
		return nil, errors.New("the UAF request is not the text of one UAF message")
	}
	fcParams := text(map[string]string{"challenge": messages[0].Challenge})
	body := map[string]string{"uafResponse": text([]any{map[string]any{
		"header":     messages[0].Header,
		"fcParams":   base64.RawURLEncoding.EncodeToString([]byte(fcParams)),
		"assertions": []any{},
	}})}
	if uafContext != "" {
		body["context"] = uafContext
	}
	return d.doUAF(ctx, address, mediaUAF, body)
}
