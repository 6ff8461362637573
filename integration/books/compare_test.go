package books

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// books are what is compared. The package comment has the rules.
type books struct {
	calls    []call
	receipts []receipt
	lines    []line
	metrics  map[string]float64 // by series; those that are 0 may be missing
}

// call is what a caller knows.
type call struct {
	trace      string
	dispatcher string // that it asked for
	status     int    // 0: no answer
	result     nevisfido.DispatchResult
	delivered  string // the dispatcher of the answer
	token      string // its keyed hash
}

// receipt is what a provider knows of one message that it took.
type receipt struct {
	dispatcher string
	id         string // of the message at the provider
	reads      string // the keyed hash of the token that the phone reads; "" where it was not opened
}

// line is what is read of an audit line of a dispatch.
type line struct {
	Trace      string                   `json:"trace_id"`
	Operation  string                   `json:"operation"`
	Dispatcher string                   `json:"dispatcher"`
	Delivered  string                   `json:"delivered"`
	Token      string                   `json:"token"`
	Result     nevisfido.DispatchResult `json:"result"`
	Reason     string                   `json:"reason"`
	Attempts   []attempt                `json:"attempts"`
	Fallbacks  []struct {
		From, To, Reason string
	} `json:"fallbacks"`
}

type attempt struct{ Dispatcher, Class, Reason string }

func (a attempt) delivered() bool { return a.Class == "delivered" }

// unknown tells that the provider may have taken the message of a failed attempt.
func (a attempt) unknown() bool {
	return a.Class == "temporary" && slices.Contains([]string{"connection", "timeout", "unavailable", "internal", "deferred"}, a.Reason) ||
		a.Reason == "uncertain"
}

// The kinds of findings.
const (
	lost        = "lost"         // on record as delivered, and nobody has it
	untold      = "untold"       // delivered, and on record as failed for certain
	doubled     = "doubled"      // where the docs do not allow it
	misread     = "misread"      // the phone reads another token, or nothing
	noLine      = "no line"      // of a call or a receipt
	noCall      = "no call"      // of a line, or not of this one alone
	contradicts = "contradicts"  // the line says another thing than the caller heard
	wrongMetric = "wrong metric" // it is not the sum of the lines
)

// finding is one disagreement.
type finding struct{ kind, what string }

// figures are what the books come to.
type figures struct {
	calls, unanswered, dispatched, failed int
	attempts, failedAttempts, fallbacks   int
	receipts, opened                      int
	told                                  int            // dispatches that arrived although their callers were told that they failed
	twice                                 map[string]int // messages that were taken more than once, by dispatcher
}

func (f figures) String() string {
	return fmt.Sprintf("%d calls: %d dispatched, %d failed, %d without an answer; %d attempts, of which %d failed; %d fallbacks; "+
		"%d receipts, of which phones opened %d; %d arrived although the caller was told that they failed; taken more than once: %v",
		f.calls, f.dispatched, f.failed, f.unanswered, f.attempts, f.failedAttempts, f.fallbacks, f.receipts, f.opened, f.told, f.twice)
}

// compare returns every disagreement of the books.
func (b books) compare() (f figures, found []finding) {
	add := func(kind, format string, args ...any) {
		found = append(found, finding{kind, fmt.Sprintf(format, args...)})
	}
	lines := map[string]line{}
	for _, l := range b.lines {
		if _, twice := lines[l.Trace]; twice || l.Trace == "" {
			add(noCall, "more than one line of a call: %+v", l)
		}
		lines[l.Trace] = l
	}
	taken := map[string][]receipt{}
	for _, r := range b.receipts {
		taken[r.id] = append(taken[r.id], r)
		if f.receipts++; r.reads != "" {
			f.opened++
		}
	}
	f.twice = map[string]int{}
	for _, c := range b.calls {
		f.calls++
		l, recorded := lines[c.trace]
		switch {
		case c.status == 0:
			f.unanswered++
		case !recorded:
			add(noLine, "%+v", c)
		case c.result == nevisfido.Dispatched:
			f.dispatched++
		default:
			f.failed++
		}
		if !recorded {
			continue
		}
		delete(lines, c.trace)
		if why := l.contradicts(c); why != "" {
			add(contradicts, "%s: %+v, %+v", why, c, l)
		}
		l.settle(c, taken, &f, add)
	}
	for _, l := range lines {
		add(noCall, "%+v", l)
	}
	for _, r := range taken {
		add(noLine, "%+v", r)
	}
	b.compareMetrics(add)
	return f, found
}

