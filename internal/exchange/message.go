package exchange

import (
	"errors"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// A message is the out-of-band payload of one exchange, the same for every
// channel: as nevisFIDO gave it, and sealed once by us where that is needed.
type message struct {
	envelope     nevisfido.Envelope // plain, or sealed by nevisFIDO
	sealed       bool               // by nevisFIDO
	upstreamBase string             // base URL of nevisFIDO's own link; "" where it gave none

	seal func() (nevisfido.Envelope, *dispatchers.Error) // runs once
}

// newMessage takes the payload out of nevisFIDO's own link, which knows redeem
// URL and version, or builds it where the answer carries no link.
func (d *delivery) newMessage() (message, *dispatchers.Error) {
	if !nevisfido.ValidToken(d.answer.Token) {
		return message{}, dispatchers.Fail(dispatchers.Refused, "upstream_token", "nevisFIDO's answer has no usable token")
	}
	base, envelope, err := nevisfido.ParseLink(d.answer.Response)
	switch {
	case errors.Is(err, nevisfido.ErrNoPayload):
		return d.builtMessage("")
	case err != nil:
		return message{}, dispatchers.Fail(dispatchers.Refused, "upstream_payload", "reading the payload in nevisFIDO's link: %w", err)
	}
	m := message{envelope: envelope, upstreamBase: base}
	text, isText := envelope.Text()
	m.sealed = isText && encrypt.IsSealed(text)
	if m.sealed {
		m.envelope.ContentType = nevisfido.ContentTypeSealed
		return m, nil
	}
	if envelope.ContentType == nevisfido.ContentTypeSealed {
		return message{}, dispatchers.Fail(dispatchers.Refused, "upstream_payload", "the payload in nevisFIDO's link claims to be encrypted and is not")
	}
	content, err := envelope.PlainContent()
	if err != nil {
		return message{}, dispatchers.Fail(dispatchers.Refused, "upstream_payload", "reading the payload in nevisFIDO's link: %w", err)
	}
	if content.Token != d.answer.Token {
		return message{}, dispatchers.Fail(dispatchers.Refused, "token_mismatch", "the payload in nevisFIDO's link holds another token than its answer")
	}
	if content.RedeemURL == "" {
		return d.builtMessage(base)
	}
	return d.plain(m, content), nil
}

// builtMessage makes the payload where nevisFIDO gives only the token, and
// perhaps the base URL of a link.
func (d *delivery) builtMessage(base string) (message, *dispatchers.Error) {
	if d.x.RedeemURL == "" {
		return message{}, dispatchers.Fail(dispatchers.Broken, "redeem_url",
			"nevisFIDO's answer carries no link with a payload; configure redeem_url, or a dispatcher of type link as upstream_dispatcher")
	}
	m := message{upstreamBase: base}
	m.envelope.Version = nevisfido.EnvelopeVersion
	return d.plain(m, nevisfido.NewContent(d.answer.Token, d.x.RedeemURL+"/"+string(d.op))), nil
}

// plain completes a message with content, and the caller's data beside it, to
// be sealed at most once.
func (d *delivery) plain(m message, content nevisfido.Content) message {
	version := m.envelope.Version
	m.envelope = content.WithData(d.request.Data).Envelope()
	m.envelope.Version = version
	m.seal = sync.OnceValues(func() (nevisfido.Envelope, *dispatchers.Error) { return d.sealWithTargetKey(m.envelope) })
	return m
}

// envelope returns the message as the policy allows it to leave.
func (d *delivery) envelope(policy Policy) (nevisfido.Envelope, *dispatchers.Error) {
	if d.message.sealed {
		d.note("sealed_upstream")
		return d.message.envelope, nil
	}
	inClear, failure := d.mayLeaveInClear(policy)
	switch {
	case failure != nil:
		return nevisfido.Envelope{}, failure
	case inClear:
		d.note("clear")
		return d.message.envelope, nil
	}
	envelope, failure := d.message.seal()
	if failure == nil {
		d.note("sealed")
	}
	return envelope, failure
}

// mayLeaveInClear decides about a message that nevisFIDO did not encrypt. With
// preferred it may only where there is no key at all: one that was refused, or
// that nobody knows, is there.
func (d *delivery) mayLeaveInClear(policy Policy) (bool, *dispatchers.Error) {
	switch {
	case policy == Off:
		return true, nil
	case d.request.TargetID != "" && d.target == nil:
		return false, dispatchers.Fail(dispatchers.NoTarget, "unknown_target", "the dispatch target is unknown, and nevisFIDO did not encrypt the message")
	}
	return policy == Preferred && (d.target == nil || d.target.Keyless()), nil
}

func (d *delivery) note(encryption string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.record.Encryption != "clear" { // the worst is what counts
		d.record.Encryption = encryption
	}
}

// sealWithTargetKey encrypts the content with the key that the device
// registered.
func (d *delivery) sealWithTargetKey(plain nevisfido.Envelope) (nevisfido.Envelope, *dispatchers.Error) {
	key, failure := d.sealingKey()
	if failure != nil {
		outcome := "no_key"
		if failure.Class == dispatchers.Broken {
			outcome = "failed"
		}
		if d.target != nil {
			d.x.Observer.Encrypted("", "", outcome)
		}
		return nevisfido.Envelope{}, failure
	}
	alg, enc := key.Algorithms()
	jwe, err := key.Seal(plain.Data)
	if err != nil {
		d.x.Observer.Encrypted(alg, enc, "failed")
		return nevisfido.Envelope{}, dispatchers.Fail(dispatchers.Broken, "seal", "encrypting the message: %w", err)
	}
	d.x.Observer.Encrypted(alg, enc, "sealed")
	d.noteKey(key)
	return plain.Sealed(jwe), nil
}

// sealingKey returns the key of the target. Whether it is missing or bad looks
// the same to the caller.
func (d *delivery) sealingKey() (*encrypt.Key, *dispatchers.Error) {
	if d.target == nil {
		return nil, dispatchers.Fail(dispatchers.NoKey, "no_target", "encryption is required and the request names no dispatch target")
	}
	key, err := d.x.Targets.Key(d.target)
	switch {
	case errors.Is(err, targets.ErrUnavailable):
		return nil, dispatchers.Fail(dispatchers.Broken, "damaged_record", "taking the key of the dispatch target: %w", err)
	case err != nil:
		return nil, dispatchers.Fail(dispatchers.NoKey, "no_key", "encryption is required and the dispatch target has no usable key: %w", err)
	}
	return key, nil
}

func (d *delivery) noteKey(key *encrypt.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.record.Thumbprint = key.Thumbprint()
	d.record.Alg, d.record.Enc = key.Algorithms()
	d.record.KeyAge = d.x.Targets.KeyAge(d.target)
}
