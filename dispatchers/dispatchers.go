// Package dispatchers is the contract between the sidecar and the channels
// that carry out-of-band messages. A channel is a Caddy guest module in the
// namespace "oob.dispatchers" that implements Dispatcher or Composite; it
// needs nothing else of this project.
//
// The sidecar chooses the channel, finds the key and the address, seals the
// message, bounds and repeats the attempts and answers the caller. A
// dispatcher makes one attempt with what it is handed and says how it went.
package dispatchers

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Namespace is the Caddy module namespace of dispatchers.
const Namespace = "oob.dispatchers"

// Dispatcher hands a message to one channel. It has to work for a while after
// its Cleanup, too: a reload does not wait for the exchanges of the old
// configuration.
type Dispatcher interface {
	// Traits tells the sidecar what the channel needs. It depends on nothing but
	// the type, except for MinLifetime and AddressOptional, and is called before
	// the dispatcher is provisioned as well.
	Traits() Traits

	// Dispatch makes one attempt. It returns when the third party has
	// answered or the context ends; see also Begin. An error should be an
	// *Error made with Fail; any other is taken for Broken, or for Temporary
	// where the context's deadline was the cause. Dispatch never repeats an
	// attempt.
	Dispatch(ctx context.Context, m *Message) (Receipt, error)
}

// Prober is a Dispatcher that can find out whether it would deliver: whether the
// third party is there and takes its credentials. It sends nothing. Key sources can
// implement it as well.
type Prober interface {
	// Probe returns nil, or an error as Dispatch does.
	Probe(ctx context.Context) error
}

// CredentialHolder is a Dispatcher that has credentials, or can have some. Key
// sources implement it as well. Which of them a third party refuses the sidecar
// learns from the outcomes of attempts.
type CredentialHolder interface {
	// LoadedCredentials tells how the credentials stand that it has loaded; none for
	// none. It may look whether files have changed, and asks nobody. It is called
	// after Provision, several times a minute.
	LoadedCredentials() []Credential
}

// Credential tells how one credential stands.
type Credential struct {
	Option  string    // that names it, such as "client_cert"
	Expires time.Time // when its end is known; zero where it has none, or nobody says

	// Err tells why what the option names now cannot be used, so that the last good
	// one is in use. It holds no secret.
	Err error
}

// Composite is a dispatcher made of dispatchers, such as a fallback.
type Composite interface {
	// Members returns the configured names of the dispatchers that it uses. It
	// is called once all dispatchers are loaded, and before that on an instance
	// that is not provisioned.
	Members() []string

	// Compose delivers by way of the members. It may use them side by side.
	Compose(ctx context.Context, d Delivery) (Receipt, error)
}

// Delivery is one message on its way through a composite.
type Delivery struct {
	// Members are the members that serve the operation of the message, in the
	// order of Composite.Members; at least one.
	Members []Member

	// FellBack puts on record that the composite goes on to another member
	// because one failed. It is never nil.
	FellBack func(from, to Member, failure *Error)
}

// Member is a dispatcher that a composite uses, for one message.
type Member struct {
	Name string // as it is configured

	// Deliver hands the message to the member, under the member's own policy,
	// address, timeout, retries and limits.
	Deliver func(ctx context.Context) (Receipt, error)
}

// Receipt is what a delivery brought.
type Receipt struct {
	// Response becomes dispatcherInformation.response. Any value that
	// encodes as JSON; a string, except for composites.
	Response any

	// Dispatcher is the name to report where it is not the dispatcher's own:
	// that of the member that delivered.
	Dispatcher string

	// StandIn is set where something of the dispatcher's own took the place of
	// its usual way, such as a folder that of a printer. It is on record as a
	// fallback from the dispatcher to that.
	StandIn *StandIn

	// Rest is set by composites that do not wait for all of their members,
	// also together with an error. It returns when the last has ended; the
	// audit trail waits for that. It is called once.
	Rest func()
}

// StandIn tells what took the place of a dispatcher's usual way, in one word that
// is always the same, and what was wrong with that way.
type StandIn struct {
	Name    string
	Failure *Error
}

// After calls f when everything has ended: at once, unless members go on.
func (r *Receipt) After(f func()) {
	rest := r.Rest
	if rest == nil {
		f()
		return
	}
	r.Rest = func() {
		defer f()
		rest()
	}
}

// SuccessfulDispatch is the response of channels that have nothing to show to
// the caller (nevisFIDO reference guide, status service example).
const SuccessfulDispatch = "successful dispatch"

