package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// A delivery is the state of one dispatch exchange.
type delivery struct {
	x       *Exchange
	r       *http.Request
	op      nevisfido.Operation
	request *nevisfido.DispatchRequest
	start   time.Time

	userMu sync.Mutex
	user   *foundUser // nil until it is known what the key sources say

	channel *Channel
	target  *targets.Target // nil where the request names none, or one that we do not know
	answer  *nevisfido.DispatchAnswer
	message message

	receipt dispatchers.Receipt
	failure *dispatchers.Error // once the exchange is settled
	result  nevisfido.DispatchResult
	record  Record

	mu sync.Mutex // guards record while members deliver side by side
}

func (x *Exchange) newDelivery(r *http.Request, op nevisfido.Operation, request *nevisfido.DispatchRequest) *delivery {
	return &delivery{x: x, r: r, op: op, request: request, start: time.Now()}
}

// deliver makes the message and hands it to the channel. It goes on when the
// caller goes away: nevisFIDO has created the session.
func (d *delivery) deliver() *dispatchers.Error {
	ctx, cancel := d.x.detached(d.r)
	if d.channel.Composite != nil {
		cancel = func() {} // members may go on until the deadline after one has delivered
	}
	defer cancel()
	message, failure := d.newMessage()
	if failure != nil {
		return failure
	}
	d.message = message
	receipt, err := d.through(ctx, d.channel, false)
	if err != nil {
		d.receipt.Rest = receipt.Rest // some members may go on
		return failureOf(err)
	}
	d.receipt = receipt
	return nil
}

// through delivers over one channel. With mustSeal the message may not leave
// in clear, whatever the channel's own policy. A composite may call it from
// goroutines of its own.
func (d *delivery) through(ctx context.Context, c *Channel, mustSeal bool) (receipt dispatchers.Receipt, err error) {
	defer caught(c.Name, &err)
	deliver := d.send
	if c.Composite != nil {
		deliver = d.compose
	}
	receipt, err = deliver(ctx, c, mustSeal)
	if err == nil && receipt.Dispatcher == "" {
		receipt.Dispatcher = c.Name
	}
	return receipt, err
}

func (d *delivery) send(ctx context.Context, c *Channel, mustSeal bool) (dispatchers.Receipt, error) {
	m, failure := d.compile(ctx, c, mustSeal)
	if failure == nil {
		failure = d.shorten(ctx, c, m)
	}
	if failure != nil {
		return dispatchers.Receipt{}, failure
	}
	receipt, err := c.send(ctx, m, func(failure *dispatchers.Error, took time.Duration) { d.tried(c, failure, took) })
	if err != nil {
		d.quarantine(ctx, c, m, failureOf(err))
	}
	return receipt, err
}

// compose lets a composite use its members.
func (d *delivery) compose(ctx context.Context, c *Channel, mustSeal bool) (dispatchers.Receipt, error) {
	m := d.envelopeless(c)
	m.FellBack = d.fellBack
	return d.composeWith(ctx, c, m, mustSeal, func(ctx context.Context, member *Channel, mustSeal bool) (dispatchers.Receipt, error) {
		receipt, err := d.member(ctx, member, mustSeal)
		if err != nil {
			d.unattempted(member.Name, failureOf(err))
		}
		return receipt, err
	})
}

// composeWith lets a composite use what is done for a member of it. Where one
// of them must seal, all must: none may send in clear what another had to
// encrypt.
func (d *delivery) composeWith(ctx context.Context, c *Channel, m *dispatchers.Message, mustSeal bool,
	deliver func(context.Context, *Channel, bool) (dispatchers.Receipt, error),
) (dispatchers.Receipt, error) {
	mustSeal = mustSeal || c.mustSeal(d.x.Channels)
	m.Serves = func(name string) bool {
		member := d.x.Channels[name]
		return member == nil || member.serves(d.op, d.x.Channels) // an unknown one fails by itself
	}
	return c.Composite.Compose(ctx, m, func(ctx context.Context, name string) (dispatchers.Receipt, error) {
		member := d.x.Channels[name]
		if member == nil {
			return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Broken, "composite", "the dispatcher %q is not configured", name)
		}
		return deliver(ctx, member, mustSeal)
	})
}

func (d *delivery) member(ctx context.Context, c *Channel, mustSeal bool) (receipt dispatchers.Receipt, err error) {
	p, failure := d.admit(ctx, c, nil)
	if failure != nil {
		return dispatchers.Receipt{}, failure
	}
	defer func() {
		var failure *dispatchers.Error
		if err != nil {
			failure = failureOf(err)
		}
		d.leave(p, failure)
	}()
	return d.through(ctx, c, mustSeal)
}

