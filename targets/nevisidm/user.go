package nevisidm

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// user is the part of nevisIDM's user that matters (reference: "Get a user").
type user struct {
	ExtID     text   `json:"extId"`
	LoginID   string `json:"loginId"`
	UserState string `json:"userState"`
	Name      struct {
		Title      string `json:"title"`
		FirstName  string `json:"firstName"`
		FamilyName string `json:"familyName"`
	} `json:"name"`
	Contacts struct {
		Email  string `json:"email"`
		Mobile string `json:"mobile"`
	} `json:"contacts"`
	Address struct {
		Line1          string `json:"addressline1"`
		Line2          string `json:"addressline2"`
		Street         string `json:"street"`
		HouseNumber    text   `json:"houseNumber"`
		DwellingNumber text   `json:"dwellingNumber"`
		BoxText        string `json:"postOfficeBoxText"`
		BoxNumber      text   `json:"postOfficeBoxNumber"`
		Locality       string `json:"locality"`
		PostalCode     text   `json:"postalCode"`
		City           string `json:"city"`
		CountryCode    string `json:"countryCode"`
	} `json:"address"`
}

// User implements targets.UserSource. Users that are not active are not found.
func (s *Source) User(ctx context.Context, username string) (*targets.User, error) {
	return share(ctx, s, "user\x00"+username, func(ctx context.Context) (*targets.User, error) {
		u, err := s.user(ctx, username)
		switch {
		case err != nil:
			return nil, err
		case u.UserState != "" && !strings.EqualFold(u.UserState, "active"):
			return nil, targets.ErrNotFound
		}
		return &targets.User{Email: u.Contacts.Email, Mobile: u.Contacts.Mobile, Address: u.postal()}, nil
	})
}

// userExtID returns the external id of the user whom nevisFIDO knows by a name.
func (s *Source) userExtID(ctx context.Context, username string) (string, error) {
	if s.Username == usernameExtID && validName(username) {
		return username, nil
	}
	u, err := s.user(ctx, username)
	switch {
	case err != nil:
		return "", err
	case !validName(string(u.ExtID)):
		return "", errors.New("looking up the user: the answer has no extId")
	}
	return string(u.ExtID), nil
}

func (s *Source) user(ctx context.Context, username string) (*user, error) {
	if !validName(username) {
		return nil, targets.ErrNotFound
	}
	if s.Username == usernameLoginID {
		return s.userByLoginID(ctx, username)
	}
	u := new(user)
	if err := s.get(ctx, "looking up the user", s.userPath(username), nil, u); err != nil {
		return nil, err
	}
	if !strings.EqualFold(string(u.ExtID), username) {
		return nil, errors.New("looking up the user: the answer is that of another")
	}
	return u, nil
}

func (s *Source) userByLoginID(ctx context.Context, loginID string) (*user, error) {
	const doing = "looking up the user by login id"
	var found []user
	query := url.Values{"loginId": {loginID}}
	err := pages(ctx, s, doing, s.clientPath()+"/users", query, func(users []user) (enough bool, err error) {
		for _, u := range users { // a server may overlook the filter
			if strings.EqualFold(u.LoginID, loginID) {
				found = append(found, u)
			}
		}
		return false, nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, targets.ErrNotFound
	case len(found) > 1:
		return nil, errors.New(doing + ": there are several")
	}
	return &found[0], nil
}

// postal returns the postal address with the name on its first line, or
// nothing where no address is on record.
func (u *user) postal() string {
	a := u.Address
	place := slices.DeleteFunc([]string{
		join(a.Line1),
		join(a.Line2),
		join(a.Street, string(a.HouseNumber), string(a.DwellingNumber)),
		join(a.BoxText, string(a.BoxNumber)),
		join(a.Locality),
		join(string(a.PostalCode), a.City),
	}, func(line string) bool { return line == "" })
	if len(place) == 0 {
		return ""
	}
	lines := append([]string{join(u.Name.Title, u.Name.FirstName, u.Name.FamilyName)}, place...)
	lines = append(lines, join(strings.ToUpper(a.CountryCode)))
	return strings.Trim(strings.Join(lines, "|"), "|")
}

// join puts words on one line, and keeps apart what would end it.
func join(words ...string) string {
	line := strings.Map(func(r rune) rune {
		if r == '|' || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.Join(words, " "))
	return strings.Join(strings.Fields(line), " ")
}
