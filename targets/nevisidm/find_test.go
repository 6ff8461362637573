package nevisidm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func TestFind(t *testing.T) {
	entity, credential := phone("one"), phone("one")
	credential.Credential = true
	for name, test := range map[string]struct {
		release  idm.Release
		target   idm.Target
		user     string
		change   func(*Source)
		requests int
	}{
		"entity":                             {idm.V8_2605, entity, "u-1", api(apiEntities), 1},
		"entity, auto":                       {idm.V8_2605, entity, "u-1", nil, 1},
		"credential":                         {idm.V8_2511, credential, "u-1", api(apiCredentials), 1},
		"credential of LTS21, auto":          {idm.LTS21, credential, "u-1", nil, 2},
		"credential not migrated yet, auto":  {idm.V8_2605, credential, "u-1", nil, 2},
		"entity, by login id":                {idm.V8_2605, entity, "jeff", func(s *Source) { s.Username = usernameLoginID }, 2},
		"credential, by login id":            {idm.V8_2511, credential, "jeff", func(s *Source) { s.Username = usernameLoginID }, 3},
		"login id in another case":           {idm.V8_2605, entity, "Jeff", func(s *Source) { s.Username = usernameLoginID }, 2},
		"entity with the old identification": {idm.V8_2605, withExtID(entity, "dispatch_target_one"), "u-1", nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, idm.Options{Release: test.release})
			server.SetTarget("u-1", phone("other"))
			server.SetTarget("u-1", test.target)
			s := newSource(t, server, test.change)
			found, err := s.Find(of(t, test.user), one)
			if err != nil {
				t.Fatal(err)
			}
			if found.Namespace != "bank" || found.ID != "one" || found.Username != test.user || found.ExtID == "" ||
				found.DeviceID != "device-1" || found.Name != "Jeff's phone" || found.Address != "push-token" ||
				found.Dispatcher != "fcm" || found.Created.IsZero() {
				t.Errorf("found %+v", found)
			}
			if !bytes.Equal(unquoted(t, found.EncryptionKey), rsaKey.JWK()) || !bytes.Equal(unquoted(t, found.SignatureKey), signatureKey.JWK()) {
				t.Errorf("the keys are %s and %s", found.EncryptionKey, found.SignatureKey)
			}
			if n := len(server.Requests()); n != test.requests {
				t.Errorf("nevisIDM was asked %d times, want %d: %v", n, test.requests, server.Requests())
			}
		})
	}
}

func withExtID(t idm.Target, extID string) idm.Target {
	t.ExtID = extID
	return t
}

func TestFindNothing(t *testing.T) {
	disabled, disabledCredential := phone("one"), phone("one")
	disabled.State, disabledCredential.State = "disabled", "disabled"
	disabledCredential.Credential = true
	activeCredential := phone("one")
	activeCredential.Credential = true
	for name, test := range map[string]struct {
		user   string
		target []idm.Target
		owner  string
		change func(*Source)
	}{
		"no targets":                      {"u-1", nil, "", nil},
		"another target":                  {"u-1", []idm.Target{phone("onetwo"), phone("xone")}, "u-1", nil},
		"target of another user":          {"u-1", []idm.Target{phone("one")}, "u-2", nil},
		"unknown user":                    {"u-3", []idm.Target{phone("one")}, "u-1", nil},
		"unknown login id":                {"u-1", []idm.Target{phone("one")}, "u-1", func(s *Source) { s.Username = usernameLoginID }},
		"disabled entity":                 {"u-1", []idm.Target{disabled}, "u-1", nil},
		"disabled credential":             {"u-1", []idm.Target{disabledCredential}, "u-1", nil},
		"entity disabled, old one active": {"u-1", []idm.Target{disabled, activeCredential}, "u-1", nil},
		"user of a folder":                {"..", []idm.Target{phone("one")}, "u-1", nil},
		"user with control characters":    {"u-1\r\n", []idm.Target{phone("one")}, "u-1", nil},
		"user of bad UTF-8":               {"u\xff", []idm.Target{phone("one")}, "u-1", nil},
		"long user":                       {strings.Repeat("u", 5000), []idm.Target{phone("one")}, "u-1", nil},
		"unknown client":                  {"u-1", []idm.Target{phone("one")}, "u-1", func(s *Source) { s.Client = "200" }},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, idm.Options{})
			for _, target := range test.target {
				server.SetTarget(test.owner, target)
			}
			s := newSource(t, server, test.change)
			if found, err := s.Find(of(t, test.user), one); !errors.Is(err, targets.ErrNotFound) {
				t.Errorf("found %+v, error %v", found, err)
			}
		})
	}
}

