package webpush

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const httpsPort = "443"

// hostRule is an entry of the option allow.
type hostRule struct {
	name   string // in lower case; of a wildcard, what follows the *, with its dot
	port   string
	exact  bool
	byName bool // exact, and the operator's own
}

// A name ends in a label that is not a number, because some resolvers read it as an
// IP address. A wildcard has two labels at least.
var validRule = regexp.MustCompile(`^(\*\.(?:[a-z0-9_-]+\.)+|(?:[a-z0-9_-]+\.)*)([a-z0-9_-]*[a-z][a-z0-9_-]*)(?::([0-9]{1,5}))?$`)

// parseRules reads the option allow.
func parseRules(own []string) ([]hostRule, error) {
	texts := own
	if len(own) == 0 {
		texts = defaultAllow
	}
	rules := make([]hostRule, len(texts))
	for i, text := range texts {
		rule, err := parseRule(text)
		if err != nil {
			return nil, fmt.Errorf("allow: %w", err)
		}
		rule.byName = len(own) > 0 && rule.exact
		rules[i] = rule
	}
	return rules, nil
}

func parseRule(text string) (hostRule, error) {
	part := validRule.FindStringSubmatch(strings.ToLower(text))
	if part == nil {
		return hostRule{}, fmt.Errorf("%q is not the name of a host such as push.example.com or *.push.example.com", text)
	}
	name, wildcard := strings.CutPrefix(part[1]+part[2], "*")
	return hostRule{name: name, port: cmp.Or(part[3], httpsPort), exact: !wildcard}, nil
}

func (r hostRule) matches(host, port string) bool {
	switch {
	case r.port != port:
		return false
	case r.exact:
		return host == r.name
	}
	return strings.HasSuffix(host, r.name) && len(host) > len(r.name)
}

// allows reports whether an endpoint may be at a host.
func (p *WebPush) allows(host, port string) bool {
	return slices.ContainsFunc(p.hosts, func(r hostRule) bool { return r.matches(host, port) })
}

// dial connects to a push service: to a private address only where the
// operator named the host.
func (p *WebPush) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout, Control: publicOnly}
	if slices.ContainsFunc(p.hosts, func(r hostRule) bool { return r.byName && r.matches(host, port) }) {
		dialer.Control = nil
	}
	return dialer.DialContext(ctx, network, address)
}

const dialTimeout = 10 * time.Second

var errNotPublic = errors.New("its name leads to an address that is not a public one")

// publicOnly looks at the address after the name was resolved, right before
// the connection.
func publicOnly(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !public(addr.Addr()) {
		return errNotPublic
	}
	return nil
}

// special are unicast ranges that are not on the internet, in addition to those that
// package netip knows, and ranges that lead to IPv4 addresses (IANA registries
// of special-purpose addresses).
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return addr.IsGlobalUnicast() && !addr.IsPrivate() &&
		!slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(addr) })
}
