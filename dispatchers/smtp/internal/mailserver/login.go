package mailserver

import (
	"regexp"
	"slices"
	"strings"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
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

// Mechanism reports whether a Login can have a mechanism of this name.
func Mechanism(name string) bool {
	return strings.EqualFold(name, auto) || slices.ContainsFunc(mechanisms, func(m mechanism) bool { return strings.EqualFold(m.name, name) })
}

// Login is how to log in.
type Login struct {
	Mechanism string // its name in any letter case; "" and auto for the best
	Username  string
	Password  func() string // asked for each connection
}

// authLine is a line of an answer to EHLO with mechanisms. There may be several, also
// in the form before RFC 2554.
var authLine = regexp.MustCompile(`(?m)^AUTH[ =](.*)$`)

// choose returns the mechanism to use with a server that has these extensions.
func (l *Login) choose(host, extensions string) (gosmtp.Auth, error) {
	offers := make([]string, 0, len(mechanisms))
	for _, line := range authLine.FindAllStringSubmatch(strings.ToUpper(extensions), -1) {
		offers = append(offers, strings.Fields(line[1])...)
	}
	best := l.Mechanism == "" || strings.EqualFold(l.Mechanism, auto)
	for _, m := range mechanisms {
		if (strings.EqualFold(m.name, l.Mechanism) || best && m.name != xoauth2) && slices.Contains(offers, m.name) {
			return m.auth(l.Username, l.Password(), host), nil
		}
	}
	return nil, dispatchers.Fail(dispatchers.Broken, reasonAuth,
		"the mail server does not offer the mechanism of auth_type, or no login at all: check auth_type, server and tls")
}
