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

	mu      sync.RWMutex // held for reading while the value is used
	logger  *slog.Logger
	value   T
	good    fs.FileInfo // of the file that value was made of
	bad     fs.FileInfo // of a later file whose content cannot be used
	badness error       // why
	fault   string      // as logged
	closed  bool
}

// Follow reads a file that others than its owner cannot write. Errors name the
// path.
func Follow[T any](path string, kind Kind[T], logger *slog.Logger) (*File[T], error) {
	f := &File[T]{path: path, kind: kind, logger: logger}
	return f, f.load()
}

// Value returns the value of the file as it is now, or as it last was in order.
// It is for kinds without Release.
func (f *File[T]) Value() (value T) {
	_ = f.Use(context.Background(), func(v T) { value = v }) // whose context does not end
	return value
}

// Use calls a function with the value, which is not released before it returns.
// The only error is that of a context that ends while a changed file is read.
func (f *File[T]) Use(ctx context.Context, use func(T)) error {
	if !f.current() {
		loaded := f.loading.DoChan("", func() (any, error) {
			f.report(f.load())
			return nil, nil
		})
		select {
		case <-loaded:
		case <-ctx.Done():
			return fmt.Errorf("waiting until the changed file %s is read: %w", f.path, ctx.Err())
		}
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
	if !f.current() {
		return f.load()
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.badness
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

// current reports whether the present file has been read, with whatever result.
func (f *File[T]) current() bool {
	info, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	f.mu.RLock()
	good, bad, faulty := same(info, f.good), same(info, f.bad), f.bad != nil || f.fault != ""
	f.mu.RUnlock()
	if good && faulty { // it is the last good file again
		f.mu.Lock()
		f.bad, f.badness, f.fault = nil, nil, ""
		f.mu.Unlock()
	}
	return good || bad
}

// load makes a value of the present file.
func (f *File[T]) load() error {
	file, info, err := f.open()
	if err != nil {
		return err // which may pass, unlike bad content
	}
	value, err := f.kind.Read(file)
	if err != nil {
		err = fmt.Errorf("reading %s: %w", f.path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.bad, f.badness = info, err
		return err
	case f.closed:
		f.release(value)
		return nil
	}
	old, first := f.value, f.good == nil
	f.value, f.good, f.bad, f.badness, f.fault = value, info, nil, nil, ""
	if !first {
		f.release(old)
		f.kind.Changed(f.logger, value)
	}
	return nil
}

// open returns the file and its state before it is read, so that a writer who
// is still at it shows as a change later.
func (f *File[T]) open() (*os.File, fs.FileInfo, error) {
	if err := f.check(os.Stat(f.path)); err != nil { // before opening: a pipe would block
		return nil, nil, err
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err := f.check(info, err); err != nil {
		_ = file.Close() // nothing was written
		return nil, nil, err
	}
	return file, info, nil
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

func (f *File[T]) report(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err.Error() != f.fault {
		f.fault = err.Error()
		f.kind.Unusable(f.logger, err)
	}
}

func same(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