// Traits is what the sidecar has to know of a channel. The zero value is right
// for a channel that hands messages to a third party and needs an address.
type Traits struct {
	// AnswersCaller is set by channels whose message goes back to the caller
	// itself, such as a QR code: they need no address, and their encryption
	// is "preferred" unless configured.
	AnswersCaller bool

	// AddressOptional is set by channels that can do without an address.
	AddressOptional bool

	// AddressLines is set by channels whose addresses may have several lines,
	// such as postal ones. Others never see a control character in one.
	AddressLines bool

	// PayloadOnly is set by channels that deliver the envelope itself and
	// never a link.
	PayloadOnly bool

	// Notices is set by channels that can carry a notice of a changed key, which has
	// neither envelope nor link, see Message.Notice.
	Notices bool

	// BuiltIn is the nevisFIDO dispatcher that uses the same kind of
	// address. A target registered for it can be reached over this channel.
	BuiltIn string

	// MinLifetime is how long a token has to live for its message to be sent, as
	// the options of the dispatcher have it; 0 for any time. The sidecar warns of
	// a dispatcher for which no token lives long enough.
	MinLifetime time.Duration

	// Limits hold for this channel unless the operator sets its own.
	Limits []Limit
}

// Scope says whose requests a limit counts.
type Scope string

// The scopes of a limit.
const (
	PerTarget Scope = "target"
	PerUser   Scope = "user"
	PerClient Scope = "client"
)

// Limit allows N dispatches in any window of the given length.
type Limit struct {
	Scope  Scope
	N      int
	Window time.Duration
}

// Message is what one attempt delivers. Dispatchers must not change it, keep
// it, or log any part of it except the ID.
type Message struct {
	// ID is a keyed hash of the token: the same for every attempt and member
	// of one exchange, different for every exchange, and safe to show.
	ID string

	Operation  nevisfido.Operation
	Dispatcher string // configured name of the dispatcher
	Address    string // the recipient on this channel; "" where it needs none

	// Envelope is the out-of-band payload, sealed unless the dispatcher's
	// policy allows clear text. Its Data is empty in a notice.
	Envelope nevisfido.Envelope

	// Link opens the app with the envelope, by way of a page where the
	// dispatcher has short links; "" where neither base_url nor a link of
	// nevisFIDO's gives its base.
	Link string

	// LinkConfigured is set where the dispatcher has a base_url of its own, or
	// the link is a short one.
	LinkConfigured bool

	// LinkShort is set where the link is a short one: the medium is too small
	// for the envelope, which need not be in the message.
	LinkShort bool

	// Expires is when the token dies, as far as the configuration knows.
	Expires time.Time

	// EncodingParameters is the request's member of that name as it came;
	// see nevisfido.ParseEncodingParameters.
	EncodingParameters []byte

	// Notice is what a notice tells of: "expired", that the address of a target is
	// gone; "learned", that a user has a new target; "key_changed", that one has
	// another key. It is "" in a message to a device.
	Notice string

	// VisualCodePicture is the picture of the visual code for channels that can
	// show one, as SVG or PNG; nil where there is none. Its digits are the
	// placeholder oob.visual_code.
	VisualCodePicture *visualcode.Picture

	// Lookup returns the value of a placeholder, given without braces. Use
	// Expand.
	Lookup func(placeholder string) (value string, ok bool)
}

// CodeContent returns what a QR code of the message holds: the link where the
// dispatcher has a base_url or short links, which any camera can follow, and
// otherwise the bare envelope, which only the app can read.
func (m *Message) CodeContent() string {
	if m.LinkConfigured {
		return m.Link
	}
	return m.Envelope.Encoded()
}

// unknownLifetime is how long messages are worth keeping whose end is not known.
const unknownLifetime = 5 * time.Minute

// TimeLeft returns how long a third party should keep the message for a device
// that is off: as long as the token lives, in whole seconds; 0 for now or never.
func (m *Message) TimeLeft(now time.Time) time.Duration {
	if m.Expires.IsZero() {
		return unknownLifetime
	}
	return max(m.Expires.Sub(now), 0).Truncate(time.Second)
}

// Expand fills a template with the message's values, each passed through
// escape (nil for none).
func (m *Message) Expand(t Template, escape func(string) string) string {
	return t.expand(m.Lookup, escape)
}

// DeliveryID is the same for all attempts of one dispatcher, and another for
// each of the dispatchers that deliver the message, whose mails, letters and
// requests differ. It holds nothing but letters, digits, "_", "-" and "~".
func (m *Message) DeliveryID() string {
	return m.ID + "_" + strings.ReplaceAll(m.Dispatcher, ".", "~")
}

var deliveryID = regexp.MustCompile(`^[A-Za-z0-9_~-]{1,200}$`)

// ValidDeliveryID reports whether a text can be a DeliveryID, and with that the
// name of a file or of a print job, and the first half of a Message-ID.
func ValidDeliveryID(text string) bool { return deliveryID.MatchString(text) }

// String keeps a message out of logs.
func (m *Message) String() string { return "message " + m.ID }

// GoString keeps a message out of logs.
func (m *Message) GoString() string { return m.String() }
