package nevisfido

import (
	"errors"
	"net/http"
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
	if !knownMethod(method) {
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

func knownMethod(method string) bool {
	switch method {
	case http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

func segmentsOf(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// match finds the call that the segments name. With fold the letter case is
// ignored, in Unicode's sense.
func match(base []string, method string, segments []string, fold bool) Route {
	equal := func(a, b string) bool { return a == b || fold && pathsafe.EqualFold(a, b) }
	hasPrefix := func(prefix ...string) bool {
		if len(segments) < len(prefix) {
			return false
		}
		for i, want := range prefix {
			if !equal(segments[i], want) {
				return false
			}
		}
		segments = segments[len(prefix):]
		return true
	}
	if !hasPrefix(base...) {
		return Route{}
	}
	switch {
	case hasPrefix("token", "dispatch", "targets"):
		return targetRoute(method, segments)
	case hasPrefix("token", "dispatch"):
		if method == http.MethodPost && len(segments) == 1 {
			for _, op := range Operations() {
				if equal(segments[0], string(op)) {
					return Route{Call: Dispatch, Operation: op}
				}
			}
		}
	case hasPrefix("uaf", "1.1", "registration"):
		if method == http.MethodPost && len(segments) == 0 {
			return Route{Call: RegisterResponse}
		}
	case hasPrefix("devices", "credentials"):
		return deviceRoute(method, segments)
	}
	return Route{}
}

func targetRoute(method string, rest []string) Route {
	switch {
	case len(rest) == 0 && method == http.MethodPost:
		return Route{Call: CreateTarget}
	case len(rest) == 0 && method == http.MethodGet:
		return Route{Call: QueryTargets}
	case len(rest) == 1 && method == http.MethodPatch:
		return Route{Call: ModifyTarget, ID: rest[0]}
	case len(rest) == 1 && method == http.MethodDelete:
		return Route{Call: DeleteTarget, ID: rest[0]}
	}
	return Route{}
}

func deviceRoute(method string, rest []string) Route {
	switch {
	case len(rest) == 1 && method == http.MethodPatch:
		return Route{Call: ModifyDevice, ID: rest[0]}
	case len(rest) == 1 && method == http.MethodDelete:
		return Route{Call: DeleteDevice, ID: rest[0]}
	}
	return Route{}
}
