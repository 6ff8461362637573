package delivery

import (
	"errors"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// findKey returns the key of the target. Whether it is missing or refused looks
// the same to the caller.
func (r *run) findKey() (*encrypt.Key, *dispatchers.Error) {
	if r.dispatch.Target == nil {
		return nil, dispatchers.Fail(dispatchers.NoKey, "no_target", "encryption is required and the request names no dispatch target")
	}
	key, err := r.courier.Targets.Key(r.dispatch.Target)
	switch {
	case errors.Is(err, targets.ErrUnavailable):
		r.sealingFailed("failed")
		return nil, dispatchers.Fail(dispatchers.Broken, "damaged_record", "taking the key of the dispatch target: %w", err)
	case err != nil:
		r.sealingFailed("no_key")
		return nil, dispatchers.Fail(dispatchers.NoKey, "no_key", "encryption is required and the dispatch target has no usable key: %w", err)
	}
	return key, nil
}

// sealPayload encrypts the payload with the key of the target, once for all
// channels.
func (r *run) sealPayload() (nevisfido.Envelope, *dispatchers.Error) {
	key, failure := r.keyOnce()
	if failure != nil {
		return nevisfido.Envelope{}, failure
	}
	_, span := tracing.Start(r.dispatch.HTTP.Context(), tracing.Seal)
	defer span.End()
	jwe, err := key.Seal(r.payload.envelope.Data)
	if err != nil {
		span.Fail("seal")
		r.sealingFailed("failed")
		return nevisfido.Envelope{}, dispatchers.Fail(dispatchers.Broken, "seal", "encrypting the message: %w", err)
	}
	r.journal.sealing("sealed")
	return r.payload.envelope.Sealed(jwe), nil
}

func (r *run) sealingFailed(how string) {
	if !r.rehearsal {
		r.journal.sealing(how)
	}
}