// contradicts says in what a line differs from what its caller was answered.
func (l line) contradicts(c call) string {
	switch {
	case l.Dispatcher != c.dispatcher:
		return "another dispatcher"
	case c.status == 0:
		return ""
	case c.status != http.StatusOK:
		if l.Result == nevisfido.Dispatched {
			return "an HTTP error of a success"
		}
		return ""
	case l.Result != c.result:
		return "another result"
	case l.Token != c.token:
		return "another token"
	case c.result == nevisfido.Dispatched && l.Delivered != c.delivered:
		return "another dispatcher delivered"
	}
	return ""
}

// settle compares the attempts of a line with the receipts, which it takes out.
func (l line) settle(c call, taken map[string][]receipt, f *figures, add func(kind, format string, args ...any)) {
	type tally struct{ delivered, unknown int }
	tallies := map[string]tally{}
	for name := range ids {
		tallies[name] = tally{}
	}
	delivered, arrived := 0, 0
	for _, a := range l.Attempts {
		t := tallies[a.Dispatcher]
		f.attempts++
		switch {
		case a.delivered():
			t.delivered++
			delivered++
		case a.unknown():
			t.unknown++
			fallthrough
		default:
			f.failedAttempts++
		}
		tallies[a.Dispatcher] = t
	}
	f.fallbacks += len(l.Fallbacks)
	for name, t := range tallies {
		id := ids[name](l.Token)
		receipts := taken[id]
		delete(taken, id)
		for _, r := range receipts {
			if r.reads != "" && r.reads != l.Token {
				add(misread, "%+v, %+v", r, l)
			}
		}
		n := len(receipts)
		arrived += n
		if n > 1 {
			f.twice[name]++
		}
		switch {
		case n < t.delivered && c.status == 0 && l.Delivered == name && onScreen[name]: // it went with the answer
		case n < t.delivered:
			add(lost, "%s has %d: %+v", name, n, l)
		case n > t.delivered+t.unknown && t.delivered == 0:
			add(untold, "%s has %d: %+v", name, n, l)
		case n > t.delivered+t.unknown, n > 1 && !repeats[name]:
			add(doubled, "%s has %d: %+v", name, n, l)
		}
	}
	switch {
	case l.Result == nevisfido.Dispatched && delivered == 0:
		add(lost, "without a delivery: %+v", l)
	case l.Result != nevisfido.Dispatched && delivered > 0:
		add(untold, "with a delivery: %+v", l)
	case l.Result != nevisfido.Dispatched && arrived > 0:
		f.told++
	}
}

func (b books) compareMetrics(add func(kind, format string, args ...any)) {
	want := map[string]float64{}
	for _, l := range b.lines {
		want[series("dispatches_total", "dispatcher", l.Dispatcher, "operation", l.Operation, "reason", l.Reason, "result", string(l.Result))]++
		for _, a := range l.Attempts {
			want[series("delivery_attempts_total", "dispatcher", a.Dispatcher, "outcome", a.Class)]++
		}
		for _, s := range l.Fallbacks {
			want[series("fallbacks_total", "from", s.From, "reason", s.Reason, "to", s.To)]++
		}
	}
	all := maps.Clone(want)
	for name := range b.metrics {
		if _, ours := all[name]; !ours && slices.ContainsFunc(compared, func(family string) bool { return strings.HasPrefix(name, "caddy_oob_"+family) }) {
			all[name] = 0
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if b.metrics[name] != want[name] {
			add(wrongMetric, "%s is %v, and the lines come to %v", name, b.metrics[name], want[name])
		}
	}
}

// compared are the metrics that have to be the sums of the lines.
var compared = []string{"dispatches_total", "delivery_attempts_total", "fallbacks_total", "audit_failures_total"}

// series writes a series as the endpoint does; its labels are in their order.
func series(name string, labels ...string) string {
	var out []string
	for i := 0; i < len(labels); i += 2 {
		out = append(out, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
	}
	return "caddy_oob_" + name + "{" + strings.Join(out, ",") + "}"
}

// ids says what the message of a dispatcher is called at the third party, by the
// hash of the token (docs/audit.md). The link and the picture have no third
// party: their ids are this test's own.
var ids = map[string]func(hash string) string{
	"push":     func(hash string) string { return hash },
	"browser":  topic,
	"mail":     named("mail"),
	"sms":      named("sms"),
	"paper":    named("paper"),
	"app-link": named("app-link"),
	"app-qr":   named("app-qr"),
}

func named(dispatcher string) func(string) string {
	return func(hash string) string { return hash + "_" + dispatcher }
}

// topic is the Topic of a web push, which may have 32 characters (RFC 8030).
func topic(hash string) string {
	sum := sha256.Sum256([]byte(hash))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// onScreen are the dispatchers whose message is in the answer.
var onScreen = map[string]bool{"app-link": true, "app-qr": true}

// repeats are the dispatchers that send again after an attempt whose outcome is
// unknown.
var repeats = map[string]bool{"push": true, "browser": true, "sms": true, "mail": true}
