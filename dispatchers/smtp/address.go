package smtp

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Bounds of an address in bytes (RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3;
// RFC Errata 1690).
const (
	maxAddress = 254
	maxLocal   = 64
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
	if !found || strings.Contains(domain, "@") {
		return "", errors.New("it is not one address with one @")
	}
	if !validLocal(local) {
		return "", errors.New("the part before the @ is empty, longer than 64 characters, or holds unusual characters")
	}
	domain, err := parseDomain(domain)
	if err != nil {
		return "", err
	}
	address := local + "@" + domain
	if len(address) > maxAddress {
		return "", errors.New("it is longer than 254 characters")
	}
	return address, nil
}

// validLocal takes the dot-atoms of RFC 5322, section 3.2.3, without what has
// made servers run programs (|, a leading / or -) or relay (!, %).
func validLocal(local string) bool {
	if len(local) > maxLocal || strings.HasPrefix(local, "-") || strings.HasPrefix(local, "/") {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return false
		}
		for _, r := range atom {
			if !isAlphanumeric(r) && !strings.ContainsRune("#$&'*+-/=?^_{}~", r) {
				return false
			}
		}
	}
	return true
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// parseDomain returns a domain name with a dot, in ASCII. A name that Unicode
// would rewrite to another (full-width letters, ideographic dots, invisible
// characters) is refused: it is not what it looks like.
func parseDomain(domain string) (string, error) {
	domain = strings.ToLower(domain)
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", errors.New("the domain is malformed")
	}
	unicode, err := idna.Lookup.ToUnicode(ascii)
	if err != nil || domain != ascii && domain != unicode {
		return "", errors.New("the domain is malformed")
	}
	labels := strings.Split(ascii, ".")
	if len(labels) < 2 {
		return "", errors.New("the domain has no dot")
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return "", errors.New("the domain is malformed")
		}
	}
	if _, err := netip.ParseAddr(ascii); err == nil || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", errors.New("the domain is an IP address")
	}
	return ascii, nil
}
