package operate

import (
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Test asks for a test dispatch: the body of POST /oob/send.
type Test struct {
	Dispatcher string              `json:"dispatcher"`
	Target     string              `json:"target"`
	Operation  nevisfido.Operation `json:"operation,omitempty"` // "" for authentication

	// Header stands for that of the caller, from which addresses may come.
	Header http.Header `json:"header,omitempty"`
}

// Outcome says how a test dispatch came out, in the members that a dispatch has in the
// audit trail as well. Token and target are keyed hashes.
type Outcome struct {
	Dispatcher string     `json:"dispatcher"`
	Delivered  string     `json:"delivered,omitempty"` // which one delivered
	Result     string     `json:"result"`              // what a caller would be told
	Class      string     `json:"class"`
	Reason     string     `json:"reason,omitempty"`
	Cause      string     `json:"cause,omitempty"`
	Encryption string     `json:"encryption,omitempty"`
	Alg        string     `json:"alg,omitempty"`
	Enc        string     `json:"enc,omitempty"`
	Thumbprint string     `json:"thumbprint,omitempty"`
	Token      string     `json:"token,omitempty"`
	Target     string     `json:"target"`
	Took       int64      `json:"ms"`
	Attempts   []Attempt  `json:"attempts"`
	Fallbacks  []Fallback `json:"fallbacks,omitempty"`
}

// Attempt is one attempt of a dispatch. It was not made where the dispatcher failed
// before.
type Attempt struct {
	Dispatcher string `json:"dispatcher"`
	Made       bool   `json:"made"`
	Class      string `json:"class"`
	Reason     string `json:"reason,omitempty"`
	Cause      string `json:"cause,omitempty"`
	Took       int64  `json:"ms"`
}

// Fallback is a step from one dispatcher to another.
type Fallback struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason"`
}

// Changed tells whether blocking or unblocking a target changed anything.
type Changed struct {
	Changed bool `json:"changed"`
}
