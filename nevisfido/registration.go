package nevisfido

import (
	"errors"
	"fmt"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

// statusSucceeded is the UAF status code of an operation that succeeded (FIDO
// UAF protocol specification, section 3.6.4).
const statusSucceeded = "1200"

// What a registration may lack, or have too much of.
var (
	// ErrNoTarget reports a registration that brings no dispatch target, or
	// that failed.
	ErrNoTarget = errors.New("the registration brings no dispatch target")
	// ErrUnreadableTarget reports a registration that brings a dispatch
	// target which cannot be read.
	ErrUnreadableTarget = errors.New("the registration's dispatch target cannot be read")
	// ErrNoID reports an answer that does not tell the id of the new target.
	ErrNoID = errors.New("nothing in the answer is the id of a dispatch target")
	// ErrSeveralIDs reports an answer in which several ids may be the new
	// target's.
	ErrSeveralIDs = errors.New("several ids in the answer may be that of the dispatch target")
)

// ParseRegistration finds the dispatch target that an SDK sends along in the
// context of a UAF registration response (SendUAFResponse). The names inside
// the context are not documented. A target is what a member named
// dispatchTarget holds, in whichever spelling, or else an object that holds a
// dispatcher or a target and a JWK; at any depth, also as JSON within a string.
// Nothing else of the registration is searched: the assertions hold keys of
// authenticators. ErrNoTarget is returned where there is none.
func ParseRegistration(body []byte) (*TargetDescription, error) {
	o, err := strictjson.ParseObject(body)
	if err != nil {
		return nil, err
	}
	var s targetSearch
	found := s.found(o.Member("context"))
	switch {
	case s.search.exceeded:
		return nil, fmt.Errorf("%w: the context has more than %d values", ErrUnreadableTarget, maxValues)
	case len(found) == 0:
		return nil, ErrNoTarget
	case len(found) > 1:
		return nil, fmt.Errorf("%w: there are several", ErrUnreadableTarget)
	}
	t, err := readTarget(found[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadableTarget, err)
	}
	t.Guesses |= s.guesses
	return t, nil
}

// ParseRegistered returns the id of the dispatch target that nevisFIDO created
// with a registration. Where it is in the answer is not documented: it is
// searched. The error is ErrNoTarget where the registration failed, ErrNoID, or
// ErrSeveralIDs.
func ParseRegistered(body []byte) (CreatedTarget, error) {
	o, err := strictjson.ParseObject(body)
	if err != nil {
		return CreatedTarget{}, err
	}
	if status := o.Member("statusCode").Raw(); strings.Trim(string(status), `"`) != statusSucceeded {
		return CreatedTarget{}, ErrNoTarget
	}
	var s idSearch
	return s.find(o)
}
