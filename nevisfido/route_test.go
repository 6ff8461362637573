package nevisfido

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/pathsafe"
)

func TestRecogniseCalls(t *testing.T) {
	for _, tc := range []struct {
		method, path string
		want         Route
	}{
		{"POST", "/nevisfido/token/dispatch/authentication", Route{Call: Dispatch, Operation: Authentication}},
		{"POST", "/nevisfido/token/dispatch/registration/", Route{Call: Dispatch, Operation: Registration}},
		{"POST", "/nevisfido/token/dispatch/deregistration", Route{Call: Dispatch, Operation: Deregistration}},
		{"POST", "//nevisfido/token//dispatch/authentication", Route{Call: Dispatch, Operation: Authentication}},
		{"POST", "/nevisfido;v=1/token/dispatch;a/authentication;x=1", Route{Call: Dispatch, Operation: Authentication}},
		{"POST", "/nevisfido/token/%64ispatch/authentication", Route{Call: Dispatch, Operation: Authentication}},
		{"POST", "/nevisfido/token/dispatch/targets", Route{Call: CreateTarget}},
		{"POST", "/nevisfido/token/dispatch/targets/", Route{Call: CreateTarget}},
		{"GET", "/nevisfido/token/dispatch/targets", Route{Call: QueryTargets}},
		{"PATCH", "/nevisfido/token/dispatch/targets/a%20b", Route{Call: ModifyTarget, ID: "a b"}},
		{"DELETE", "/nevisfido/token/dispatch/targets/4711/", Route{Call: DeleteTarget, ID: "4711"}},
		{"POST", "/nevisfido/uaf/1.1/registration/", Route{Call: RegisterResponse}},
		{"PATCH", "/nevisfido/devices/credentials/d1", Route{Call: ModifyDevice, ID: "d1"}},
		{"DELETE", "/nevisfido/devices/credentials/d1", Route{Call: DeleteDevice, ID: "d1"}},

		{"GET", "/nevisfido/token/dispatch/authentication", Route{}},
		{"HEAD", "/nevisfido/token/dispatch/authentication", Route{}},
		{"post", "/nevisfido/token/dispatch/authentication", Route{}},
		{"OPTIONS", "/nevisfido/token/dispatch/targets", Route{}},
		{"DELETE", "/nevisfido/token/dispatch/targets/", Route{}},
		{"PATCH", "/nevisfido/token/dispatch/targets/a/b", Route{}},
		{"DELETE", "/nevisfido/token/dispatch/targets/a%2fb", Route{}},
		{"DELETE", "/nevisfido/token/dispatch/targets/..%2f..", Route{}},
		{"POST", "/nevisfido/token/dispatch/", Route{}},
		{"POST", "/nevisfido/token/dispatch/other", Route{}},
		{"POST", "/nevisfido/token/dispatch/authentication/x", Route{}},
		{"POST", "/nevisfido/token/redeem/authentication", Route{}},
		{"POST", "/nevisfido/uaf/1.1/request/registration", Route{}},
		{"GET", "/nevisfido/devices/credentials/d1", Route{}},
		{"POST", "/nevisfido/devices/credentials", Route{}},
		{"POST", "/nevisfido/devices/credentials/d1/x", Route{}},
		{"POST", "/nevisfido/devices/oob/d1", Route{}},
		{"POST", "/nevisfido/status", Route{}},
		{"POST", "/nevisfido/status.json", Route{}},
		{"POST", "/nevisfido/token/dispatch.json", Route{}},
		{"POST", "/nevisfido/token/dispatch/other.json", Route{}},
		{"POST", "/nevisfido/token/dispatch/.json", Route{}},
		{"POST", "/nevisfido/token.json/dispatch/authentication", Route{}},
		{"POST", "/nevisfido/uaf/1.1/request/registration.json", Route{}},
		{"POST", "/nevisfido/favicon.ico", Route{}},
		{"POST", "/other/token/dispatch/authentication", Route{}},
		{"POST", "/nevisfido/../etc", Route{}},
		{"POST", "", Route{}},
		{"POST", "/", Route{}},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			got, err := Recognise("/nevisfido", tc.method, tc.path)
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

// Whatever a lenient server might take for a call is either recognised or
// refused, never passed on unseen.
func TestAmbiguousPathsAreRefused(t *testing.T) {
	const call = "/nevisfido/token/dispatch/authentication"
	for _, path := range []string{
		"/nevisfido/./token/dispatch/authentication",
		"/" + strings.Repeat("x", pathsafe.MaxLength),
		"/nevisfido/token/x/../dispatch/authentication",
		"/x/../nevisfido/token/dispatch/authentication",
		"/nevisfido/%2e/token/dispatch/authentication",
		"/nevisfido/token/x/%2e%2e/dispatch/authentication",
		"/nevisfido/token/x/.%2E/dispatch/authentication",
		"/nevisfido/token%2fdispatch/authentication",
		"/nevisfido/token%2Fdispatch%2Fauthentication",
		"/nevisfido/token\\dispatch/authentication",
		"/nevisfido/token%5cdispatch/authentication",
		"/nevisfido/token/dispatch/authentication%00",
		"/nevisfido/token/dispatch/authentication%00.css",
		"/nevisfido/token/dispatch/authentication%3Bx=1",
		"/nevisfido/token/dispatch/authentication%20",
		"/nevisfido/token/dispatch/authentication.",
		"/nevisfido/token/dispatch/AUTHENTICATION",
		"/NevisFido/token/dispatch/authentication",
		"/nevisfido/to\u212aen/dispatch/authentication",
		"/nevisfido/to%E2%84%AAen/dispatch/authentication",
		"/nevisfido/token/%2564ispatch/authentication",
		"/nevisfido/token/dispatch/..;/dispatch/authentication",
		"/nevisfido/token/..;x=1/token/dispatch/authentication",
		"/nevisfido%2f%2ftoken/dispatch/authentication",
		"/nevisfido/token/dispatch/authent\u0131cation",
		"/nevisfido/token/d%C4%B0spatch/authentication",
		"/nevisfido/token/dispatch/authentication%0a",
		"/nevisfido/token/dispatch/%09authentication",
		"/nevisfido/token/dispatch/authentication%23",
		"/nevisfido/token/dispatch/authentication%3fa",
		"/nevisfido/token/dispatch/authentication%C2%A0",
		call + "/.",
		call + "/x/..",
	} {
		t.Run(path, func(t *testing.T) {
			if route, err := Recognise("/nevisfido", http.MethodPost, path); !errors.Is(err, ErrAmbiguousPath) {
				t.Errorf("got %+v, %v", route, err)
			}
		})
	}
}

// Servers that match by suffix patterns, as Spring MVC does before 5.3, take
// authentication.json for the call, and targets/4711.json for target 4711.
func TestSuffixesAreRefused(t *testing.T) {
	calls := []string{
		"POST token/dispatch/authentication", "POST token/dispatch/registration", "POST token/dispatch/deregistration",
		"POST token/dispatch/targets", "GET token/dispatch/targets", "POST uaf/1.1/registration",
		"PATCH token/dispatch/targets/4711", "DELETE token/dispatch/targets/4711",
		"PATCH devices/credentials/d1", "DELETE devices/credentials/d1",
	}
	for _, suffix := range []string{
		".json", ".xml", ".html", ".x", ".do", ".action", ".JSON", "%2ejson", "%252ejson", ".json/", ".json;a=b", ".json.", ".json%20", ".tar.gz", ".json/.", ".json%00",
	} {
		for _, call := range calls {
			method, path, _ := strings.Cut(call, " ")
			if route, err := Recognise("/nevisfido", method, "/nevisfido/"+path+suffix); !errors.Is(err, ErrAmbiguousPath) {
				t.Errorf("%s%s: got %+v, %v", call, suffix, route, err)
			}
		}
	}
	for _, path := range []string{"authentication.7z", "authentication.some-thing.longer", "targets.x1"} {
		if route, err := Recognise("/nevisfido", http.MethodPost, "/nevisfido/token/dispatch/"+path); !errors.Is(err, ErrAmbiguousPath) {
			t.Errorf("%s: got %+v, %v", path, route, err)
		}
	}
}

// Jetty, Tomcat and Spring do not read the same id out of these paths.
func TestAmbiguousIDs(t *testing.T) {
	for _, id := range []string{
		"..", ".", "%2e%2e", "a%5Cb", "%00", "a%00", "a%20", "a.", "%09a", "a%0A", "a%C2%85",
		"a.7z", ".7", "1.2.3", "a.b-c", "a%2e1", "a;b;c", "a;;", ";;a", "%3ba", "a%5c0", "a\\0", "%c1%a1", "%e4",
	} {
		for _, path := range []string{"token/dispatch/targets/", "devices/credentials/"} {
			for _, method := range []string{http.MethodPatch, http.MethodDelete} {
				if route, err := Recognise("/nevisfido", method, "/nevisfido/"+path+id); !errors.Is(err, ErrAmbiguousPath) {
					t.Errorf("%s %s%s: got %+v, %v", method, path, id, route, err)
				}
			}
		}
	}
}

// Spring takes a POST with a parameter _method, of the query or of a form, for
// that method.
func TestPostsToChangesAreRefused(t *testing.T) {
	for _, path := range []string{"token/dispatch/targets/4711", "devices/credentials/d1", "devices/credentials/d1/", "x/../devices/credentials/d1", "devices/credentials/d1.json"} {
		if route, err := Recognise("/nevisfido", http.MethodPost, "/nevisfido/"+path); !errors.Is(err, ErrAmbiguousMethod) {
			t.Errorf("%s: got %+v, %v", path, route, err)
		}
	}
}

func TestOtherBasePaths(t *testing.T) {
	for base, path := range map[string]string{
		"/_app/fido/": "/_app/fido/token/dispatch/authentication",
		"/":           "/token/dispatch/authentication",
		"":            "/token/dispatch/authentication",
	} {
		route, err := Recognise(base, http.MethodPost, path)
		if err != nil || route.Call != Dispatch {
			t.Errorf("base %q: got %+v, %v", base, route, err)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	for _, path := range []string{
		"/nevisfido/token/dispatch/authentication", "/nevisfido/token/dispatch/targets/x", "/nevisfido/%2e%2e/", "/a;b//c\\%5c%00",
		"/nevisfido/token/dispatch/..;/dispatch/authentication", "%", "%zz", "/nevisfido/uaf/1.1/registration",
	} {
		f.Add("POST", path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		route, err := Recognise("/nevisfido", method, path)
		if err != nil && route != (Route{}) {
			t.Errorf("both a route and an error: %+v", route)
		}
		if route.Call != Other && !strings.Contains(strings.ToLower(path), "/") {
			t.Errorf("%q was recognised as %+v", path, route)
		}
		// A path that passes unseen must not become a call by one more decoding.
		if err == nil && route.Call == Other && strings.EqualFold(strings.Trim(path, "/"), "nevisfido/token/dispatch/authentication") && method == "POST" {
			t.Errorf("%q passed unseen", path)
		}
	})
}
