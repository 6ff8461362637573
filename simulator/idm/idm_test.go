package idm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.SetUser(User{ExtID: "u-1", LoginID: "jeff", Email: "jeff@example.com", Address: Address{City: "Bern"}})
	s.SetUser(User{ExtID: "u-2", LoginID: "mia", State: "disabled"})
	return s
}

// get returns status, media type and body of an answer.
func get(t *testing.T, s *Server, path string) (status int, kind, body string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/nevisidm/api/core/v1"+path, nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Header().Get("Content-Type"), w.Body.String()
}

func TestRoutes(t *testing.T) {
	entity, credential := Target{ID: "e", Name: "new", EncryptionKey: "JWK"}, Target{ID: "c", Name: "old", SigningKey: "JWK", Credential: true}
	const missing, page = "404 application/json", "404 text/html;charset=iso-8859-1"
	for name, test := range map[string]struct {
		release Release
		path    string
		status  string
		want    string // part of the body
	}{
		"user":                         {V8_2605, "/100/users/u-1", "200 application/json", `"email":"jeff@example.com"`},
		"trailing slash":               {V8_2605, "/100/users/u-1/", "200 application/json", `"userState":"active"`},
		"disabled user":                {V8_2605, "/100/users/u-2", "200 application/json", `"userState":"disabled"`},
		"unknown user":                 {V8_2605, "/100/users/u-3", missing, "user.not.found"},
		"unknown client":               {V8_2605, "/200/users/u-1", missing, "user.not.found"},
		"users by login id":            {V8_2605, "/clients/100/users?loginId=MIA", "200 application/json", `"extId":"u-2"`},
		"entities":                     {V8_2605, "/100/users/u-1/dispatch-targets", "200 application/json", `"encryptionKey":"JWK"`},
		"one entity":                   {V8_2605, "/100/users/u-1/dispatch-targets/e", "200 application/json", `"state":"active"`},
		"unknown entity":               {V8_2605, "/100/users/u-1/dispatch-targets/x", missing, "entity.not.found"},
		"entities of an older release": {V8_2511, "/100/users/u-1/dispatch-targets", page, "404"},
		"credentials":                  {V8_2605, "/100/users/u-1/generic-credentials", "200 application/json", `"identification":"dispatch_target_c"`},
		"all are credentials":          {LTS21, "/100/users/u-1/generic-credentials", "200 application/json", `"fidouaf_name":"new"`},
		"credentials of the client":    {V8_2511, "/clients/100/generic-credentials", "200 application/json", `"userExtId":"u-1"`},
		"not in LTS21":                 {LTS21, "/clients/100/generic-credentials", page, "404"},
		"unknown path":                 {V8_2605, "/100/users/u-1/passwords", page, "404"},
		"unknown list":                 {V8_2605, "/clients/100/units", page, "404"},
		"encoded slash":                {V8_2605, "/100/users/u-1%2fx", page, "404"},
		"bad limit":                    {V8_2605, "/clients/100/users?limit=many", "422 application/json", "limit.invalid"},
		"bad token":                    {V8_2605, "/clients/100/users?continuationToken=x", "422 application/json", "token.invalid"},
	} {
		s := start(t, Options{Release: test.release})
		s.SetTarget("u-1", entity)
		s.SetTarget("u-1", credential)
		status, kind, body := get(t, s, test.path)
		if got := fmt.Sprint(status, " ", kind); got != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: got %s %s", name, got, body)
		}
	}
}

func TestPages(t *testing.T) {
	s := start(t, Options{MaxPage: 3})
	for i := range 7 {
		s.SetTarget("u-1", Target{ID: fmt.Sprint(i)})
	}
	var got []string
	token := ""
	for range 3 {
		_, _, body := get(t, s, "/100/users/u-1/dispatch-targets?limit=50&continuationToken="+token)
		var page struct {
			Items []struct {
				ExtID string `json:"extId"`
			} `json:"items"`
			Pagination struct {
				ContinuationToken string `json:"continuationToken"`
			} `json:"_pagination"`
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			got = append(got, item.ExtID)
		}
		token = page.Pagination.ContinuationToken
	}
	if want := strings.Split("0 1 2 3 4 5 6", " "); !slices.Equal(got, want) || token != "" {
		t.Errorf("got %q, in the end token %q", got, token)
	}
}
