package nevisfido

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/pathsafe"
)

// Call names the calls of nevisFIDO's HTTP API that concern out-of-band messages.
type Call int

// The calls. Everything else is Other.
const (
	Other            Call = iota
	Dispatch              // POST token/dispatch/<operation>
	CreateTarget          // POST token/dispatch/targets
	QueryTargets          // GET token/dispatch/targets
	ModifyTarget          // PATCH token/dispatch/targets/<id>
	DeleteTarget          // DELETE token/dispatch/targets/<id>
	RegisterResponse      // POST uaf/1.1/registration
	ModifyDevice          // PATCH devices/credentials/<device id>
	DeleteDevice          // DELETE devices/credentials/<device id>
)

// Route is what the method and the path of a request say.
type Route struct {
	Call      Call
	Operation Operation // of Dispatch
	ID        string    // of the dispatch target, or of the device
}

// ErrAmbiguousPath reports a path that some servers would read as one of the
// calls and others would not.
var ErrAmbiguousPath = errors.New("the path is spelled ambiguously: send it without dot segments, backslashes, encoded slashes, suffixes, dots in an id and the like")

// ErrAmbiguousMethod reports a POST that some servers would take for the PATCH or
// DELETE of one of the calls.
var ErrAmbiguousMethod = errors.New("a server may take this POST for a PATCH or DELETE: send it with the method that is meant")

// Recognise tells which call a request is. The path is the escaped path as it
// was received; it is normalised for recognition only: percent-decoded once,
// ";parameters" cut from each segment, repeated slashes folded, one trailing
// slash allowed. base is the base path, such as "/nevisfido".
//
// A path that only a more lenient reading takes for a call is refused with
// ErrAmbiguousPath, so that nothing gets round the sidecar. So is a call with a
// suffix, such as authentication.json: servers that match by suffix patterns
// route it to the call, and cut an ID at its last dot, so that an ID with a dot is
// refused, and one that is not UTF-8. So is a path of more than 8 KiB.
//
// A POST to the path of a call that is a PATCH or DELETE is refused with
// ErrAmbiguousMethod: nevisFIDO documents none, and Spring's
// HiddenHttpMethodFilter, which Spring Boot has by default before 2.2, takes it
// for what its parameter _method says.
func Recognise(base, method, escapedPath string) (Route, error) {
	route, err := recognise(base, method, escapedPath)
	if method != http.MethodPost || route.Call != Other || err != nil {
		return route, err
	}
	for _, other := range []string{http.MethodPatch, http.MethodDelete} {
		if route, err := recognise(base, other, escapedPath); route.Call != Other || err != nil {
			return Route{}, ErrAmbiguousMethod
		}
	}
	return Route{}, nil
}

func recognise(base, method, escapedPath string) (Route, error) {
	switch method {
	case http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodDelete:
	default:
		return Route{}, nil
	}
	if len(escapedPath) > pathsafe.MaxLength {
		return Route{}, ErrAmbiguousPath
	}
	baseSegments := segmentsOf(base)
	if segments, ok := pathsafe.Canonical(escapedPath); ok {
		switch route := match(baseSegments, method, segments, false); {
		case route.Call == Other:
		case pathsafe.Ambiguous(route.ID):
			return Route{}, ErrAmbiguousPath
		default:
			return route, nil
		}
	}
	for _, segments := range pathsafe.Lenient(escapedPath) {
		if match(baseSegments, method, segments, true).Call != Other {
			return Route{}, ErrAmbiguousPath
		}
	}
	return Route{}, nil
}

func segmentsOf(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// anyID stands for the id in the segments of a call. No segment of a path is empty.
const anyID = ""

// calls are all that are recognised, by their segments below the base path.
var calls = []struct {
	method   string
	segments []string
	route    Route
}{
	{http.MethodPost, []string{"token", "dispatch", string(Registration)}, Route{Call: Dispatch, Operation: Registration}},
	{http.MethodPost, []string{"token", "dispatch", string(Authentication)}, Route{Call: Dispatch, Operation: Authentication}},
	{http.MethodPost, []string{"token", "dispatch", string(Deregistration)}, Route{Call: Dispatch, Operation: Deregistration}},
	{http.MethodPost, []string{"token", "dispatch", "targets"}, Route{Call: CreateTarget}},
	{http.MethodGet, []string{"token", "dispatch", "targets"}, Route{Call: QueryTargets}},
	{http.MethodPatch, []string{"token", "dispatch", "targets", anyID}, Route{Call: ModifyTarget}},
	{http.MethodDelete, []string{"token", "dispatch", "targets", anyID}, Route{Call: DeleteTarget}},
	{http.MethodPost, []string{"uaf", "1.1", "registration"}, Route{Call: RegisterResponse}},
	{http.MethodPatch, []string{"devices", "credentials", anyID}, Route{Call: ModifyDevice}},
	{http.MethodDelete, []string{"devices", "credentials", anyID}, Route{Call: DeleteDevice}},
}

// match finds the call that the segments name. With fold the letter case is
// ignored, in Unicode's sense.
func match(base []string, method string, segments []string, fold bool) Route {
	equal := func(got, want string) bool {
		return got == want || want == anyID || fold && pathsafe.EqualFold(got, want)
	}
	if len(segments) < len(base) || !slices.EqualFunc(segments[:len(base)], base, equal) {
		return Route{}
	}
	segments = segments[len(base):]
	for _, c := range calls {
		if c.method == method && slices.EqualFunc(segments, c.segments, equal) {
			route := c.route
			if last := len(segments) - 1; c.segments[last] == anyID {
				route.ID = segments[last]
			}
			return route
		}
	}
	return Route{}
}
