package exchange

import (
	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// A conclusion says how a dispatch came out.
type conclusion struct {
	failure  *dispatchers.Error       // nil where it delivered
	result   nevisfido.DispatchResult // "" for that of the failure's class
	token    string                   // "" where nevisFIDO made none
	session  string                   // "" where nevisFIDO made none
	delivery delivery.Result          // zero where it did not come to a delivery
	test     bool                     // by Send

	// reply writes the answer to the caller. Who concludes knows what that is: the
	// answer of nevisFIDO with the outcome in it, as it came, or one of our own.
	reply func(nevisfido.Outcome) error
}

// failed is the conclusion of a dispatch that did not come to a delivery.
func failed(failure *dispatchers.Error, reply func(nevisfido.Outcome) error) conclusion {
	return conclusion{failure: failure, reply: reply}
}

// soFar returns what is on record of the delivery by now.
func (e conclusion) soFar() delivery.Report {
	if e.delivery.Report == nil {
		return delivery.Report{}
	}
	return e.delivery.Report()
}

func (e conclusion) dispatchResult() nevisfido.DispatchResult {
	switch {
	case e.result != "":
		return e.result
	case e.failure != nil:
		return e.failure.Class.Result()
	}
	return nevisfido.Dispatched
}
