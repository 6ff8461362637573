package smtp

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

// What errors call the values of auth.
const (
	optionUser     = "auth (user)"
	optionPassword = "auth (password)"
)

const (
	authAuto = "AUTO"
	xoauth2  = "XOAUTH2"
)

// mechanisms are those of auto, the best first: the last two show the password
// to the server.
var mechanisms = []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"}

// account returns the option Auth, which two options of a Caddyfile set.
func (s *Mailer) account() *Auth {
	if s.Auth == nil {
		s.Auth = new(Auth)
	}
	return s.Auth
}

func readAuth(s *Mailer, d *caddyfile.Dispenser) error {
	args, err := conf.Values(d, 2, "auth takes two values: the user and the password, such as {env.SMTP_PASSWORD} or {file./path}")
	if err == nil {
		s.account().Username, s.account().Password = args[0], args[1]
	}
	return err
}

func checkAuth(s *Mailer) error {
	if s.Auth == nil {
		return nil
	}
	if err := placeholder.Check(optionUser, s.Auth.Username, nil); err != nil {
		return err
	}
	return placeholder.Check(optionPassword, s.Auth.Password, func(text string) error {
		_, err := parsePassword([]byte(text))
		return err
	})
}

func readAuthType(s *Mailer, d *caddyfile.Dispenser) error {
	const takes = "auth_type takes auto, plain, login, cram-md5, scram-sha-1, scram-sha-256 or xoauth2"
	args, err := conf.Values(d, 1, takes)
	if err == nil {
		s.account().Type = args[0]
	}
	return err
}

func checkAuthType(s *Mailer) error {
	if s.Auth == nil {
		return nil
	}
	switch mechanism := strings.ToUpper(s.Auth.Type); {
	case mechanism == "", mechanism == authAuto, mechanism == xoauth2, slices.Contains(mechanisms, mechanism):
		return nil
	}
	return errors.New("auth_type takes auto, plain, login, cram-md5, scram-sha-1, scram-sha-256 or xoauth2")
}

func resolveAuth(s *Mailer, logger *slog.Logger) error {
	if s.Auth == nil {
		return nil
	}
	s.login = &login{mechanism: strings.ToUpper(s.Auth.Type)}
	var err error
	if s.login.username, err = placeholder.Resolve(optionUser, s.Auth.Username); err != nil {
		return err
	}
	s.login.password, err = newPassword(s.Auth.Password, logger)
	return err
}

// newPassword returns what knows the present password: a file is followed.
func newPassword(text string, logger *slog.Logger) (func() string, error) {
	if path, ok := strings.CutPrefix(text, "{file."); ok && strings.Count(text, "}") == 1 && strings.HasSuffix(path, "}") {
		file, err := watchedfile.Open(optionPassword, strings.TrimSuffix(path, "}"), parsePassword, logger)
		if err != nil {
			return nil, err
		}
		return file.Value, nil
	}
	password, err := placeholder.ResolveSecret(optionPassword, text, logger)
	if err == nil {
		password, err = parsePassword([]byte(password))
	}
	return func() string { return password }, err
}

func parsePassword(content []byte) (string, error) {
	password := strings.TrimRight(string(content), "\r\n")
	if password == "" || strings.ContainsAny(password, "\x00\r\n") {
		return "", errors.New(optionPassword + ": it is empty, or has several lines")
	}
	return password, nil
}

// login is how to log in.
type login struct {
	mechanism string // "" and AUTO for the best
	username  string
	password  func() string
}

// choose returns the mechanism to use with a server that offers these.
func (l *login) choose(host string, offers []string) (gosmtp.Auth, error) {
	wanted := []string{l.mechanism}
	if l.mechanism == "" || l.mechanism == authAuto {
		wanted = mechanisms
	}
	for _, mechanism := range wanted {
		if slices.Contains(offers, mechanism) {
			return l.auth(mechanism, host), nil
		}
	}
	return nil, dispatchers.Fail(dispatchers.Broken, reasonAuth,
		"the mail server does not offer the mechanism of auth_type, or no login at all: check auth_type, server and tls")
}

func (l *login) auth(mechanism, host string) gosmtp.Auth {
	switch password := l.password(); mechanism {
	case "SCRAM-SHA-256":
		return gosmtp.ScramSHA256Auth(l.username, password)
	case "SCRAM-SHA-1":
		return gosmtp.ScramSHA1Auth(l.username, password)
	case "CRAM-MD5":
		return gosmtp.CRAMMD5Auth(l.username, password)
	case xoauth2:
		return gosmtp.XOAuth2Auth(l.username, password)
	case "LOGIN":
		return gosmtp.LoginAuth(l.username, password, host, false)
	default:
		return gosmtp.PlainAuth("", l.username, password, host, false)
	}
}
