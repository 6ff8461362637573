package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
)

var hashKey = Key{Marker, strings.Repeat("0", 63) + "1"}

// HashKey returns the secret of the keyed hashes of all who share the store. The
// first who asks draws it.
func (s *Store) HashKey(ctx context.Context) (secret []byte, err error) {
	err = s.repeat(ctx, hashKey, func(ctx context.Context) (done bool, err error) {
		v, err := s.find(ctx, hashKey)
		switch {
		case err != nil:
			return false, err
		case v == nil:
			secret = keyedhash.NewSecret()
			return s.backend.Swap(ctx, hashKey, nil, s.ring.Seal(secret, s.backend.Place(hashKey)))
		}
		secret, err = s.openHashKey(v)
		return err == nil, err
	})
	return secret, err
}

// FindHashKey is HashKey for those who only look: it returns nil where none was
// drawn.
func (s *Store) FindHashKey(ctx context.Context) (secret []byte, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	v, err := s.get(ctx, hashKey)
	if v == nil || err != nil {
		return nil, err
	}
	return s.openHashKey(v)
}

func (s *Store) openHashKey(v *Value) (secret []byte, err error) {
	secret, _, err = s.ring.Open(v.Data, s.backend.Place(hashKey))
	if err == nil && len(secret) < keyedhash.MinSecret {
		err = errors.New("it is too short")
	}
	if err != nil {
		return nil, fmt.Errorf("the hash key in the store cannot be used: %w", err)
	}
	return secret, nil
}
