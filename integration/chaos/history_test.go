package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// operation is what happened to a target. The members of a creation, a
// modification or a message are values that nobody else and nothing before had;
// a modification leaves out what it does not bring.
type operation struct {
	kind         kind
	key, address string // the key's thumbprint
}

type kind byte

const (
	created  kind = iota + 1 // by nevisFIDO
	modified                 // by nevisFIDO
	removed                  // by nevisFIDO
	sent                     // a message: with which key, to which address
	losing                   // from here on Redis may lose what it is told
	kept                     // from here on it does not
)

// state is what messages to a target may go to: one key and one address, unless
// Redis may have lost that nevisFIDO has others now.
type state struct {
	exists, losing  bool
	keys, addresses []string // the present one is the last
}

// register is the model of a target.
var register = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(from, input, _ any) (bool, any) {
		s, o := from.(state), input.(operation)
		switch o.kind {
		case created:
			return !s.exists, state{true, s.losing, []string{o.key}, []string{o.address}}
		case modified:
			ok := s.exists
			s.keys, s.addresses = s.bring(s.keys, o.key), s.bring(s.addresses, o.address)
			return ok, s
		case removed:
			s.exists = false
			return true, s
		case sent:
			return s.exists && slices.Contains(s.keys, o.key) && slices.Contains(s.addresses, o.address), s
		case losing, kept:
			s.losing = o.kind == losing
			return true, s
		}
		return false, s
	},
	Equal: func(a, b any) bool {
		s, o := a.(state), b.(state)
		return s.exists == o.exists && s.losing == o.losing && slices.Equal(s.keys, o.keys) && slices.Equal(s.addresses, o.addresses)
	},
}

// bring returns the values that a message may go to when nevisFIDO has taken over
// another; "" is none.
func (s state) bring(values []string, value string) []string {
	switch {
	case value == "":
		return values
	case s.losing:
		return append(slices.Clip(values), value)
	}
	return []string{value}
}

// window is a time in which Redis may have lost something, by the clock of book.
type window struct{ from, to int64 }

// book has the histories of all targets. All times are of its clock, which is the
// monotonic one of the test: clients, nevisFIDO and webhook are in this process.
type book struct {
	start time.Time

	mu      sync.Mutex
	targets map[string][]porcupine.Operation // by id
	devices map[string][]string              // ids of targets by that of the device
}

func newBook() *book {
	return &book{start: time.Now(), targets: make(map[string][]porcupine.Operation), devices: make(map[string][]string)}
}

func (b *book) now() int64 { return int64(time.Since(b.start)) }

// has takes down that a device has a target.
func (b *book) has(device, target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.devices[device] = append(b.devices[device], target)
}

// ofDevice returns the targets that a device has or had.
func (b *book) ofDevice(device string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.devices[device])
}

// enter takes down an operation that took effect between two times.
func (b *book) enter(target string, o operation, from, to int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets[target] = append(b.targets[target], porcupine.Operation{Input: o, Call: from, Return: to})
}

// check returns the targets with a history that no order of its operations
// explains. Redis may have lost something in the windows.
func (b *book) check(t *testing.T, windows ...window) (illegal []string) {
	t.Helper()
	for target, history := range b.targets {
		history = slices.Clone(history)
		for _, w := range windows {
			history = append(history,
				porcupine.Operation{Input: operation{kind: losing}, Call: w.from, Return: w.from},
				porcupine.Operation{Input: operation{kind: kept}, Call: w.to, Return: w.to})
		}
		switch porcupine.CheckOperationsTimeout(register, history, time.Minute) {
		case porcupine.Ok:
		case porcupine.Illegal:
			illegal = append(illegal, target)
			if len(illegal) <= 3 {
				t.Logf("the history of target %s is illegal; without what is well it is\n%s", target, excerpt(history))
			}
		case porcupine.Unknown:
			t.Errorf("the history of target %s, of %d operations, was not checked within a minute", target, len(history))
		}
	}
	return illegal
}

// excerpt prints the operations of a history in their order, but of the messages
// only those that went to what had been replaced. Times are in milliseconds.
func excerpt(history []porcupine.Operation) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var text strings.Builder
	for _, o := range history {
		input := o.Input.(operation)
		if input.kind != sent || late(history, o) {
			fmt.Fprintf(&text, "%10.1f to %10.1f %-9s key %.6s address %s\n", float64(o.Call)/1e6, float64(o.Return)/1e6, input.kind, input.key, input.address)
		}
	}
	return text.String()
}

// String is what happened.
func (k kind) String() string {
	return [...]string{"", "created", "modified", "removed", "message", "losing", "kept"}[k]
}

// count returns how many operations of a kind there are.
func (b *book) count(k kind) (n int) {
	for _, history := range b.targets {
		for _, o := range history {
			if o.Input.(operation).kind == k {
				n++
			}
		}
	}
	return n
}

// replaced counts the messages that went to a key or an address that nevisFIDO had
// replaced before the dispatch was called for. It looks at no order but this.
func (b *book) replaced() (n int) {
	for _, history := range b.targets {
		for _, m := range history {
			if m.Input.(operation).kind == sent && late(history, m) {
				n++
			}
		}
	}
	return n
}

