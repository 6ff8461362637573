package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// owner is a user on a device. The zero owner has no list.
type owner struct{ namespace, device, username string }

func ownerOf(t *targets.Target) owner {
	if t == nil || t.DeviceID == "" {
		return owner{}
	}
	return owner{t.Namespace, t.DeviceID, t.Username}
}

// formerName is what the list of the device was called that had all users.
func (o owner) formerName() string {
	return targets.Ref{Namespace: o.namespace, ID: o.device}.Hash()
}

func (o owner) key() Key {
	return Key{Devices, targets.Ref{Namespace: o.formerName(), ID: o.username}.Hash()}
}

// maxList bounds a list, in bytes: some 20,000 targets.
const maxList = 1 << 20

const listSchema = 2

// list holds the targets of a user on a device.
type list struct {
	Schema    int    `json:"schema"`
	Namespace string `json:"namespace,omitempty"`
	DeviceID  string `json:"device_id"`
	Username  string `json:"username,omitempty"`

	// Targets has a random text for each id, which is new whenever the target
	// is put into the list. Who takes a target off the list has looked at the
	// text before it changed the record, and leaves the target there if it is
	// another one now: then somebody else is about to give the target back to
	// the device.
	Targets map[string]string `json:"targets"`
}

// OfDevice implements targets.Store. A list of a former release has the targets
// of other users too.
func (s *Store) OfDevice(ctx context.Context, namespace, deviceID, username string) ([]string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	o := owner{namespace, deviceID, username}
	_, l, err := s.list(ctx, o)
	if err != nil {
		return nil, err
	}
	ids := slices.Collect(maps.Keys(l.Targets))
	if former, ok := s.backend.(Former); ok {
		more, err := former.FormerDevice(ctx, o.formerName(), s.openFormer)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (s *Store) openFormer(data []byte, place string) ([]byte, error) {
	content, _, err := s.ring.Open(data, place)
	return content, err
}

// list returns a list and the value that it was read from, which is nil where
// there is none.
func (s *Store) list(ctx context.Context, o owner) (*Value, *list, error) {
	l := &list{Schema: listSchema, Namespace: o.namespace, DeviceID: o.device, Username: o.username}
	v, err := s.find(ctx, o.key())
	if v == nil || err != nil {
		l.Targets = make(map[string]string)
		return nil, l, err
	}
	data, _, err := s.ring.Open(v.Data, s.backend.Place(o.key()))
	if err != nil {
		return nil, nil, fmt.Errorf("opening the list of a device's targets: %w", err)
	}
	l, err = decodeList(data, o)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the list of a device's targets: %w", err)
	}
	return v, l, nil
}

// decodeList reads the list of an owner strictly. The error quotes nothing of it.
func decodeList(data []byte, o owner) (*list, error) {
	l := new(list)
	switch err := json.Unmarshal(data, l, json.RejectUnknownMembers(true)); {
	case len(data) > maxList, err != nil, l.Schema != listSchema, l.Targets == nil:
		return nil, errors.New("the record is damaged, or of a newer release")
	case o != owner{l.Namespace, l.DeviceID, l.Username}:
		return nil, errors.New("the record is that of another device or user")
	}
	return l, nil
}

// enlist adds a target to a list. With renew it gets a new text if it is there
// already.
func (s *Store) enlist(ctx context.Context, o owner, ref targets.Ref, renew bool) error {
	return s.changeList(ctx, o, func(l *list) bool {
		if _, ok := l.Targets[ref.ID]; ok && !renew {
			return false
		}
		l.Targets[ref.ID] = rand.Text()
		return true
	})
}

// tokenOf returns the text of a target in a list, or nothing.
func (s *Store) tokenOf(ctx context.Context, o owner, ref targets.Ref) string {
	if o == (owner{}) {
		return ""
	}
	_, l, err := s.list(ctx, o)
	if err != nil {
		return "" // an entry too many does no harm
	}
	return l.Targets[ref.ID]
}

// delist takes a target off a list if it still has the text. It does not matter
// much: an entry too many does no harm.
func (s *Store) delist(ctx context.Context, o owner, ref targets.Ref, token string) {
	_ = s.changeList(ctx, o, func(l *list) bool {
		if token == "" || l.Targets[ref.ID] != token {
			return false
		}
		delete(l.Targets, ref.ID)
		return true
	})
}

// changeList changes a list, unless change returns false. Whoever has a list's
// lock waits for no other.
func (s *Store) changeList(ctx context.Context, o owner, change func(*list) bool) error {
	if o == (owner{}) {
		return nil
	}
	return s.repeat(ctx, o.key(), func(ctx context.Context) (done bool, err error) {
		old, l, err := s.list(ctx, o)
		if err != nil {
			return false, err
		}
		if !change(l) {
			return true, nil
		}
		if len(l.Targets) == 0 {
			return s.backend.Swap(ctx, o.key(), old, nil)
		}
		data, err := json.Marshal(l, json.Deterministic(true))
		if err != nil {
			return false, errors.New("encoding the list of a device's targets: an id is not valid UTF-8")
		}
		if len(data) > maxList {
			return false, fmt.Errorf("a user has too many targets on a device: their list has %d bytes, more than %d", len(data), maxList)
		}
		return s.backend.Swap(ctx, o.key(), old, s.ring.Seal(data, s.backend.Place(o.key())))
	})
}
