package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// Outage is a backend whose storage, which is empty, can be taken away.
type Outage struct {
	Backend kv.Backend
	Down    func()         // from here on the storage does nothing; called by what Scan calls, too
	Up      func()         // returns when it works again
	Because *regexp.Regexp // is in every error meanwhile
}

// outage takes the storage away: nothing works, and nothing seems not to be
// there. When the storage is back, everything is as it was.
func outage(t *testing.T, o Outage) {
	ctx, b, s := t.Context(), o.Backend, newStore(t, o.Backend, nil)
	one, content := targets.Ref{ID: "one"}, []byte("content")
	put(t, s, one, Target(one))
	id := putLink(t, s, content)
	secret, err := s.HashKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	old := get(t, b, s.key(one))

	goesAwayWhileScanned(t, o)
	down := &trial{t: t, because: o.Because}
	down.records(s, one, old)
	down.records(s, targets.Ref{ID: "nobody"}, nil)
	down.links(s, id)
	down.links(s, LinkID(time.Now().Add(lifetime)))
	down.rest(s)
	down.Wait()
	o.Up()

	if got := load(t, s, one); !reflect.DeepEqual(got, Target(one)) {
		t.Errorf("afterwards there is\n%+v\nwant\n%+v", got, Target(one))
	}
	mustNotExist(t, s, targets.Ref{ID: "nobody"})
	mustBeOfDevice(t, s, "device-1", "one")
	mustList(t, s, map[targets.Ref]bool{one: true}, nil)
	wantContent(t, content)(s.Get(ctx, id))
	wantContent(t, content)(s.Take(ctx, id))
	wantGone(t, s, id)
	if again, err := s.HashKey(ctx); err != nil || !bytes.Equal(again, secret) {
		t.Errorf("afterwards the hash key is another, or error %v", err)
	}
	if c := b.Counter(); c != nil {
		if reached, err := c.TakeAll(ctx, counts); reached != -1 || err != nil {
			t.Errorf("afterwards TakeAll reached %d, error %v", reached, err)
		}
	}
	swaps(t, b)
	deletes(t, b)
	expiry(t, b)
}

// goesAwayWhileScanned takes the storage away at the first of some neighbours:
// either Scan finds the others nevertheless, or it fails.
func goesAwayWhileScanned(t *testing.T, o Outage) {
	const neighbours, n = "ffffffff", 3
	for i := range n {
		set(t, o.Backend, kv.Key{Kind: kv.Devices, Name: fmt.Sprintf("%s%056x", neighbours, i)}, []byte("x"))
	}
	found := 0
	err := o.Backend.Scan(t.Context(), kv.Devices, func(name string, _ *kv.Value) error {
		if !strings.HasPrefix(name, neighbours) {
			return nil
		}
		if found++; found == 1 {
			o.Down()
		}
		return nil
	})
	if err == nil && found < n {
		t.Errorf("the storage went away while it was scanned: %d of %d values, and no error", found, n)
	}
}

// counts is one thing to count.
var counts = []targets.Count{{Key: "outage", N: 1, Window: time.Hour}}

// trial has operations fail, all at once: clients that try again take their
// time.
type trial struct {
	sync.WaitGroup
	t       *testing.T
	because *regexp.Regexp
}

// fails has an operation return an error, and nothing else.
func (d *trial) fails(name string, op func() (any, error)) {
	d.Go(func() {
		value, err := op()
		if err == nil || errors.Is(err, targets.ErrNotFound) || errors.Is(err, shortlink.ErrNotFound) || !d.because.MatchString(err.Error()) {
			d.t.Errorf("%s gave error %v, want one with %q", name, err, d.because)
		}
		if value != nil && !reflect.ValueOf(value).IsZero() {
			d.t.Errorf("%s gave %v as well as an error", name, value)
		}
	})
}

func (d *trial) records(s *store, ref targets.Ref, old *kv.Value) {
	ctx, b, key := d.t.Context(), s.backend, s.key(ref)
	edit := func(*targets.Target) (*targets.Target, error) {
		d.t.Errorf("a change of %q was asked for, though its record is not known", ref.ID)
		return nil, nil
	}
	for name, op := range map[string]func() (any, error){
		"Get":          func() (any, error) { return b.Get(ctx, key) },
		"Swap":         func() (any, error) { return b.Swap(ctx, key, old, []byte("x")) },
		"Swap to nil":  func() (any, error) { return b.Swap(ctx, key, old, nil) },
		"Delete":       func() (any, error) { return b.Delete(ctx, key) },
		"Store.Load":   func() (any, error) { return s.Load(ctx, ref) },
		"Store.Update": func() (any, error) { return nil, s.Update(ctx, ref, edit) },
		"Store.Heal":   func() (any, error) { return nil, s.Heal(ctx, ref, edit) },
		"Store.Remove": func() (any, error) { return s.Remove(ctx, ref.Hash()) },
	} {
		d.fails(fmt.Sprintf("%s of the record %q", name, ref.ID), op)
	}
}

func (d *trial) links(s *store, id string) {
	ctx, b, key := d.t.Context(), s.backend, kv.Key{Kind: kv.Links, Name: id}
	for name, op := range map[string]func() (any, error){
		"Get":        func() (any, error) { return b.Get(ctx, key) },
		"Take":       func() (any, error) { return b.Take(ctx, key) },
		"Put":        func() (any, error) { return nil, b.Put(ctx, key, []byte("x"), time.Now().Add(lifetime)) },
		"Store.Get":  func() (any, error) { return s.Get(ctx, id) },
		"Store.Take": func() (any, error) { return s.Take(ctx, id) },
	} {
		d.fails(fmt.Sprintf("%s of the link %s", name, id), op)
	}
}

func (d *trial) rest(s *store) {
	ctx, b := d.t.Context(), s.backend
	for _, kind := range []kv.Kind{kv.Records, kv.Devices, kv.Marker} {
		d.fails(fmt.Sprint("Scan of kind ", kind), func() (any, error) {
			var found []string
			err := b.Scan(ctx, kind, func(name string, _ *kv.Value) error { found = append(found, name); return nil })
			return found, err
		})
	}
	d.fails("Store.Each", func() (any, error) {
		n := 0
		err := s.Each(ctx, func(*targets.Target, error) error { n++; return nil })
		return n, err
	})
	d.fails("Store.Reseal", func() (any, error) {
		return s.Reseal(ctx, func(e *targets.RecordError) error {
			d.t.Errorf("an outage came as a damaged record: %v", e)
			return nil
		})
	})
	d.fails("Store.OfDevice", func() (any, error) { return s.OfDevice(ctx, "", "device-1", "jeff") })
	d.fails("Store.OfDevice of none", func() (any, error) { return s.OfDevice(ctx, "", "device-2", "jeff") })
	d.fails("Store.HashKey", func() (any, error) { return s.HashKey(ctx) })
	d.fails("Store.FindHashKey", func() (any, error) { return s.FindHashKey(ctx) })
	if c := b.Counter(); c != nil {
		d.fails("TakeAll", func() (any, error) { _, err := c.TakeAll(ctx, counts); return nil, err })
		d.fails("GiveBack", func() (any, error) { return nil, c.GiveBack(ctx, counts) })
	}
	if f, ok := b.(kv.Former); ok {
		open := func(data []byte, _ string) ([]byte, error) { return data, nil }
		d.fails("FormerDevice", func() (any, error) { return f.FormerDevice(ctx, targets.Ref{ID: "device-1"}.Hash(), open) })
		d.fails("DropFormer", func() (any, error) { return nil, f.DropFormer(ctx) })
	}
}
