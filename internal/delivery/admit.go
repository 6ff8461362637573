package delivery

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// A Lease lets a dispatch use a channel.
type Lease struct {
	courier *Courier
	channel *Channel
	slot    func()          // of the channel; gives it back
	counted []targets.Count // against the channel's own limits
}

// Admit lets a dispatch begin, or refuses what should not reach nevisFIDO at all.
// Release has to be called in the end.
func (c *Courier) Admit(ctx context.Context, d Dispatch) (*Lease, *dispatchers.Error) {
	if failure := c.inQuarantine(ctx, d); failure != nil {
		return nil, failure
	}
	return c.admit(ctx, d, d.Channel, c.Limits)
}

// admit takes a slot of a channel that serves the operation, and counts the
// dispatch against the channel's limits and the given ones.
func (c *Courier) admit(ctx context.Context, d Dispatch, channel *Channel, limits []dispatchers.Limit) (*Lease, *dispatchers.Error) {
	if !channel.serves(d.Operation) {
		return nil, notServed(channel)
	}
	slot := channel.acquire()
	if slot == nil {
		return nil, dispatchers.Fail(dispatchers.Refused, "busy", "dispatcher %q has %d dispatches under way, its bound", channel.Name, cap(channel.Slots))
	}
	counted, failure := c.count(ctx, d, channel, limits)
	if failure != nil {
		slot()
		return nil, failure
	}
	if channel.Composite != nil {
		counted = nil // one member may have delivered where another failed
	}
	return &Lease{c, channel, slot, counted}, nil
}

// Release gives back the slot. It is called once.
func (l *Lease) Release() { l.slot() }

// GiveBack undoes the counting against the channel's own limits, if the failure is
// our own (see givesBack). The limits that hold for all keep it, because
// nevisFIDO has made a token.
func (l *Lease) GiveBack(ctx context.Context, r Report, failure *dispatchers.Error) {
	if len(l.counted) == 0 || !r.givesBack(l.channel.Name, failure) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.courier.Deadline)
	defer cancel()
	if err := l.courier.Limiter.GiveBack(ctx, l.counted); err != nil {
		tracing.Log(ctx, l.courier.Log).Warn("a dispatch that failed counts against the dispatcher's limits", slog.Any("error", err))
	}
}

// givesBack reports whether a dispatch over a channel failed through our own
// fault before anything can have been delivered, so that it does not count
// against the channel's limits: one letter a day would come to none.
func (r Report) givesBack(channel string, failure *dispatchers.Error) bool {
	uncertain := func(a Attempt) bool { return a.Dispatcher == channel && a.Class == dispatchers.Temporary }
	return failure != nil && failure.Class == dispatchers.Broken && !slices.ContainsFunc(r.Attempts, uncertain)
}

// count counts the dispatch against the given limits and the channel's own,
// and returns the counts of the latter.
func (c *Courier) count(ctx context.Context, d Dispatch, channel *Channel, limits []dispatchers.Limit) ([]targets.Count, *dispatchers.Error) {
	var counts []targets.Count
	var counted []dispatchers.Limit // of the counts, in their order
	add := func(dispatcher string, limits []dispatchers.Limit) {
		for _, limit := range limits {
			subject, known := c.subject(d, limit.Scope)
			if subject == "" {
				continue
			}
			id := strings.Join([]string{string(limit.Scope), dispatcher, strconv.Itoa(limit.N), limit.Window.String(), subject}, "|")
			key := targets.Ref{Namespace: c.Targets.Namespace, ID: id}.Hash()
			counts = append(counts, targets.Count{Key: key, N: limit.N, Window: limit.Window, Apart: !known})
			counted = append(counted, limit)
		}
	}
	add("", limits)
	common := len(counts)
	add(channel.Name, channel.Limits)
	if len(counts) == 0 {
		return nil, nil
	}
	reached, err := c.Limiter.TakeAll(ctx, counts)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, "limiter_unavailable", "counting dispatches: %w", err)
	}
	if reached < 0 {
		return counts[common:], nil
	}
	limit := counted[reached]
	c.Limited(limit.Scope)
	return nil, dispatchers.Fail(dispatchers.Refused, "limited", "limit %s %d %s is reached", limit.Scope, limit.N, limit.Window)
}

// subject returns whom a limit counts, "" where the request names nobody, and
// whether that is somebody whom we know: everything else can be made up by the
// caller.
func (c *Courier) subject(d Dispatch, scope dispatchers.Scope) (subject string, known bool) {
	switch scope {
	case dispatchers.PerTarget:
		return d.Request.TargetID, d.Target != nil
	case dispatchers.PerUser:
		return d.Request.Username, d.Target != nil && d.Target.Username == d.Request.Username
	case dispatchers.PerClient:
		return network(c.ClientIP(d.HTTP)), false
	}
	return "", false
}

// network returns what one client can be expected to have: an IPv4 address, also
// where it is mapped into IPv6, or the first 64 bits of an IPv6 address.
func network(ip string) string {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	return netip.PrefixFrom(address, 64).Masked().String()
}