// unattempted puts the outcome of a member on record that failed before there
// was an attempt, such as for want of an address.
func (d *delivery) unattempted(name string, failure *dispatchers.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.ContainsFunc(d.record.Attempts, func(a Attempt) bool { return a.Dispatcher == name }) {
		d.record.Attempts = append(d.record.Attempts, Attempt{Dispatcher: name, Class: failure.Class, Reason: failure.Reason})
	}
}

// compile makes the message for one channel: sealed as its policy says, with
// its address and its link.
func (d *delivery) compile(ctx context.Context, c *Channel, mustSeal bool) (*dispatchers.Message, *dispatchers.Error) {
	address, failure := d.address(ctx, c)
	if failure != nil {
		return nil, failure
	}
	if d.stale() && (address != "" || !d.message.sealed) {
		return nil, dispatchers.Fail(dispatchers.NoKey, "stale", "the dispatch target may have changed at nevisFIDO without this sidecar; it has to be modified or registered again")
	}
	if failure := d.quarantined(); failure != nil && address != "" && address == d.target.Address {
		return nil, failure
	}
	policy := c.Encryption
	if mustSeal { // for the sake of another member
		policy = Required
	}
	envelope, failure := d.envelope(policy)
	if failure != nil {
		return nil, failure
	}
	m := d.envelopeless(c)
	m.Address = address
	m.Envelope = envelope
	m.LinkConfigured = c.BaseURL != ""
	base := c.BaseURL
	if base == "" {
		base = d.message.upstreamBase
	}
	if base != "" {
		m.Link = nevisfido.Link(base, envelope)
	}
	return m, nil
}

// envelopeless makes what a message holds beside its content.
func (d *delivery) envelopeless(c *Channel) *dispatchers.Message {
	m := &dispatchers.Message{
		ID:                 keyedHash("token", d.answer.Token),
		Operation:          d.op,
		Dispatcher:         c.Name,
		Expires:            d.start.Add(d.x.Lifetimes[d.op]),
		EncodingParameters: d.request.Encoding,
	}
	m.Lookup = func(placeholder string) (string, bool) { return d.lookup(m, placeholder) }
	return m
}

// address finds the recipient. The target's own address is right only for the
// kind of channel that it was registered for.
func (d *delivery) address(ctx context.Context, c *Channel) (string, *dispatchers.Error) {
	optional := c.Traits.AnswersCaller || c.Traits.AddressOptional && c.Address == ""
	if c.Address.Uses("oob.user.") {
		if _, err := d.findUser(ctx); err != nil && !errors.Is(err, targets.ErrNotFound) {
			return "", dispatchers.Fail(dispatchers.Broken, "user_unavailable", "finding the address of the user: %w", err)
		}
	}
	var address string
	switch {
	case c.Address != "":
		m := &dispatchers.Message{Dispatcher: c.Name}
		m.Lookup = func(placeholder string) (string, bool) { return d.lookup(m, placeholder) }
		address = strings.Trim(m.Expand(c.Address, nil), " ")
	case c.Traits.AnswersCaller:
	case d.target != nil && d.reaches(c, d.target.Dispatcher):
		address = d.target.Address
	}
	switch {
	case strings.ContainsFunc(address, unicode.IsControl):
		return "", dispatchers.Fail(dispatchers.Refused, "address", "the address holds control characters")
	case address == "" && !optional:
		return "", dispatchers.Fail(dispatchers.NoTarget, "no_address", "the dispatch target has no address for dispatcher %q; see its option address", c.Name)
	}
	return address, nil
}

func (d *delivery) stale() bool { return d.target != nil && d.target.State() == targets.Stale }

// reaches reports whether an address that was registered for a dispatcher's
// name is one of this channel's kind.
func (d *delivery) reaches(c *Channel, name string) bool {
	if registered, ours := d.x.Channels[name]; ours {
		return registered.Type == c.Type
	}
	return name != "" && name == c.Traits.BuiltIn
}

// quarantine keeps further messages from an address that is gone. An address
// that the operator took from elsewhere is not the target's fault.
func (d *delivery) quarantine(ctx context.Context, c *Channel, m *dispatchers.Message, failure *dispatchers.Error) {
	if failure.Class != dispatchers.Expired || failure.KeepTarget || d.target == nil || m.Address == "" || m.Address != d.target.Address {
		return
	}
	if err := d.x.Targets.Expire(ctx, d.target); err != nil {
		d.x.Log.Warn("quarantining a dispatch target whose address is gone",
			zap.String("dispatcher", c.Name), zap.String("target", TargetHash(d.target.ID)), zap.Error(err))
	}
	d.giveNotice()
}

