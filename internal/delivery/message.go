package delivery

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// message makes the message that a plan describes.
func (r *run) message(ctx context.Context, c *Channel, p plan) (*dispatchers.Message, *dispatchers.Error) {
	envelope := r.payload.envelope
	if p.encryption == sealedByUs {
		var failure *dispatchers.Error
		if envelope, failure = r.sealOnce(); failure != nil {
			return nil, failure
		}
	}
	r.noteEncryption(p)
	m := r.baseMessage(ctx, c)
	m.Address, m.Envelope, m.LinkConfigured = p.address, envelope, c.BaseURL != ""
	if r.courier.VisualCodePicture {
		m.VisualCodePicture = visualcode.New(r.token, r.courier.VisualCodeDigits)
	}
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
