package delivery

import (
	"context"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
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
	key, failure := r.keyOnce()
	return plan{to, sealedByUs, key}, failure
}

// usable refuses a target whose key, or whose address, where it is used, may
// have changed at nevisFIDO, and an address that is in quarantine.
func (r *run) usable(to recipient) *dispatchers.Error {
	if r.dispatch.Target == nil {
		return nil
	}
	// An unsure address is no better than an unsure key: NoKey for both.
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
