package smtp

import (
	"cmp"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
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

const (
	auto    = "AUTO"
	xoauth2 = "XOAUTH2"
)

type mechanism struct {
	name string
	auth func(user, password, host string) gosmtp.Auth
}

// mechanisms are in the order in which auto prefers them. PLAIN and LOGIN show
// the password to the server.
var mechanisms = []mechanism{
	{"SCRAM-SHA-256", func(user, password, _ string) gosmtp.Auth { return gosmtp.ScramSHA256Auth(user, password) }},
	{"SCRAM-SHA-1", func(user, password, _ string) gosmtp.Auth { return gosmtp.ScramSHA1Auth(user, password) }},
	{"CRAM-MD5", func(user, password, _ string) gosmtp.Auth { return gosmtp.CRAMMD5Auth(user, password) }},
	{"PLAIN", func(user, password, host string) gosmtp.Auth {
		return gosmtp.PlainAuth("", user, password, host, false)
	}},
	{"LOGIN", func(user, password, host string) gosmtp.Auth { return gosmtp.LoginAuth(user, password, host, false) }},
	{xoauth2, func(user, token, _ string) gosmtp.Auth { return gosmtp.XOAuth2Auth(user, token) }},
}

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
	name := strings.ToUpper(text)
	if name == auto || slices.ContainsFunc(mechanisms, func(m mechanism) bool { return m.name == name }) {
		return nil
	}
	return errors.New("auth_type takes auto, plain, login, cram-md5, scram-sha-1, scram-sha-256 or xoauth2")
}

func resolveAuth(s *Mailer, logger *slog.Logger) (err error) {
	if s.Auth.Username == "" {
		return nil
	}
	s.login = &login{mechanism: cmp.Or(strings.ToUpper(s.Auth.Type), auto)}
	if s.login.username, err = placeholder.Resolve(optionUser, s.Auth.Username); err != nil {
		return err
	}
	s.login.password, err = watchedfile.Secret(optionPassword, s.Auth.Password, watchedfile.ParseLine, logger)
	return err
}

// login is how to log in.
type login struct {
	mechanism string
	username  string
	password  func() string
}

// authLine is a line of an answer to EHLO with mechanisms. There may be several, also
// in the form before RFC 2554.
var authLine = regexp.MustCompile(`(?m)^AUTH[ =](.*)$`)

// choose returns the mechanism to use with a server that has these extensions.
func (l *login) choose(host, extensions string) (gosmtp.Auth, error) {
	var offers []string
	for _, line := range authLine.FindAllStringSubmatch(strings.ToUpper(extensions), -1) {
		offers = append(offers, strings.Fields(line[1])...)
	}
	for _, m := range mechanisms {
		if (m.name == l.mechanism || l.mechanism == auto && m.name != xoauth2) && slices.Contains(offers, m.name) {
			return m.auth(l.username, l.password(), host), nil
		}
	}
	return nil, dispatchers.Fail(dispatchers.Broken, reasonAuth,
		"the mail server does not offer the mechanism of auth_type, or no login at all: check auth_type, server and tls")
}