func (d *delivery) tried(c *Channel, failure *dispatchers.Error, took time.Duration) {
	attempt := Attempt{Dispatcher: c.Name, Class: dispatchers.Delivered, Took: took}
	if failure != nil {
		attempt.Class, attempt.Reason = failure.Class, failure.Reason
		d.x.Log.Warn("an attempt at a delivery failed", zap.String("dispatcher", c.Name),
			zap.String("token", keyedHash("token", d.answer.Token)), zap.Error(failure))
	}
	d.mu.Lock()
	d.record.Attempts = append(d.record.Attempts, attempt)
	d.mu.Unlock()
	d.x.Observer.Attempted(attempt)
}

func (d *delivery) fellBack(from, to string, failure *dispatchers.Error) {
	fallback := Fallback{From: from, To: to, Reason: failure.Reason}
	d.mu.Lock()
	d.record.Fallbacks = append(d.record.Fallbacks, fallback)
	d.mu.Unlock()
	d.x.Observer.FellBack(fallback)
	d.x.Log.Warn("falling back", zap.String("token", keyedHash("token", d.answer.Token)),
		zap.String("from", from), zap.String("to", to), zap.Error(failure))
}

// settle notes how the exchange ended and tells the observer and the log. The
// observer waits for members that go on, and hears of all; the caller does not.
func (d *delivery) settle(failure *dispatchers.Error) {
	took := time.Since(d.start)
	d.failure = failure
	if d.result == "" {
		d.result = dispatchers.Delivered.Result()
		if failure != nil {
			d.result = failure.Class.Result()
		}
	}
	record := d.recordOf(failure, took)
	d.log(record, failure)
	rest := d.receipt.Rest
	if rest == nil {
		d.x.Observer.Exchanged(record)
		return
	}
	d.x.background.start(func() {
		rest()
		d.x.Observer.Exchanged(d.recordOf(failure, took))
	})
}

// recordOf returns what is on record of the exchange by now.
func (d *delivery) recordOf(failure *dispatchers.Error, took time.Duration) Record {
	d.mu.Lock()
	record := d.record
	record.Attempts, record.Fallbacks = slices.Clone(record.Attempts), slices.Clone(record.Fallbacks)
	d.mu.Unlock()
	record.Time, record.Took = d.start, took
	record.Operation, record.Delivered = d.op, d.receipt.Dispatcher
	if d.channel != nil {
		record.Dispatcher = d.channel.Name
	}
	record.Target = TargetHash(d.request.TargetID)
	if d.answer != nil {
		record.Token = keyedHash("token", d.answer.Token)
	}
	record.Result, record.Class = d.result, dispatchers.Delivered
	if failure != nil {
		record.Class, record.Reason = failure.Class, failure.Reason
	}
	if known(record.Result) == "unknown" && record.Result != nevisfido.Dispatched {
		record.Result = nevisfido.DispatchError // for labels; the caller sees nevisFIDO's own
	}
	return record
}

func (d *delivery) log(record Record, failure *dispatchers.Error) {
	fields := []zap.Field{
		zap.String("operation", string(record.Operation)), zap.String("dispatcher", record.Dispatcher),
		zap.String("target", record.Target), zap.String("token", record.Token),
		zap.String("result", string(record.Result)), zap.Int("attempts", len(record.Attempts)),
		zap.Duration("took", record.Took),
	}
	if failure == nil {
		d.x.Log.Info("dispatched", append(fields, zap.String("encryption", record.Encryption))...)
		return
	}
	fields = append(fields, zap.String("class", string(record.Class)), zap.String("reason", record.Reason), zap.Error(failure.Err))
	if failure.Class == dispatchers.Broken {
		d.x.Log.Error("not dispatched", fields...)
		return
	}
	d.x.Log.Warn("not dispatched", fields...)
}

// outcome is what the caller sees.
func (d *delivery) outcome() nevisfido.Outcome {
	out := nevisfido.Outcome{Result: d.result}
	if d.channel != nil {
		out.Dispatcher.Name = d.channel.Name
	} else {
		out.Dispatcher.Name = d.request.Dispatcher
	}
	if d.result != nevisfido.Dispatched {
		return out
	}
	response, err := json.Marshal(d.receipt.Response)
	if err != nil {
		d.x.Log.Error("the dispatcher's response cannot be encoded", zap.String("type", fmt.Sprintf("%T", d.receipt.Response)))
		response = []byte(`""`)
	}
	out.Dispatcher.Name, out.Dispatcher.Response = d.receipt.Dispatcher, response
	out.VisualCode = d.visualCode()
	return out
}
