package exchange

import (
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Observer is told what happens, for metrics and audit. Its methods are called
// concurrently and must not block. Nothing that it gets is secret.
type Observer interface {
	// Exchanged is called once for every dispatch that was ours. It waits for
	// members of a composite that go on after the caller has its answer.
	Exchanged(Record)
	// Limited is called when a limit refused a dispatch, or a member of one.
	Limited(dispatchers.Scope)
	// Passed is called for a dispatch call that was not ours, with one of the
	// reasons Passed….
	Passed(reason string)
	// Asked is called when nevisFIDO has answered a dispatch request of ours, or
	// broken off, or took too long.
	Asked(took time.Duration)
	// Guessed is called for each call that was read with the help of guesses, and
	// for each target that was learned so.
	Guessed(nevisfido.Guesses)
}
