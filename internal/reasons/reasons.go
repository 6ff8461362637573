// Package reasons is the closed list of the reasons that metrics, audit lines and
// log lines give: of dispatches that failed, of calls that passed, of targets and
// keys that are not used. docs/reasons.md is made of it. The tests of docs find
// reasons in the code that are missing here, and the other way round.
package reasons

import (
	"slices"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// A Reason is one word of the list, and what it means to an operator.
type Reason struct {
	Name string

	// Classes are the outcome classes that it comes with; none where it is not one
	// of a failed dispatch. The class decides on the dispatchResult.
	Classes []dispatchers.Class

	Meaning string // a sentence
	Remedy  string // what to do; "" for nothing

	// Credentials is set where a third party refuses the sidecar's credentials.
	Credentials bool
}

// Failure returns a reason of Failures; the zero value for one that is not among
// them.
func Failure(name string) Reason {
	i := slices.IndexFunc(Failures, func(r Reason) bool { return r.Name == name })
	if i < 0 {
		return Reason{Name: name}
	}
	return Failures[i]
}

// RefusesCredentials tells whether a third party gave the reason because it refuses
// the sidecar's credentials.
func RefusesCredentials(name string) bool { return Failure(name).Credentials }

// Names returns the names of reasons, in order.
func Names(reasons []Reason) []string {
	names := make([]string, len(reasons))
	for i, r := range reasons {
		names[i] = r.Name
	}
	return names
}

func classes(c ...dispatchers.Class) []dispatchers.Class { return c }
