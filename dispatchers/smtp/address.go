package smtp

import (
	"errors"
	"net"
	"net/mail"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// Bounds of an address in bytes (RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3;
// RFC Errata 1690).
const (
	maxAddress = 254
	maxLocal   = 64
)

var (
	// localPart takes the dot-atoms of RFC 5322, section 3.2.3, without what has
	// made servers run programs (|, a leading / or -) or relay (!, %).
	localPart = regexp.MustCompile(`^[A-Za-z0-9#$&'*+=?^_{}~][A-Za-z0-9#$&'*+=?^_{}~/-]*(\.[A-Za-z0-9#$&'*+=?^_{}~/-]+)*$`)

	// domainName takes names with a dot whose top level begins with a letter, so
	// that an IP address is none.
	domainName = regexp.MustCompile(`^([a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,62}$`)

	hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

// parseAddress returns the one mail address that text is, its domain in ASCII
// (RFC 5890). It takes less than RFC 5321 allows: what mail servers read in
// different ways, or hand on to programs and routes, is not an address of a
// customer. Errors do not quote the text.
func parseAddress(text string) (string, error) {
	if text == "" || len(text) > maxAddress {
		return "", errors.New("it is empty, or longer than 254 characters")
	}
	local, domain, found := strings.Cut(text, "@")
	switch {
	case !found || strings.Contains(domain, "@"):
		return "", errors.New("it is not one address with one @")
	case len(local) > maxLocal || !localPart.MatchString(local):
		return "", errors.New("the part before the @ is empty, longer than 64 characters, or holds unusual characters")
	case !strings.Contains(domain, "."):
		return "", errors.New("the domain has no dot: write it in full, such as login@example.com")
	}
	domain, err := parseDomain(domain)
	if err != nil {
		return "", err
	}
	if len(local)+1+len(domain) > maxAddress {
		return "", errors.New("it is longer than 254 characters")
	}
	return local + "@" + domain, nil
}

// parseDomain returns a domain name in ASCII. A name that Unicode would rewrite
// to another (full-width letters, ideographic dots, invisible characters) is
// refused: it is not what it looks like.
func parseDomain(domain string) (string, error) {
	domain = strings.ToLower(domain)
	ascii, err := idna.Lookup.ToASCII(domain)
	if err == nil && domainName.MatchString(ascii) {
		unicode, err := idna.Lookup.ToUnicode(ascii)
		if err == nil && (domain == ascii || domain == unicode) {
			return ascii, nil
		}
	}
	return "", errors.New("the domain is malformed, or an IP address: write its name, such as login@example.com")
}

func parseSender(text string) (*mail.Address, error) {
	sender, err := mail.ParseAddress(text)
	if err != nil {
		return nil, errors.New("it is not a mail address; write login@example.com, or \"Example Bank <login@example.com>\"")
	}
	sender.Address, err = parseAddress(sender.Address)
	return sender, err
}

// parseServer returns the host and the port, "" for none, of a mail server.
func parseServer(text string) (host, port string, err error) {
	if host, port, err = net.SplitHostPort(text); err != nil {
		host, port = text, ""
	}
	_, ipErr := netip.ParseAddr(host)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err == nil && (portErr != nil || n == 0) || ipErr != nil && !hostname.MatchString(host) {
		return "", "", errors.New("write the host's name or IP address and a port, such as mail.example.com:587")
	}
	return host, port, nil
}

func checkServer(text string) error {
	_, _, err := parseServer(text)
	return err
}

func checkLocal(text string) error {
	host, _, err := parseServer(text)
	if err == nil && !httpclient.Loopback(host) {
		err = errors.New("it must be on this machine; use starttls or implicit")
	}
	return err
}

func checkHELO(name string) error {
	if !hostname.MatchString(name) {
		return errors.New("it is not a host name, such as sidecar.example.com")
	}
	return nil
}

func defaultHELO() string {
	if name, err := os.Hostname(); err == nil && hostname.MatchString(name) {
		return name
	}
	return "localhost"
}
