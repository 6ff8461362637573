package nevisidm

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func loginID(s *Source) { s.Username = usernameLoginID }

func TestUser(t *testing.T) {
	jeff := targets.User{Email: "jeff@example.com", Mobile: "+41791234567", Address: "Jeff Muster|Weg 1a|8000 Zürich|CH"}
	for name, test := range map[string]struct {
		username string
		change   func(*Source)
		fault    fault.Fault
		want     targets.User
	}{
		"by ext id":   {"u-1", nil, nil, jeff},
		"by login id": {"jeff", loginID, nil, jeff},
		"no contacts": {"u-2", nil, nil, targets.User{}},
		"every line": {
			"u-1", nil,
			fault.JSON(`{"extId":"u-1","name":{"title":"Dr.","firstName":"A","familyName":"B|C"},"address":{
				"addressline1":"c/o\u000aX","addressline2":" second ","street":"Weg","houseNumber":9,"dwellingNumber":"b",
				"postOfficeBoxText":"Postfach","postOfficeBoxNumber":9,"locality":"Dorf",
				"postalCode":8000,"city":"Stadt","countryCode":"de"}}`),
			targets.User{Address: "Dr. A B C|c/o X|second|Weg 9 b|Postfach 9|Dorf|8000 Stadt|DE"},
		},
		"country only":     {"u-1", nil, fault.JSON(`{"extId":"u-1","name":{"firstName":"A"},"address":{"countryCode":"CH"}}`), targets.User{}},
		"null members":     {"u-1", nil, fault.JSON(`{"extId":"u-1","name":null,"contacts":null,"address":null}`), targets.User{}},
		"overlooks filter": {"jeff", loginID, fault.JSON(`{"items":[{"extId":"u-2","loginId":"mia"},{"extId":"u-1","loginId":"jeff","contacts":{"email":"j@example.com"}}]}`), targets.User{Email: "j@example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, idm.Options{})
			if test.fault != nil {
				server.Script(test.fault)
			}
			got, err := newSource(t, server, test.change).User(t.Context(), test.username)
			if err != nil || *got != test.want {
				t.Errorf("got %+v, error %v", got, err)
			}
		})
	}
}

func TestUserIsNotFound(t *testing.T) {
	server := start(t, idm.Options{})
	server.SetUser(idm.User{ExtID: "gone", LoginID: "gone", State: "archived", Email: "gone@example.com"})
	for name, change := range map[string]func(*Source){"ext id": nil, "login id": loginID} {
		s := newSource(t, server, change)
		for _, username := range []string{"nobody", "gone", "", "."} {
			if got, err := s.User(t.Context(), username); !errors.Is(err, targets.ErrNotFound) {
				t.Errorf("%s %q: got %+v, error %v", name, username, got, err)
			}
		}
	}
}

func TestUserIsUnavailable(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Source)
		fault  fault.Fault
		want   string
	}{
		"server error":        {nil, fault.Answer(http.StatusBadGateway, nil, ""), "502"},
		"another user":        {nil, fault.JSON(`{"extId":"u-2"}`), "another"},
		"nobody":              {nil, fault.JSON(`{}`), "another"},
		"several":             {loginID, fault.JSON(`{"items":[{"extId":"a","loginId":"u-1"},{"extId":"b","loginId":"U-1"}]}`), "several"},
		"web page in the way": {nil, fault.HTML(http.StatusNotFound), "check url"},
	} {
		server := start(t, idm.Options{})
		server.Script(test.fault)
		got, err := newSource(t, server, test.change).User(t.Context(), "u-1")
		if err == nil || errors.Is(err, targets.ErrNotFound) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %+v, error %v", name, got, err)
		}
	}
	// Without an external id there is no path to the user's targets.
	server := start(t, idm.Options{})
	server.Script(fault.JSON(`{"items":[{"loginId":"u-1"}]}`))
	wantFailure(t, newSource(t, server, loginID), "no extId")
}
