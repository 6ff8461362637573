package exchange

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// A lease lets a dispatch use a channel.
type lease struct {
	release func()          // of the channel's slot; called once
	counted []targets.Count // against the channel's own limits
}

// guard refuses what should not reach nevisFIDO at all.
func (x *Exchange) guard(d *delivery.Dispatch) (*lease, *dispatchers.Error) {
	if failure := x.courier.Quarantined(*d); failure != nil {
		return nil, failure
	}
	x.admitMembers(d)
	return x.admit(d.HTTP.Context(), d, d.Channel, x.Limits)
}

// admit takes a slot of a channel that serves the operation, and counts the
// dispatch against the channel's limits and the given ones.
func (x *Exchange) admit(ctx context.Context, d *delivery.Dispatch, c *delivery.Channel, limits []dispatchers.Limit) (*lease, *dispatchers.Error) {
	if !c.Serves(d.Operation) {
		return nil, delivery.NotServed(c)
	}
	release := c.Acquire()
	if release == nil {
		return nil, dispatchers.Fail(dispatchers.Refused, "busy", "dispatcher %q has %d dispatches under way, its bound", c.Name, cap(c.Slots))
	}
	counted, failure := x.count(ctx, d, c, limits)
	if failure != nil {
		release()
		return nil, failure
	}
	if c.Composite != nil {
		counted = nil // one member may have delivered where another failed
	}
	return &lease{release, counted}, nil
}

// admitMembers has the dispatch ask for each member of a composite.
func (x *Exchange) admitMembers(d *delivery.Dispatch) {
	d.Admit = func(ctx context.Context, member *delivery.Channel) (func(bool), *dispatchers.Error) {
		l, failure := x.admit(ctx, d, member, nil)
		if failure != nil {
			return nil, failure
		}
		return func(giveBack bool) {
			defer l.release()
			if giveBack {
				x.giveBack(d.HTTP, l)
			}
		}, nil
	}
}

// giveBack undoes the counting against the channel's own limits. The limits
// that hold for all keep it, because nevisFIDO has made a token.
func (x *Exchange) giveBack(r *http.Request, l *lease) {
	if len(l.counted) == 0 {
		return
	}
	ctx, cancel := x.detached(r)
	defer cancel()
	if err := x.Limiter.GiveBack(ctx, l.counted); err != nil {
		tracing.Log(ctx, x.Log).Warn("a dispatch that failed counts against the dispatcher's limits", slog.Any("error", err))
	}
}

// count counts the dispatch against the given limits and the channel's own,
// and returns the counts of the latter.
func (x *Exchange) count(ctx context.Context, d *delivery.Dispatch, c *delivery.Channel, limits []dispatchers.Limit) ([]targets.Count, *dispatchers.Error) {
	var counts []targets.Count
	var counted []dispatchers.Limit // of the counts, in their order
	add := func(dispatcher string, limits []dispatchers.Limit) {
		for _, limit := range limits {
			subject, known := x.subject(d, limit.Scope)
			if subject == "" {
				continue
			}
			id := strings.Join([]string{string(limit.Scope), dispatcher, strconv.Itoa(limit.N), limit.Window.String(), subject}, "|")
			key := targets.Ref{Namespace: x.Targets.Namespace, ID: id}.Hash()
			counts = append(counts, targets.Count{Key: key, N: limit.N, Window: limit.Window, Apart: !known})
			counted = append(counted, limit)
		}
	}
	add("", limits)
	common := len(counts)
	add(c.Name, c.Limits)
	if len(counts) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, x.Deadline)
	defer cancel()
	reached, err := x.Limiter.TakeAll(ctx, counts)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, "limiter_unavailable", "counting dispatches: %w", err)
	}
	if reached < 0 {
		return counts[common:], nil
	}
	limit := counted[reached]
	x.Observer.Limited(limit.Scope)
	return nil, dispatchers.Fail(dispatchers.Refused, "limited", "limit %s %d %s is reached", limit.Scope, limit.N, limit.Window)
}

// subject returns whom a limit counts, "" where the request names nobody, and
// whether that is somebody whom we know: everything else can be made up by the
// caller.
func (x *Exchange) subject(d *delivery.Dispatch, scope dispatchers.Scope) (subject string, known bool) {
	switch scope {
	case dispatchers.PerTarget:
		return d.Request.TargetID, d.Target != nil
	case dispatchers.PerUser:
		return d.Request.Username, d.Target != nil && d.Target.Username == d.Request.Username
	case dispatchers.PerClient:
		return network(x.ClientIP(d.HTTP)), false
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
