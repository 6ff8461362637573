package delivery

import (
	"errors"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// A payload is the out-of-band payload of one dispatch, the same for every
// channel: as nevisFIDO gave it, before we seal it.
type payload struct {
	envelope     nevisfido.Envelope // plain, or sealed by nevisFIDO
	sealed       bool               // by nevisFIDO
	upstreamBase string             // base URL of nevisFIDO's own link; "" where it gave none
}

// newPayload takes the payload out of nevisFIDO's own link, which knows redeem
// URL and version, or builds it where the answer carries no link.
func newPayload(d Dispatch, answer *nevisfido.DispatchAnswer, redeemURL string) (payload, *dispatchers.Error) {
	if !nevisfido.ValidToken(answer.Token) {
		return payload{}, dispatchers.Fail(dispatchers.Refused, "upstream_token", "nevisFIDO's answer has no usable token")
	}
	base, envelope, err := nevisfido.ParseLink(answer.Response)
	switch {
	case errors.Is(err, nevisfido.ErrNoPayload):
		return builtPayload(d, answer.Token, redeemURL, "")
	case err != nil:
		return unreadable(err)
	}
	text, isText := envelope.Text()
	if isText && encrypt.IsSealed(text) {
		envelope.ContentType = nevisfido.ContentTypeSealed
		return payload{envelope: envelope, sealed: true, upstreamBase: base}, nil
	}
	if envelope.ContentType == nevisfido.ContentTypeSealed {
		return unreadable(errors.New("it claims to be encrypted and is not"))
	}
	content, err := envelope.PlainContent()
	if err != nil {
		return unreadable(err)
	}
	if content.Token != answer.Token {
		return payload{}, dispatchers.Fail(dispatchers.Refused, "token_mismatch", "the payload in nevisFIDO's link holds another token than its answer")
	}
	if content.RedeemURL == "" {
		return builtPayload(d, answer.Token, redeemURL, base)
	}
	return payload{envelope: withCallersData(d, content, envelope.Version), upstreamBase: base}, nil
}

func unreadable(err error) (payload, *dispatchers.Error) {
	return payload{}, dispatchers.Fail(dispatchers.Refused, "upstream_payload", "reading the payload in nevisFIDO's link: %w", err)
}

// builtPayload makes the payload where nevisFIDO gives only the token, and
// perhaps the base URL of a link.
func builtPayload(d Dispatch, token, redeemURL, base string) (payload, *dispatchers.Error) {
	if redeemURL == "" {
		return payload{}, dispatchers.Fail(dispatchers.Broken, "redeem_url",
			"nevisFIDO's answer carries no link with a payload; configure redeem_url, or a dispatcher of type link as upstream_dispatcher")
	}
	content := nevisfido.NewContent(token, redeemURL+"/"+string(d.Operation))
	return payload{envelope: withCallersData(d, content, nevisfido.EnvelopeVersion), upstreamBase: base}, nil
}

func withCallersData(d Dispatch, content nevisfido.Content, version string) nevisfido.Envelope {
	envelope := content.WithData(d.Request.Data).Envelope()
	envelope.Version = version
	return envelope
}