// A probe tells whether nevisIDM is there and takes the credentials.
func TestProbe(t *testing.T) {
	wrong := func(s *Source) { s.Auth = &Auth{Bearer: "wrong"} }
	for name, test := range map[string]struct {
		change func(*Source)
		works  bool
	}{
		"all well":       {nil, true},
		"by login id":    {func(s *Source) { s.Username = usernameLoginID }, true},
		"wrong token":    {wrong, false},
		"nobody listens": {func(s *Source) { s.URL = "http://" + testservice.FreeAddress(t) }, false},
		"another path":   {func(s *Source) { s.URL += "/elsewhere" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, start(t, idm.Options{Login: idm.Login{Bearer: "token"}}), test.change)
			if err := s.Probe(t.Context()); (err == nil) != test.works {
				t.Errorf("the probe ended with %v", err)
			}
		})
	}
}

// A name from a request stays one segment of the path, whatever is in it.
func TestNamesStayInTheirSegment(t *testing.T) {
	server := start(t, idm.Options{})
	s := newSource(t, server, api(apiEntities))
	for _, name := range []string{"../u-1", "u-1/dispatch-targets?x=", "a;b", "a%2fb", "a#b", "ü", "a b", `a\b`} {
		before := len(server.Requests())
		_, err := s.Find(of(t, name), one)
		if err == nil {
			t.Errorf("%q: found something", name)
		}
		requests := server.Requests()[before:]
		if len(requests) != 1 || strings.Count(requests[0].URI, "/") != 8 ||
			!strings.HasSuffix(requests[0].URI, "/dispatch-targets?limit=200") {
			t.Errorf("%q asked for %v", name, requests)
		}
	}
}

func TestDisabledTwinsDoNotCount(t *testing.T) {
	server := start(t, idm.Options{})
	old := phone("one")
	old.State, old.EncryptionKey = "disabled", string(ecKey.JWK())
	server.SetTarget("u-1", old)
	server.SetTarget("u-1", phone("one"))
	found, err := newSource(t, server, nil).Find(of(t, "u-1"), one)
	if err != nil || !bytes.Equal(unquoted(t, found.EncryptionKey), rsaKey.JWK()) {
		t.Errorf("found %+v, error %v", found, err)
	}
}

func TestPages(t *testing.T) {
	for _, size := range []int{1, 3, 7, 50} {
		server := start(t, idm.Options{MaxPage: size, Release: idm.V8_2511})
		for i := range 20 {
			server.SetTarget("u-1", phone(fmt.Sprint(i)))
		}
		s := newSource(t, server, nil)
		for i := range 20 {
			found, err := s.Find(of(t, "u-1"), targets.Ref{ID: fmt.Sprint(i)})
			if err != nil || found.ID != fmt.Sprint(i) {
				t.Errorf("pages of %d: target %d gave %+v, error %v", size, i, found, err)
			}
		}
		if _, err := s.Find(of(t, "u-1"), targets.Ref{ID: "20"}); !errors.Is(err, targets.ErrNotFound) {
			t.Errorf("pages of %d: got error %v, want ErrNotFound", size, err)
		}
	}
}

func TestTooManyPages(t *testing.T) {
	server := start(t, idm.Options{MaxPage: 1})
	for i := range maxPages + 1 {
		server.SetTarget("u-1", phone(fmt.Sprint(i)))
	}
	wantFailure(t, newSource(t, server, api(apiEntities)), "more than 100 pages")
	if n := len(server.Requests()); n != maxPages {
		t.Errorf("nevisIDM was asked %d times, want %d", n, maxPages)
	}
}

// wantFailure checks that a lookup fails, and not as if there were nothing.
func wantFailure(t *testing.T, s *Source, part string) {
	t.Helper()
	found, err := s.Find(of(t, "u-1"), one)
	switch {
	case err == nil:
		t.Errorf("found %+v", found)
	case errors.Is(err, targets.ErrNotFound) || !strings.Contains(err.Error(), part):
		t.Errorf("got error %v, want one with %q", err, part)
	}
}

func TestScan(t *testing.T) {
	scan := func(s *Source) { s.Scan = true }
	server := start(t, idm.Options{Release: idm.V8_2511, MaxPage: 2})
	for i := range 9 {
		server.SetTarget("u-2", phone(fmt.Sprint(i)))
	}
	server.SetTarget("u-1", phone("one"))
	found, err := newSource(t, server, scan).Find(t.Context(), one)
	if err != nil || found.Username != "u-1" {
		t.Errorf("found %+v, error %v", found, err)
	}
	byLogin := newSource(t, server, func(s *Source) { s.Scan, s.Username = true, usernameLoginID })
	if found, err = byLogin.Find(t.Context(), one); err != nil || found.Username != "" {
		t.Errorf("by login id: found %+v, error %v", found, err)
	}
	if _, err := newSource(t, server, scan).Find(t.Context(), targets.Ref{ID: "two"}); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}

	if _, err := newSource(t, server, nil).Find(t.Context(), one); err == nil || errors.Is(err, targets.ErrNotFound) {
		t.Errorf("without scan: got error %v", err)
	}
	old := start(t, idm.Options{Release: idm.LTS21})
	if _, err := newSource(t, old, scan).Find(t.Context(), one); err == nil || errors.Is(err, targets.ErrNotFound) {
		t.Errorf("a release without the list: got error %v", err)
	}
}

