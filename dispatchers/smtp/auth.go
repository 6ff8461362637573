package smtp

import (
	"cmp"
	"errors"
	"log/slog"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/smtp/internal/mailserver"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

// Auth is an account of the mail server.
type Auth struct {
	// The user name. May be a placeholder.
	Username string `json:"username,omitempty"`

	// The password, or for `xoauth2` the access token, as a placeholder such
	// as {env.SMTP_PASSWORD} or {file./path}. A file that changes is used for
	// new connections without a restart.
	Password string `json:"password,omitempty"`

	// The mechanism: `plain`, `login`, `cram-md5`, `scram-sha-1`,
	// `scram-sha-256`, `xoauth2`, or `auto` for the strongest that the server
	// offers (never `xoauth2`). Default: `auto`
	Type string `json:"type,omitempty"`
}

// What errors call the values of auth.
const (
	optionUser     = "auth (user)"
	optionPassword = "auth (password)"
)

func readAuth(s *Mailer, d *caddyfile.Dispenser) error {
	args, err := conf.Values(d, 2, "auth takes two values: the user and the password, such as {env.SMTP_PASSWORD} or {file./path}")
	if err == nil {
		s.Auth.Username, s.Auth.Password = args[0], args[1]
	}
	return err
}

func checkAuth(s *Mailer) error {
	if s.Auth.Username == "" && s.Auth.Password == "" { // Check finds a type without them
		return nil
	}
	return cmp.Or(placeholder.Check(optionUser, s.Auth.Username, nil), placeholder.Check(optionPassword, s.Auth.Password, nil))
}

func checkAuthType(text string) error {
	if mailserver.Mechanism(text) {
		return nil
	}
	return errors.New("auth_type takes auto, plain, login, cram-md5, scram-sha-1, scram-sha-256 or xoauth2")
}

func resolveAuth(s *Mailer, logger *slog.Logger) (err error) {
	if s.Auth.Username == "" {
		return nil
	}
	s.login = &mailserver.Login{Mechanism: s.Auth.Type}
	if s.login.Username, err = placeholder.Resolve(optionUser, s.Auth.Username); err != nil {
		return err
	}
	if s.password, err = watchedfile.OpenSecret(optionPassword, s.Auth.Password, watchedfile.ParseLine, logger); err == nil {
		s.login.Password = s.password.Value
	}
	return err
}
