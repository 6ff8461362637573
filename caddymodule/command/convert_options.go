package command

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// plainOption takes a value over as it is.
func plainOption(name string) func(*conversion, *fidoOption) string {
	return func(c *conversion, o *fidoOption) string {
		value, ok := c.word(o, o.value)
		if !ok {
			return ""
		}
		return name + " " + value
	}
}

// flagOption makes a word of a boolean that has one value; the other one is
// our default.
func flagOption(name string, when bool) func(*conversion, *fidoOption) string {
	return func(c *conversion, o *fidoOption) string {
		switch strings.ToLower(o.value) {
		case fmt.Sprint(when):
			return name
		case fmt.Sprint(!when):
			return ""
		}
		c.missing(o.line, o.name(), "the value is neither true nor false: decide whether you want the option %s", name)
		return ""
	}
}

// endpointOption: nevisFIDO's default is a host without scheme.
func endpointOption(c *conversion, o *fidoOption) string {
	endpoint := strings.TrimSuffix(o.value, "/")
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	if endpoint == "https://fcm.googleapis.com" {
		return ""
	}
	value, ok := c.word(o, endpoint)
	if !ok {
		return ""
	}
	return "endpoint " + value
}

// proxyPassword is the variable that a converted block takes the password of
// the proxy from.
const proxyPassword = "OOB_PROXY_PASSWORD" //nolint:gosec // the name of a variable

// loginInURL is what stands before the @ of a URL: a user, in which ${env:NAME}
// may stand, and a password.
var loginInURL = regexp.MustCompile(`^((?:\$\{[^}]*\}|[^:])*):(.*)$`)

// proxyOption puts user and password into the URL. A password that stands there
// already is not taken over either.
func proxyOption(c *conversion, o *fidoOption) string {
	scheme, host, ok := strings.Cut(o.value, "://")
	if !ok {
		scheme, host = "http", o.value
	}
	login := ""
	if at := strings.LastIndex(host, "@"); at >= 0 {
		login, host = host[:at], host[at+1:]
		if parts := loginInURL.FindStringSubmatch(login); parts != nil {
			login = parts[1] + ":" + c.proxyPassword(parts[2])
		}
	}
	if user := o.dispatcher.option("proxy-user"); user != nil {
		login = url.User(user.value).String()
		if variable, ok := onlyVariable(user.value); ok {
			login = "{env." + variable + "}"
		}
		if password := o.dispatcher.option("proxy-password"); password != nil {
			login += ":" + c.proxyPassword(password.value)
		}
	}
	address := o.value
	if login != "" {
		address = scheme + "://" + login + "@" + host
	}
	value, ok := c.word(o, address)
	if !ok {
		return ""
	}
	return "proxy " + value
}

// proxyPassword returns the placeholder that stands for a password.
func (c *conversion) proxyPassword(password string) string {
	variable, ok := onlyVariable(password)
	if !ok {
		variable = proxyPassword
		c.Remarks = append(c.Remarks, "put the password of the proxy into the environment variable "+proxyPassword+": it is not taken over")
	}
	return "{env." + variable + "}"
}

// partOfProxy is what proxyOption has taken, if there is a proxy.
func partOfProxy(c *conversion, o *fidoOption) string {
	if o.dispatcher.option("proxy-url") == nil {
		c.missing(o.line, o.name(), "there is no proxy-url that it belongs to")
	}
	return ""
}

func (o *fidoOption) name() string { return o.dispatcher.kind + ": " + o.key }

var (
	expression  = regexp.MustCompile(`\$\{[^}]*\}`)
	environment = regexp.MustCompile(`\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}`)
)

// onlyVariable returns the variable of a value that is ${env:NAME} as a whole.
func onlyVariable(value string) (name string, ok bool) {
	match := environment.FindStringSubmatch(value)
	if match == nil || match[0] != value {
		return "", false
	}
	return match[1], true
}

// word writes a value as one word of a Caddyfile.
func (c *conversion) word(o *fidoOption, value string) (word string, ok bool) {
	value = environment.ReplaceAllString(value, "{$$$1}")
	switch {
	case value == "":
		c.missing(o.line, o.name(), "it has no plain value")
	case expression.MatchString(value):
		c.missing(o.line, o.name(), "the sidecar runs no commands: put the value into the Caddyfile, or into an environment variable as {$NAME}")
	case strings.ContainsFunc(value, unicode.IsControl), strings.ContainsRune(value, '`'):
		c.missing(o.line, o.name(), "the value has characters that a Caddyfile cannot have")
	case strings.ContainsAny(value, `"\# `):
		return "`" + value + "`", true
	default:
		return value, true
	}
	return "", false
}

// redeemOperation returns the operation that an option has the redeem URL of.
func redeemOperation(key string) nevisfido.Operation {
	for _, operation := range nevisfido.Operations() {
		if key == string(operation)+"-redeem-url" {
			return operation
		}
	}
	return ""
}

// takeRedeemURLs finds the one base of the redeem URLs, that of the dispatcher
// link or else the first, and returns the line for it. What differs is missing.
func (c *conversion) takeRedeemURLs(all []*fidoDispatcher) (line string) {
	var given []*fidoOption
	for _, d := range all {
		for _, o := range d.options {
			if redeemOperation(o.key) != "" {
				given = append(given, o)
			}
		}
	}
	slices.SortStableFunc(given, func(a, b *fidoOption) int {
		return cmp.Compare(notLink(a), notLink(b))
	})
	base := ""
	for _, o := range given {
		ending := "/" + string(redeemOperation(o.key))
		if base == "" && strings.HasSuffix(o.value, ending) {
			base = strings.TrimSuffix(o.value, ending)
			if word, ok := c.word(o, base); ok {
				line = "\tredeem_url " + word + "\n"
			}
		}
		if o.value != base+ending {
			c.missing(o.line, o.name(), "all messages have the redeem URL of nevisFIDO's dispatcher link, or else <redeem_url>%s", ending)
		}
	}
	return line
}

func notLink(o *fidoOption) int {
	if o.dispatcher.kind == nevisfido.BuiltInLink {
		return 0
	}
	return 1
}
