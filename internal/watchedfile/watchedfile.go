// Package watchedfile reads files that may change while the server runs, such as
// credentials: a changed file is picked up at its next use, and the last good
// one is kept.
package watchedfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sync/singleflight"
)

// Kind says how the files of a kind are read, and what is logged about them.
type Kind[T any] struct {
	// Read makes a value of an open file. It closes the file, unless the value
	// keeps it and Release closes it. Its errors must not quote the file.
	Read func(*os.File) (T, error)

	// Release ends a value that is not used any more. May be nil.
	Release func(T)

	// Changed logs that a changed file is in use.
	Changed func(*slog.Logger, T)

	// Unusable logs that a changed file cannot be used, so that the last good one
	// stays in use. It is called once for each fault, not for each use.
	Unusable func(*slog.Logger, error)
}

// File is a file that may change, and the value that was made of it. It is safe
// for concurrent use.
type File[T any] struct {
	path    string
	kind    Kind[T]
	loading singleflight.Group

	mu     sync.RWMutex // held for reading while the value is used
	logger *slog.Logger
	value  T
	seen   fs.FileInfo // of the file that was read last; nil if it could not be opened
	err    error       // why that cannot be used; nil: the value was made of it
	closed bool
}

// Follow reads a file that others than its owner cannot write. Errors name the
// path.
func Follow[T any](path string, kind Kind[T], logger *slog.Logger) (*File[T], error) {
	f := &File[T]{path: path, kind: kind, logger: logger}
	f.value, f.seen, f.err = f.read()
	return f, f.err
}

// Value returns the value of the file as it is now, or as it last was in order.
// It is for kinds without Release.
func (f *File[T]) Value() (value T) {
	_ = f.Use(context.Background(), func(v T) { value = v }) // whose context does not end
	return value
}

// Err returns why the file as it is now cannot be used, so that the last good one
// is; nil where it is in use.
func (f *File[T]) Err() error {
	_ = f.refresh(context.Background()) // whose context does not end
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.err
}

// Use calls a function with the value, which is not released before it returns.
// The only error is that of a context that ends while a changed file is read.
func (f *File[T]) Use(ctx context.Context, use func(T)) error {
	if err := f.refresh(ctx); err != nil {
		return err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	use(f.value)
	return nil
}

// Adopt passes the file on to a new configuration, with its logger. It is an
// error if the file cannot be used as it is now.
func (f *File[T]) Adopt(logger *slog.Logger) error {
	f.mu.Lock()
	f.logger = logger
	f.mu.Unlock()
	return f.Err()
}

// Destruct releases the value for good.
func (f *File[T]) Destruct() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.release(f.value)
	return nil
}

func (f *File[T]) release(value T) {
	if f.kind.Release != nil {
		f.kind.Release(value)
	}
}

// refresh reads the file if it is not the one that was read last, once for all
// who ask for it meanwhile.
func (f *File[T]) refresh(ctx context.Context) error {
	info, err := os.Stat(f.path)
	f.mu.RLock()
	current := err == nil && same(info, f.seen)
	f.mu.RUnlock()
	if current {
		return nil
	}
	loaded := f.loading.DoChan("", func() (any, error) {
		f.load()
		return nil, nil
	})
	select {
	case <-loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting until the changed file %s is read: %w", f.path, ctx.Err())
	}
}

// load takes the value of a changed file, or logs, once for each fault, why it
// cannot be used.
func (f *File[T]) load() {
	value, info, err := f.read()
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.err
	f.seen, f.err = info, err
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		f.kind.Unusable(f.logger, err)
	case err != nil:
	case f.closed:
		f.release(value)
	default:
		f.release(f.value)
		f.value = value
		f.kind.Changed(f.logger, value)
	}
}

// read makes a value of the present file. It returns its state before it was
// read, so that a writer who is still at it shows as a change later.
func (f *File[T]) read() (value T, info fs.FileInfo, err error) {
	if err = f.check(os.Stat(f.path)); err != nil { // before opening: a pipe would block
		return value, nil, err
	}
	file, err := os.Open(f.path)
	if err != nil {
		return value, nil, err
	}
	if info, err = file.Stat(); f.check(info, err) != nil {
		_ = file.Close() // nothing was written
		return value, nil, f.check(info, err)
	}
	if value, err = f.kind.Read(file); err != nil {
		err = fmt.Errorf("reading %s: %w", f.path, err)
	}
	return value, info, err
}

func (f *File[T]) check(info fs.FileInfo, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %s", f.path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", f.path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s may be written by others than its owner; run chmod go-w on it", f.path)
	}
	return nil
}

func same(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
