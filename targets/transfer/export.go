// Package transfer brings dispatch targets into a store and out of it, as
// lines of JSON: one record a line, as [targets.Encode] makes it. The file key
// source reads the same lines. It is free of Caddy.
package transfer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Lister goes through the records of a store; see kv.Store.Each.
type Lister interface {
	Each(ctx context.Context, f func(t *targets.Target, err error) error) error
}

// Walk calls f for every target of a namespace, once, in no order, and damaged
// for every record of the store that cannot be read, whatever its namespace:
// no more than its hash is known. It ends with the first error of f. It keeps
// some 40 bytes in memory for each target.
func Walk(ctx context.Context, l Lister, namespace string, f func(*targets.Target) error, damaged func(*targets.RecordError)) error {
	seen := make(map[[16]byte]bool)
	first := func(hash string) bool {
		sum := sha256.Sum256([]byte(hash))
		key := [16]byte(sum[:16]) // half of it is more than enough
		again := seen[key]
		seen[key] = true
		return !again
	}
	return l.Each(ctx, func(t *targets.Target, err error) error {
		record, isDamaged := errors.AsType[*targets.RecordError](err)
		switch {
		case isDamaged && first(record.Hash):
			damaged(record)
		case isDamaged:
		case err != nil:
			return err
		case t.Namespace == namespace && first(t.Ref().Hash()):
			return f(t)
		}
		return nil
	})
}

// Export writes the targets of a namespace, one line each, and returns how
// many. It calls damaged for every record of the store that cannot be read.
func Export(ctx context.Context, l Lister, namespace string, w io.Writer, damaged func(*targets.RecordError)) (n int, err error) {
	out := bufio.NewWriter(w)
	err = Walk(ctx, l, namespace, func(t *targets.Target) error {
		record, err := targets.Encode(t, t.Ref())
		if err != nil {
			damaged(&targets.RecordError{Hash: t.Ref().Hash(), Err: err})
			return nil //nolint:nilerr // the others go on
		}
		if _, err := out.Write(append(record, '\n')); err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
		n++
		return nil
	}, damaged)
	if err != nil {
		return n, err
	}
	if err := out.Flush(); err != nil {
		return n, fmt.Errorf("writing the export: %w", err)
	}
	return n, nil
}

// WriteFile makes a file that its owner alone may read, of what write gives.
// It is there as a whole or not at all; one of the same name is replaced.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file, and is not replaced", path)
	}
	unfinished := path + ".tmp"
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		_ = os.Remove(unfinished)
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
