package targets

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// ErrNoKey reports a target without a usable encryption key on record.
var ErrNoKey = errors.New("dispatch target has no encryption key")

var errKeyTooOld = errors.New("the dispatch target's encryption key is older than max_key_age; the device has to make a new one")

// Keyless tells whether the target has no encryption key, as far as is known:
// none was ever offered, or what was offered last is in use. A target whose key
// was refused has one that we must not use.
func (t *Target) Keyless() bool { return len(t.EncryptionKey) == 0 && t.KeyRefused == "" }

// Key returns the target's encryption key, vetted by today's policy. The error is
// ErrNoKey where the record has none, of type *encrypt.KeyError where the key is
// refused, ErrUnavailable where the record is damaged, and another one where the
// target has had the key for longer than MaxKeyAge.
func (d *Directory) Key(t *Target) (*encrypt.Key, error) {
	switch {
	case t.EncryptionKey != nil:
	case t.KeyRefused != "":
		return nil, fmt.Errorf("%w: the one that was offered is refused (%s)", ErrNoKey, t.KeyRefused)
	default:
		return nil, ErrNoKey
	}
	key, err := d.keys.get(t.EncryptionKey, d.Policy)
	if err != nil {
		return nil, err
	}
	if d.MaxKeyAge > 0 && d.KeyAge(t) > d.MaxKeyAge {
		return nil, errKeyTooOld
	}
	// A key that was damaged in the store can still be a valid key: anyone's.
	if key.Thumbprint() != t.Thumbprint {
		return nil, fmt.Errorf("%w: the record's key does not have the record's thumbprint", ErrUnavailable)
	}
	return key, nil
}

// KeyAge returns for how long the target has had its key, as far as is known:
// at least since the record was made.
func (d *Directory) KeyAge(t *Target) time.Duration {
	since := t.KeySince
	if since.IsZero() {
		since = t.Created
	}
	return d.now().Sub(since)
}

// takeEncryptionKey puts a device's key on record if it is good, else that it
// was refused: a target must not pass for keyless because its key is bad. Where
// no key is brought, an earlier refusal stands.
func (d *Directory) takeEncryptionKey(t *Target, jwk []byte, source string) []Event {
	before, since := t.Thumbprint, t.KeySince
	t.EncryptionKey, t.Thumbprint, t.KeySince = nil, "", time.Time{}
	if absent(jwk) {
		return nil
	}
	key, err := encrypt.ParseKey(jwk, d.Policy)
	if err != nil {
		refused := t.refusal(EventKeyRefused, source, err)
		t.KeyRefused = refused.Reason
		return []Event{refused}
	}
	t.KeyRefused = ""
	t.EncryptionKey, t.Thumbprint, t.KeySince = key.JWK(), key.Thumbprint(), d.now()
	if t.Thumbprint == before && !since.IsZero() {
		t.KeySince = since
	}
	return nil
}

func takeSignatureKey(t *Target, jwk []byte, source string) []Event {
	t.SignatureKey = nil
	if absent(jwk) {
		return nil
	}
	key, err := encrypt.ParseSignatureKey(jwk)
	if err != nil {
		return []Event{t.refusal(EventSignatureKeyRefused, source, err)}
	}
	t.SignatureKey = key.JWK()
	return nil
}

// takeKeys replaces both keys of a record.
func (d *Directory) takeKeys(t *Target, encryption, signature []byte) []Event {
	return append(d.takeEncryptionKey(t, encryption, t.Source), takeSignatureKey(t, signature, t.Source)...)
}

func (t *Target) event(name EventName, source, reason string) Event {
	return Event{Name: name, Ref: t.Ref(), User: t.Username, Source: source, Reason: reason, Thumbprint: t.Thumbprint}
}

// user returns whose target it is, "" where there is none.
func (t *Target) user() string {
	if t == nil {
		return ""
	}
	return t.Username
}

func absent(jwk []byte) bool {
	return len(jwk) == 0 || bytes.Equal(jwk, []byte("null")) || bytes.Equal(jwk, []byte(`""`))
}

// refusal tells that a key was refused; no error of package encrypt holds key
// material.
func (t *Target) refusal(name EventName, source string, err error) Event {
	reason := encrypt.ReasonMalformed
	if refused, ok := errors.AsType[*encrypt.KeyError](err); ok {
		reason = refused.Reason
	}
	e := t.event(name, source, string(reason))
	e.Detail = err.Error()
	return e
}
