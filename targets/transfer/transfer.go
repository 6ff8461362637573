// Package transfer brings dispatch targets into a store and out of it, as
// lines of JSON: one record a line, as [targets.Encode] makes it. The file key
// source reads the same lines. It is free of Caddy.
package transfer

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Walk calls f for every target of a namespace, once, in no order, and damaged
// for every record of the store that cannot be read, whatever its namespace:
// no more than its hash is known. It ends with the first error of f. It keeps
// some 40 bytes in memory for each target.
func Walk(ctx context.Context, l targets.Lister, namespace string, f func(*targets.Target) error, damaged func(*targets.RecordError)) error {
	seen := make(map[[16]byte]bool) // of 32 bytes, half are more than enough
	first := func(hash string) bool {
		var key [16]byte
		if len(hash) < 2*len(key) {
			return true
		}
		if _, err := hex.Decode(key[:], []byte(hash[:2*len(key)])); err != nil {
			return true
		}
		again := seen[key]
		seen[key] = true
		return !again
	}
	return l.Each(ctx, func(t *targets.Target, err error) error {
		if t == nil {
			record, ok := errors.AsType[*targets.RecordError](err)
			if !ok {
				return err
			}
			if first(record.Hash) {
				damaged(record)
			}
			return nil
		}
		if t.Namespace != namespace || !first(t.Ref().Hash()) {
			return nil
		}
		return f(t)
	})
}
