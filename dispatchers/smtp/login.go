package smtp

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
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

// What errors call the arguments of auth.
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

// login is how to log in; nil for not at all.
type login struct {
	host      string
	mechanism string
	username  string
	password  func() string
}

func checkAuthType(mechanism string) error {
	switch mechanism = strings.ToUpper(mechanism); {
	case mechanism == "", mechanism == authAuto, mechanism == xoauth2, slices.Contains(mechanisms, mechanism):
		return nil
	}
	return errors.New("auth_type: it is auto, plain, login, cram-md5, scram-sha-1, scram-sha-256 or xoauth2")
}

func newLogin(a *Auth, host string, logger *slog.Logger) (*login, error) {
	if a == nil {
		return nil, nil
	}
	l := &login{host: host, mechanism: strings.ToUpper(a.Type)}
	if l.mechanism == "" {
		l.mechanism = authAuto
	}
	var err error
	if l.username, err = placeholder.Resolve(optionUser, a.Username); err != nil {
		return nil, err
	}
	l.password, err = newPassword(a.Password, logger)
	return l, err
}

func newPassword(text string, logger *slog.Logger) (func() string, error) {
	if path, ok := strings.CutPrefix(text, "{file."); ok && strings.Count(text, "}") == 1 && strings.HasSuffix(path, "}") {
		file, err := watchedfile.Open(optionPassword, strings.TrimSuffix(path, "}"), parsePassword, logger)
		if err != nil {
			return nil, err
		}
		return file.Value, nil
	}
	password, err := placeholder.ResolveSecret(optionPassword, text, logger)
	if err != nil {
		return nil, err
	}
	_, err = parsePassword([]byte(password))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", optionPassword, err)
	}
	return func() string { return password }, nil
}

func checkPassword(text string) error {
	_, err := parsePassword([]byte(text))
	return err
}

func parsePassword(content []byte) (string, error) {
	password := strings.TrimRight(string(content), "\r\n")
	if password == "" || strings.ContainsAny(password, "\x00\r\n") {
		return "", errors.New("it is empty, or has several lines")
	}
	return password, nil
}

// choose returns the mechanism to use with a server that offers these.
func (l *login) choose(offered string) (gosmtp.Auth, error) {
	offers := strings.Fields(strings.ToUpper(offered))
	wanted := []string{l.mechanism}
	if l.mechanism == authAuto {
		wanted = mechanisms
	}
	for _, mechanism := range wanted {
		if slices.Contains(offers, mechanism) {
			return l.auth(mechanism), nil
		}
	}
	return nil, dispatchers.Fail(dispatchers.Broken, reasonAuth,
		"the mail server does not offer the mechanism of auth_type, or no login at all: check auth_type, server and tls")
}

func (l *login) auth(mechanism string) gosmtp.Auth {
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
		return gosmtp.LoginAuth(l.username, password, l.host, false)
	default:
		return gosmtp.PlainAuth("", l.username, password, l.host, false)
	}
}
