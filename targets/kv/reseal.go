package kv

import (
	"context"
	"errors"
	"fmt"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Each calls f for every target, of all namespaces, in no order and with few of
// them in memory, until f returns an error, which Each returns. A record that
// cannot be read comes as a nil target with an error of type
// *targets.RecordError; f decides whether to go on. A target that changes
// meanwhile may be missed, and one may come twice. It is not for the path of a
// request.
func (s *Store) Each(ctx context.Context, f func(t *targets.Target, err error) error) error {
	return s.backend.Scan(ctx, Records, func(hash string, v *Value) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, _, err := s.decode(v, hash)
		return f(t, err)
	})
}

// Reseal seals again, with the first key, what other keys sealed or nobody did,
// and returns how many records those were. It calls damaged for each record that
// cannot be read, and ends with its first error. No key may be taken away, nor
// accept_unsealed, before it has succeeded. Lists of a former release are
// replaced by those of this one.
func (s *Store) Reseal(ctx context.Context, damaged func(*targets.RecordError) error) (n int, err error) {
	unread := 0
	for _, kind := range []Kind{Records, Devices} {
		err := s.backend.Scan(ctx, kind, func(name string, v *Value) error {
			resealed, err := s.reseal(ctx, Key{kind, name}, v)
			if resealed {
				n++
			}
			if e, ok := errors.AsType[*targets.RecordError](err); ok {
				unread++
				return damaged(e)
			}
			return err
		})
		if err != nil {
			return n, err
		}
	}
	if v, err := s.get(ctx, hashKey); err != nil {
		return n, err
	} else if v != nil {
		if _, err := s.reseal(ctx, hashKey, v); err != nil {
			return n, fmt.Errorf("resealing the hash key: %w", err)
		}
	}
	former, ok := s.backend.(Former)
	if !ok || unread > 0 {
		return n, nil
	}
	err = s.Each(ctx, func(t *targets.Target, err error) error {
		if err != nil {
			unread++
			return nil //nolint:nilerr // it was reported before, or has just been written by a newer release
		}
		return s.enlist(ctx, ownerOf(t), t.Ref(), false)
	})
	if err != nil || unread > 0 {
		return n, err
	}
	return n, former.DropFormer(ctx)
}

// reseal seals one value again, as long as others change it meanwhile.
func (s *Store) reseal(ctx context.Context, key Key, v *Value) (resealed bool, err error) {
	place := s.backend.Place(key)
	if _, current, err := s.ring.Open(v.Data, place); err != nil {
		return false, &targets.RecordError{Hash: key.Name, Err: err}
	} else if current {
		return false, nil
	}
	err = s.repeat(ctx, key, func(ctx context.Context) (done bool, err error) {
		v, err := s.get(ctx, key)
		if v == nil || err != nil {
			return err == nil, err
		}
		content, current, err := s.ring.Open(v.Data, place)
		if err != nil {
			return false, &targets.RecordError{Hash: key.Name, Err: err}
		}
		if current {
			return true, nil
		}
		resealed, err = s.backend.Swap(ctx, key, v, s.ring.Seal(content, place))
		return resealed, err
	})
	return resealed, err
}
