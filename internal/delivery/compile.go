package delivery

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// What becomes of a message, see Report.Encryption.
const (
	sealedByUs       = "sealed"
	sealedByUpstream = "sealed_upstream"
	clearText        = "clear"
)

// A plan says where a message goes over one channel, and how.
type plan struct {
	recipient
	encryption string       // sealedByUs, sealedByUpstream or clearText
	key        *encrypt.Key // of sealedByUs
}

// plan decides about the message for one channel. With mustSeal it may not leave
// in clear, whatever the channel's own policy. Nothing is sent, and nothing is
// encrypted yet.
func (r *run) plan(ctx context.Context, c *Channel, mustSeal bool) (plan, *dispatchers.Error) {
	to, failure := r.recipient(ctx, c)
	if failure != nil {
		return plan{}, failure
	}
	if failure := r.usable(to); failure != nil {
		return plan{}, failure
	}
	policy := c.Encryption
	if mustSeal { // because another member has to
		policy = Required
	}
	if r.payload.sealed {
		return plan{to, sealedByUpstream, nil}, nil
	}
	inClear, failure := r.mayLeaveInClear(policy)
	switch {
	case failure != nil:
		return plan{}, failure
	case inClear:
		return plan{to, clearText, nil}, nil
	}
	key, failure := r.key()
	return plan{to, sealedByUs, key}, failure
}

// usable refuses a target whose key, or whose address, where it is used, may
// have changed at nevisFIDO, and an address that is in quarantine.
func (r *run) usable(to recipient) *dispatchers.Error {
	if r.dispatch.Target == nil {
		return nil
	}
	if !r.payload.sealed && r.dispatch.Target.KeyUnsure() || to.own && r.dispatch.Target.AddressUnsure() {
		return dispatchers.Fail(dispatchers.NoKey, "stale", "the dispatch target may have changed at nevisFIDO without this sidecar; it has to be modified or registered again")
	}
	return quarantined(r.dispatch.Target, to)
}

// unknownTarget reports whether the request names a target that nobody knows.
func (d Dispatch) unknownTarget() bool { return d.Request.TargetID != "" && d.Target == nil }

// mayLeaveInClear decides about a message that nevisFIDO did not encrypt. With
// preferred it may do so only without any key: a key that was refused, or that
// nobody knows, is a key.
func (r *run) mayLeaveInClear(policy Policy) (bool, *dispatchers.Error) {
	switch {
	case policy == Off:
		return true, nil
	case r.dispatch.unknownTarget():
		return false, dispatchers.Fail(dispatchers.NoTarget, "unknown_target", "the dispatch target is unknown, and nevisFIDO did not encrypt the message")
	}
	return policy == Preferred && (r.dispatch.Target == nil || r.dispatch.Target.Keyless()), nil
}

// message makes the message that a plan describes.
func (r *run) message(ctx context.Context, c *Channel, p plan) (*dispatchers.Message, *dispatchers.Error) {
	envelope := r.payload.envelope
	if p.encryption == sealedByUs {
		var failure *dispatchers.Error
		if envelope, failure = r.seal(); failure != nil {
			return nil, failure
		}
	}
	r.noteEncryption(p)
	m := r.baseMessage(ctx, c)
	m.Address, m.Envelope, m.LinkConfigured = p.address, envelope, c.BaseURL != ""
	if base := cmp.Or(c.BaseURL, r.payload.upstreamBase); base != "" {
		m.Link = nevisfido.Link(base, envelope)
	}
	return m, nil
}

func (r *run) noteEncryption(p plan) {
	var age time.Duration
	if p.key != nil {
		age = r.courier.Targets.KeyAge(r.dispatch.Target)
	}
	r.journal.encrypted(p.encryption, p.key, age)
}

// baseMessage makes what a message holds apart from its content.
func (r *run) baseMessage(ctx context.Context, c *Channel) *dispatchers.Message {
	m := &dispatchers.Message{
		ID:                 r.tokenHash,
		Operation:          r.dispatch.Operation,
		Dispatcher:         c.Name,
		Expires:            r.dispatch.Start.Add(r.courier.Lifetimes[r.dispatch.Operation]),
		EncodingParameters: r.dispatch.Request.Encoding,
	}
	if r.courier.VisualCodePicture {
		m.VisualCodePicture = visualcode.New(r.token, r.courier.VisualCodeDigits)
	}
	m.Lookup = func(placeholder string) (string, bool) { return r.lookup(ctx, m, placeholder) }
	return m
}

// shorten puts a short link into a message where the channel has such. A message
// in clear keeps its own link: it is never kept anywhere.
func (r *run) shorten(ctx context.Context, c *Channel, m *dispatchers.Message) *dispatchers.Error {
	if c.ShortLinks == "" || m.Envelope.ContentType != nevisfido.ContentTypeSealed {
		return nil
	}
	if m.Link == "" {
		return dispatchers.Fail(dispatchers.Broken, "base_url", "nevisFIDO's answer carries no link: configure base_url of dispatcher %q", c.Name)
	}
	short, err := r.courier.Links.Shorten(ctx, c.ShortLinks, m.Link, m.ID, m.Expires)
	switch {
	case errors.Is(err, shortlink.ErrUnusable):
		return dispatchers.Fail(dispatchers.Broken, "base_url", "the base URL of the link cannot be used: %w", err)
	case errors.Is(err, shortlink.ErrTooLong):
		return dispatchers.Fail(dispatchers.Refused, "link_too_long", "the link is too long to be kept for a short one: %w", err)
	case err != nil:
		return dispatchers.Fail(dispatchers.Broken, "store_unavailable", "keeping the link that a short one leads to: %w", err)
	}
	m.Link, m.LinkConfigured, m.LinkShort = short, true, true
	return nil
}
