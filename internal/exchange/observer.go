package exchange

import (
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Observer is told what happens, for metrics and audit. Its methods are called
// concurrently and must not block. Nothing that it gets is secret.
type Observer interface {
	// Exchanged is called once for every dispatch exchange that was ours.
	Exchanged(Record)
	// Attempted is called for every attempt at a delivery.
	Attempted(Attempt)
	// Encrypted is called when a message was sealed or could not be.
	Encrypted(alg, enc, outcome string)
	// Limited is called when a limit refused a request.
	Limited(dispatchers.Scope)
	// FellBack is called when a composite goes on to another member, because
	// one failed: it hides that the first is broken.
	FellBack(Fallback)
}

// Record tells of one dispatch exchange.
type Record struct {
	Time       time.Time
	Operation  nevisfido.Operation
	Dispatcher string // configured name that was asked for
	Delivered  string // name of the member that delivered, or Dispatcher
	Target     string // keyed hash of the dispatch target's id; "" where there is none
	Token      string // keyed hash of the token; "" where there is none
	Thumbprint string // of the key, RFC 7638; "" where we did not seal
	KeyAge     time.Duration
	Alg, Enc   string // JOSE names; "" where we did not seal
	Encryption string // "sealed", "sealed_upstream", "clear", or "" where nothing was made
	Result     nevisfido.DispatchResult
	Class      dispatchers.Class
	Reason     string
	Attempts   []Attempt
	Fallbacks  []Fallback
	Took       time.Duration
}

// Fallback tells that one dispatcher was tried after another had failed.
type Fallback struct {
	From, To string
	Reason   string // the failure's
}

// Attempt tells of one attempt at a delivery.
type Attempt struct {
	Dispatcher string
	Class      dispatchers.Class
	Reason     string // "" where it delivered
	Took       time.Duration
}

// NoObserver observes nothing.
type NoObserver struct{}

func (NoObserver) Exchanged(Record)          {}
func (NoObserver) Attempted(Attempt)         {}
func (NoObserver) Encrypted(_, _, _ string)  {}
func (NoObserver) Limited(dispatchers.Scope) {}
func (NoObserver) FellBack(Fallback)         {}

var _ Observer = NoObserver{}