// late tells whether the key or the address of a message was replaced.
func late(history []porcupine.Operation, message porcupine.Operation) bool {
	return outdated(history, message, func(o operation) string { return o.key }) || outdated(history, message, func(o operation) string { return o.address })
}

// outdated tells whether the member of a message was replaced.
func outdated(history []porcupine.Operation, message porcupine.Operation, member func(operation) string) bool {
	value := member(message.Input.(operation))
	brought := slices.IndexFunc(history, func(o porcupine.Operation) bool {
		w := o.Input.(operation)
		return (w.kind == created || w.kind == modified) && member(w) == value
	})
	return brought < 0 || slices.ContainsFunc(history, func(o porcupine.Operation) bool {
		w := o.Input.(operation)
		return w.kind == modified && member(w) != "" && o.Call > history[brought].Return && o.Return < message.Call
	})
}

// What the product must not do is found, and what it may do is not.
func TestRegister(t *testing.T) {
	creation := operation{created, "key 1", "address 1"}
	rekeyed, moved := operation{kind: modified, key: "key 2"}, operation{kind: modified, address: "address 2"}
	message := func(key, address string) operation { return operation{sent, key, address} }
	type entry struct {
		operation
		from, to int64
	}
	for name, test := range map[string]struct {
		history []entry
		windows []window
		illegal bool
	}{
		"the present key":                     {[]entry{{creation, 1, 2}, {message("key 1", "address 1"), 3, 4}, {rekeyed, 5, 6}, {message("key 2", "address 1"), 7, 8}}, nil, false},
		"the old key":                         {[]entry{{creation, 1, 2}, {rekeyed, 3, 4}, {message("key 1", "address 1"), 5, 6}}, nil, true},
		"the old address":                     {[]entry{{creation, 1, 2}, {moved, 3, 4}, {message("key 1", "address 1"), 5, 6}}, nil, true},
		"the old key, while it is replaced":   {[]entry{{creation, 1, 2}, {rekeyed, 3, 6}, {message("key 1", "address 1"), 4, 5}}, nil, false},
		"the new key, and then the old one":   {[]entry{{creation, 1, 2}, {rekeyed, 3, 9}, {message("key 2", "address 1"), 4, 5}, {message("key 1", "address 1"), 6, 7}}, nil, true},
		"a key that nevisFIDO never had":      {[]entry{{creation, 1, 2}, {message("key 2", "address 1"), 3, 4}}, nil, true},
		"a key that comes later":              {[]entry{{creation, 1, 2}, {message("key 2", "address 1"), 3, 4}, {rekeyed, 5, 6}}, nil, true},
		"the new key with the old address":    {[]entry{{creation, 1, 2}, {rekeyed, 3, 4}, {moved, 5, 6}, {message("key 2", "address 1"), 7, 8}}, nil, true},
		"neither before nor after a change":   {[]entry{{creation, 1, 2}, {operation{modified, "key 2", "address 2"}, 3, 6}, {message("key 1", "address 2"), 4, 5}}, nil, true},
		"two changes at once, in either way":  {[]entry{{creation, 1, 2}, {rekeyed, 3, 6}, {operation{kind: modified, key: "key 3"}, 3, 6}, {message("key 2", "address 1"), 7, 8}}, nil, false},
		"two changes at once, in both ways":   {[]entry{{creation, 1, 2}, {rekeyed, 3, 6}, {operation{kind: modified, key: "key 3"}, 3, 6}, {message("key 2", "address 1"), 7, 8}, {message("key 3", "address 1"), 7, 8}}, nil, true},
		"a deleted target":                    {[]entry{{creation, 1, 2}, {operation{kind: removed}, 3, 4}, {message("key 1", "address 1"), 5, 6}}, nil, true},
		"lost by a failover":                  {[]entry{{creation, 1, 2}, {rekeyed, 4, 5}, {message("key 1", "address 1"), 8, 9}}, []window{{3, 7}}, false},
		"lost, and brought anew":              {[]entry{{creation, 1, 2}, {rekeyed, 4, 5}, {operation{kind: modified, key: "key 3"}, 8, 9}, {message("key 1", "address 1"), 10, 11}}, []window{{3, 7}}, true},
		"lost, and another member is brought": {[]entry{{creation, 1, 2}, {rekeyed, 4, 5}, {moved, 8, 9}, {message("key 1", "address 2"), 10, 11}}, []window{{3, 7}}, false},
		"lost although it was there before":   {[]entry{{creation, 1, 2}, {rekeyed, 3, 4}, {message("key 1", "address 1"), 8, 9}}, []window{{5, 7}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook()
			for _, e := range test.history {
				b.enter("target", e.operation, e.from, e.to)
			}
			if got := len(b.check(t, test.windows...)) > 0; got != test.illegal {
				t.Errorf("illegal: %t, want %t", got, test.illegal)
			}
		})
	}
}