func TestHostileAnswers(t *testing.T) {
	const secret = "canary"
	target := `{"extId":"one","state":"active","target":"canary"}`
	for name, test := range map[string]struct {
		fault fault.Fault
		want  string
	}{
		"unauthorized":            {fault.Answer(http.StatusUnauthorized, nil, secret), "check auth"},
		"forbidden":               {fault.Answer(http.StatusForbidden, nil, secret), "permissions"},
		"bad request":             {fault.Answer(http.StatusBadRequest, nil, secret), "400"},
		"unprocessable":           {fault.Answer(http.StatusUnprocessableEntity, nil, secret), "422"},
		"too many requests":       {fault.Answer(http.StatusTooManyRequests, nil, secret), "too busy"},
		"server error":            {fault.Answer(http.StatusInternalServerError, nil, secret), "500"},
		"unavailable":             {fault.HTML(http.StatusServiceUnavailable), "503"},
		"no content":              {fault.Answer(http.StatusNoContent, nil, ""), "204"},
		"404 of a proxy":          {fault.HTML(http.StatusNotFound), "check url"},
		"login page":              {fault.HTML(http.StatusOK), "not JSON"},
		"no media type":           {fault.Answer(http.StatusOK, http.Header{"Content-Type": {""}}, `{"items":[]}`), "not JSON"},
		"redirect":                {fault.Redirect("https://idm.example.com/canary"), "redirects are not followed"},
		"closed":                  {fault.Reset, "broke before"},
		"truncated":               {fault.Truncated, "broke"},
		"endless":                 {fault.Flood, "max_response"},
		"empty":                   {fault.JSON(""), "form"},
		"not JSON":                {fault.JSON("<canary>"), "form"},
		"no list":                 {fault.JSON("{}"), "not a list"},
		"null":                    {fault.JSON("null"), "not a list"},
		"list on the outside":     {fault.JSON("[" + target + "]"), "form"},
		"items of a wrong type":   {fault.JSON(`{"items":["canary"]}`), "form"},
		"members of a wrong type": {fault.JSON(`{"items":[{"extId":"one","state":{"canary":1}}]}`), "form"},
		"id of a wrong type":      {fault.JSON(`{"items":[{"extId":["one"],"state":"active"}]}`), "form"},
		"member twice":            {fault.JSON(`{"items":[],"items":[` + target + `]}`), "form"},
		"bad UTF-8":               {fault.JSON("{\"items\":[{\"extId\":\"\xff\"}]}"), "form"},
		"trailing junk":           {fault.JSON(`{"items":[]} canary`), "form"},
		"twice active":            {fault.JSON(`{"items":[` + target + `,` + target + `]}`), "several active"},
		"no state":                {fault.JSON(`{"items":[{"extId":"one"}]}`), "no state"},
		"deep":                    {fault.JSON(`{"items":` + strings.Repeat("[", 100_000)), "form"},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, idm.Options{})
			server.Script(test.fault)
			s := newSource(t, server, api(apiEntities))
			wantFailure(t, s, test.want)
			if n := len(server.Requests()); n != 1 {
				t.Errorf("nevisIDM was asked %d times", n)
			}
			server.Script(test.fault)
			if _, err := s.Find(of(t, "u-1"), one); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the answer: %v", err)
			}
			server.SetTarget("u-1", phone("one"))
			if _, err := s.Find(of(t, "u-1"), one); err != nil { // nothing bad is remembered
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

func TestPagesThatGoNowhere(t *testing.T) {
	page := fault.JSON(`{"items":[{"extId":"a","state":"active"}],"_pagination":{"continuationToken":"again"}}`)
	server := start(t, idm.Options{})
	server.Script(page, page)
	wantFailure(t, newSource(t, server, api(apiEntities)), "does not go on")

	// The last page may have a token as well, and it may be elsewhere.
	server.Script(
		fault.JSON(`{"items":[{"extId":"a","state":"active"}],"continuationToken":"1"}`),
		fault.JSON(`{"items":[],"_pagination":{"continuationToken":"2"}}`),
	)
	s := newSource(t, server, api(apiEntities))
	if _, err := s.Find(of(t, "u-1"), one); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
}

// In auto mode, trouble with the entities is not taken for an older release.
func TestAutoDoesNotHideTrouble(t *testing.T) {
	server := start(t, idm.Options{})
	credential := phone("one")
	credential.Credential = true
	server.SetTarget("u-1", credential)
	server.Script(fault.Answer(http.StatusForbidden, nil, ""))
	wantFailure(t, newSource(t, server, nil), "permissions")
	server.Script(fault.HTML(http.StatusNotFound), fault.HTML(http.StatusNotFound)) // not nevisIDM at all
	wantFailure(t, newSource(t, server, nil), "check url")
}

func TestMaxResponse(t *testing.T) {
	server := start(t, idm.Options{})
	server.SetTarget("u-1", phone("one"))
	wantFailure(t, newSource(t, server, func(s *Source) { s.MaxResponse = 200 }), "more than 200 bytes")
}

func unquoted(t *testing.T, key []byte) []byte {
	t.Helper()
	text, ok := nevisfido.ParseJWK(key)
	if !ok {
		t.Errorf("%s is not a JWK", key)
	}
	return text
}

// FuzzAnswers reads what nevisIDM answers to all queries of a lookup. What is found
// is what was asked for, an address has no lines that its parts do not have, and an
// error quotes nothing.
func FuzzAnswers(f *testing.F) {
	const secret = "Zx7Q-canary"
	for _, answer := range []string{
		`{"items":[{"extId":"one","state":"active","target":"push-token","encryptionKey":{"kty":"EC"}}]}`,
		`{"items":[{"extId":7,"identification":"dispatch_target_one","stateName":"ACTIVE","properties":{"fidouaf_target":"` + secret + `","key":"{\"kty\":\"RSA\"}"}}],"_pagination":null}`,
		`{"items":[{"identification":"dispatch_target_one","stateName":"active","properties":{"a":"{\"kty\":\"EC\"}","b":{"kty":"EC"},"c":"eyJrdHkiOiJSU0EifQ=="}}]}`,
		`{"items":[{}],"continuationToken":"1"}`, `{"items":[{"extId":"two"}],"_pagination":{"continuationToken":"` + secret + `"}}`,
		`{"items":[{"extId":"one","state":"active"},{"extId":"one","state":"active"}]}`, `{"items":[{"extId":"one"}]}`, `{"items":[{"extId":"one","state":"` + secret + `"}]}`,
		`{"extId":"u-1","loginId":"u-1","userState":"active","name":{"title":"Dr.","firstName":"Jeff","familyName":"B|C"},"contacts":{"email":"` + secret + `"},"address":{"addressline1":"a\nb","street":"s","houseNumber":7,"postalCode":8000,"city":"z","countryCode":"ch"}}`,
		`{"items":[{"extId":"u-1","loginId":"U-1"}]}`, `{"` + secret + `":`, `null`,
	} {
		for call := range byte(5) {
			f.Add([]byte(answer), 200, "application/json", call)
		}
	}
	f.Add([]byte(secret), 404, "text/html", byte(0))
	f.Add([]byte(secret), 503, "application/problem+json; charset="+secret, byte(1))
	idm := &dispatcherstest.Canned{}
	s := &Source{URL: "https://idm.example.com", Client: "100", Auth: login(), Scan: true}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	f.Cleanup(cancel)
	if err := s.Provision(ctx); err != nil {
		f.Fatal(err)
	}
	s.base, s.transport = dispatcherstest.Scheme+"://idm", idm.Transport()
	f.Fuzz(func(t *testing.T, body []byte, status int, kind string, call byte) {
		if status < 200 || status > 999 {
			return
		}
		*idm = dispatcherstest.Canned{Status: status, Body: body, Header: http.Header{"Content-Type": {kind}}}
		var err error
		if call %= 5; call == 4 {
			var user *targets.User
			if user, err = s.User(t.Context(), "u-1"); err == nil && (status != http.StatusOK || strings.Count(user.Address, "|") > 7 || strings.ContainsFunc(user.Address, unicode.IsControl)) {
				t.Errorf("status %d: found %+v", status, user)
			}
		} else {
			name := []string{"u-1", ""}[call/2]
			s.Username = []string{usernameExtID, usernameLoginID}[call%2]
			var found *targets.Target
			if found, err = s.Find(targets.WithUsername(t.Context(), name), one); err == nil && (status != http.StatusOK || found.Namespace != "bank" || found.ID != "one" || name != "" && found.Username != name) {
				t.Errorf("status %d: found %+v", status, found)
			}
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("an error quotes the answer: %v", err)
		}
		if idm.Requests > 2*maxPages {
			t.Errorf("%d requests", idm.Requests)
		}
	})
}
