package nevisidm

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

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

func (s *Source) checkAuth() error {
	a := s.Auth
	switch {
	case a == nil && s.ClientCert == nil:
		return errors.New("auth is needed, such as: auth basic <user> {file./path}, or client_cert")
	case a != nil && (a.Bearer == "") == (a.Username == "" && a.Password == ""):
		return errors.New("auth: it is either basic <user> <password> or bearer <token>")
	}
	return nil
}

func (s *Source) setAuth(logger *slog.Logger) error {
	if err := s.checkAuth(); err != nil {
		return err
	}
	a := s.Auth
	switch {
	case a == nil:
		s.authorize = func(*http.Request) {}
		return nil
	case a.Bearer != "":
		token, err := newSecret("auth bearer", a.Bearer, logger)
		if err != nil {
			return err
		}
		s.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token()) }
		return nil
	}
	user, err := placeholder.Resolve("auth basic (user)", a.Username)
	if err != nil {
		return err
	}
	if strings.Contains(user, ":") {
		return errors.New("auth basic (user): it cannot hold a colon")
	}
	password, err := newSecret("auth basic (password)", a.Password, logger)
	if err != nil {
		return err
	}
	s.authorize = func(r *http.Request) { r.SetBasicAuth(user, password()) }
	return nil
}

// newSecret returns a secret's value: of {file./path} the present one.
func newSecret(option, text string, logger *slog.Logger) (func() string, error) {
	if path, ok := strings.CutPrefix(text, "{file."); ok && strings.IndexByte(path, '}') == len(path)-1 {
		file, err := watchedfile.Open(option, strings.TrimSuffix(path, "}"), parseSecret, logger)
		if err != nil {
			return nil, err
		}
		return file.Value, nil
	}
	value, err := placeholder.ResolveSecret(option, text, logger)
	if err != nil {
		return nil, err
	}
	if value, err = parseSecret([]byte(value)); err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return func() string { return value }, nil
}

func parseSecret(content []byte) (string, error) {
	value := strings.TrimRight(string(content), "\r\n")
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("it is empty, has several lines, or holds control characters")
	}
	return value, nil
}
