package nevisidm

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

// Auth is how to log in to nevisIDM: Basic authentication, or a bearer token.
// Passwords and tokens belong in placeholders: {env.NAME} is read at load, and
// with {file./path} as the whole value the file's present content counts.
type Auth struct {
	// The user of Basic authentication.
	Username string `json:"username,omitempty"`

	// The password, or the SecToken, of Basic authentication.
	Password string `json:"password,omitempty"`

	// The bearer token, such as an API key of Nevis ID. Not together with
	// `username` and `password`.
	Bearer string `json:"bearer,omitempty"`
}

// readAuth does not quote arguments, which may be secret.
func readAuth(s *Source, d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case slices.Contains(args, ""):
		return errors.New("auth: an argument is empty")
	case len(args) == 3 && args[0] == "basic":
		s.Auth = &Auth{Username: args[1], Password: args[2]}
	case len(args) == 2 && args[0] == "bearer":
		s.Auth = &Auth{Bearer: args[1]}
	default:
		return errors.New("auth takes: basic <user> <password>, or: bearer <token>; " +
			"passwords and tokens belong in placeholders such as {file./path}")
	}
	return nil
}

func (s *Source) setAuth(logger *slog.Logger) error {
	a := s.Auth
	switch {
	case a == nil:
		s.authorize = func(*http.Request) {}
		return nil
	case a.Bearer != "":
		token, err := watchedfile.OpenSecret("auth bearer", a.Bearer, watchedfile.ParseLine, logger)
		s.secret = token
		s.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Value()) }
		return err
	}
	user, err := placeholder.Resolve("auth basic (user)", a.Username)
	if err != nil {
		return err
	}
	if strings.Contains(user, ":") {
		return errors.New("auth basic (user): it cannot hold a colon")
	}
	password, err := watchedfile.OpenSecret("auth basic (password)", a.Password, watchedfile.ParseLine, logger)
	s.secret = password
	s.authorize = func(r *http.Request) { r.SetBasicAuth(user, password.Value()) }
	return err
}
