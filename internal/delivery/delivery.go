// Package delivery brings the message of one dispatch to the device: it lets the
// dispatch use a channel (admit.go), makes the message for each channel
// (payload.go, recipient.go, plan.go, seal.go, message.go, placeholders.go), makes
// the attempts, also by way of composites (send.go), keeps messages from addresses
// that are gone (quarantine.go), tells of those and of changed keys (notice.go),
// and keeps on record how the attempts went (journal.go). It knows nothing of HTTP
// calls between the relying party and nevisFIDO.
package delivery

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Config is what all deliveries have in common. It must not change after New.
type Config struct {
	Channels    map[string]*Channel // by name
	OnExpired   *Channel            // told when a target is quarantined; nil for none
	OnKeyChange *Channel            // for what KeyChanged tells; nil for none
	Noticed     func(Notice)        // is told how notices went; must not block
	Targets     *targets.Directory
	Links       *shortlink.Links // nil where no channel has short links

	// RedeemURL is where devices redeem tokens; "/<operation>" is appended. It
	// is "" where nevisFIDO's link tells.
	RedeemURL string
	Lifetimes map[nevisfido.Operation]time.Duration // of tokens

	Limits  []dispatchers.Limit // of all dispatchers together
	Limiter targets.Counter
	Limited func(dispatchers.Scope) // is told of each limit that refuses; exchange.New sets it

	// ClientIP returns the address that "limit client" counts.
	ClientIP func(r *http.Request) string

	// Deadline is the time for all delivery work of one dispatch.
	Deadline time.Duration

	VisualCodeDigits  int  // 0 for no visual code
	VisualCodePicture bool // messages have its picture as well

	// Lookup resolves a placeholder that is not one of ours.
	Lookup func(r *http.Request, placeholder string) (string, bool)

	// User returns what the key sources know of a user; nil where there are
	// none that know users.
	User func(ctx context.Context, username string) (*targets.User, error)

	Log *slog.Logger

	Hash *keyedhash.Key // of tokens and ids in logs and records; nil for the process's
}

// Courier delivers messages.
type Courier struct {
	Config
	background *background
}

// New makes a Courier. The error is a *CompositeError.
func New(c Config) (*Courier, error) {
	if err := Bind(c.Channels); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Channels)) {
		if _, ambiguous := c.Channels[name].addressType(); ambiguous {
			c.Log.Warn("targets that are registered for this dispatcher have no address, because its members take addresses of several kinds; "+
				"have devices name one of the members, or give all but one kind of member the option address", slog.String("dispatcher", name))
		}
	}
	return &Courier{c, newBackground()}, nil
}

// Dispatch is one dispatch as it is known before nevisFIDO has made a token.
type Dispatch struct {
	HTTP      *http.Request // the caller's
	Operation nevisfido.Operation
	Request   *nevisfido.DispatchRequest
	Target    *targets.Target // nil where the request names none, or one that we do not know
	Channel   *Channel        // one of Config.Channels; nil as long as none is chosen
	Start     time.Time
}

// Username returns whose message it is: the target's owner, or else the name
// that the caller gives.
func (d *Dispatch) Username() string {
	if d.Target != nil {
		return cmp.Or(d.Target.Username, d.Request.Username)
	}
	return d.Request.Username
}

// Result says how a delivery ended.
type Result struct {
	Receipt dispatchers.Receipt
	Failure *dispatchers.Error // nil where it delivered

	// Report returns what is on record by now. Where Receipt.Rest is set, more
	// follows until that returns.
	Report func() Report
}

// Deliver brings the message of a dispatch for which nevisFIDO has made a token.
// It goes on when the caller goes away, because nevisFIDO has created the
// session.
func (c *Courier) Deliver(d Dispatch, answer *nevisfido.DispatchAnswer) Result {
	r := c.newRun(d, answer.Token)
	var failure *dispatchers.Error
	if r.payload, failure = newPayload(d, answer, c.RedeemURL); failure != nil {
		return r.result(dispatchers.Receipt{}, failure)
	}
	return r.deliver()
}

// Rehearse tells what Deliver would do with a message that nevisFIDO gives in
// clear, without sending anything. What third parties would answer cannot be
// known. A target that nobody knows is a failure over every channel: it is what
// an operator has to learn of before the sidecar intercepts anything.
func (c *Courier) Rehearse(d Dispatch) Result {
	r := c.newRun(d, "")
	r.rehearsal = true
	switch {
	case !d.Channel.serves(d.Operation):
		return r.result(dispatchers.Receipt{}, notServed(d.Channel))
	case d.unknownTarget():
		return r.result(dispatchers.Receipt{}, dispatchers.Fail(dispatchers.NoTarget, "unknown_target", "the dispatch target is unknown"))
	}
	return r.deliver()
}

// A run is one delivery. Its members are set before it begins.
type run struct {
	courier   *Courier
	dispatch  Dispatch
	token     string // "" in a rehearsal
	tokenHash string // stands for it in logs
	payload   payload
	rehearsal bool
	log       *slog.Logger

	journal *journal
	user    *userLookup

	// The work that members of a composite have in common.
	keyOnce  func() (*encrypt.Key, *dispatchers.Error)       // findKey, once
	sealOnce func() (nevisfido.Envelope, *dispatchers.Error) // sealPayload, once
}

func (c *Courier) newRun(d Dispatch, token string) *run {
	r := &run{courier: c, dispatch: d, token: token, tokenHash: c.Hash.Of("token", token), journal: new(journal), user: new(userLookup)}
	r.log = tracing.Log(d.HTTP.Context(), c.Log)
	r.keyOnce = sync.OnceValues(r.findKey)
	r.sealOnce = sync.OnceValues(r.sealPayload)
	return r
}

func (r *run) deliver() Result {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.dispatch.HTTP.Context()), r.courier.Deadline)
	if r.dispatch.Channel.Composite != nil && !r.rehearsal {
		cancel = func() {} // members may go on until the deadline after one has delivered
	}
	defer cancel()
	receipt, err := r.deliverVia(ctx, r.dispatch.Channel, false)
	if r.rehearsal && receipt.Rest != nil {
		receipt.Rest()
		receipt.Rest = nil
	}
	if err != nil {
		return r.result(dispatchers.Receipt{Rest: receipt.Rest}, failureOf(err))
	}
	return r.result(receipt, nil)
}

func (r *run) result(receipt dispatchers.Receipt, failure *dispatchers.Error) Result {
	return Result{Receipt: receipt, Failure: failure, Report: r.journal.now}
}

// Background does work that goes on after the request that began it was
// answered.
func (c *Courier) Background(work func()) { c.background.start(work) }

// Wait waits for the work in the background, each piece of which takes Deadline
// at most. It is for servers that are about to exit.
func (c *Courier) Wait() { c.background.wait() }
