// Package watchedfile reads files that may change while the server runs, such as
// credentials: a changed file is picked up at its next use, and the last good
// one is kept.
package watchedfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

// MaxFileSize is the most that a credential file may hold, in bytes.
const MaxFileSize = 256 << 10

// File is a credential file, parsed to a T. A changed file is picked up at the
// next use; one that cannot be read or parsed leaves the last good value in
// force. It is safe for concurrent use.
type File[T any] struct {
	option string
	path   string
	public bool
	parse  func([]byte) (T, error)
	logger *slog.Logger

	mu      sync.Mutex
	info    fs.FileInfo // of the file that value was read from
	value   T
	trouble string // why the present file is not used, as logged
}

// Open reads a credential file. A file that others than its owner may write is
// refused; one that everybody may read is warned about only, because that is
// how Kubernetes mounts secrets by default. Errors name the option and the
// path; those of parse must not quote the file.
func Open[T any](option, path string, parse func([]byte) (T, error), logger *slog.Logger) (*File[T], error) {
	return open(&File[T]{option: option, path: path, parse: parse, logger: logger})
}

// OpenPublic is Open for a file without a secret, such as a certificate:
// everybody may read it.
func OpenPublic[T any](option, path string, parse func([]byte) (T, error), logger *slog.Logger) (*File[T], error) {
	return open(&File[T]{option: option, path: path, public: true, parse: parse, logger: logger})
}

func open[T any](f *File[T]) (*File[T], error) {
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.option, err)
	}
	return f, nil
}

// Value returns the parsed file as it is now, or as it last was in order.
func (f *File[T]) Value() T {
	f.mu.Lock()
	defer f.mu.Unlock()

	if info, err := os.Stat(f.path); err == nil && same(info, f.info) {
		f.trouble = ""
		return f.value
	}
	if err := f.load(); err != nil {
		f.report(err)
		return f.value
	}
	f.trouble = ""
	f.logger.Info("loaded a changed credential file", slog.String("option", f.option), slog.String("path", f.path))
	return f.value
}

// report logs a trouble once, not at every use.
func (f *File[T]) report(err error) {
	if err.Error() == f.trouble {
		return
	}
	f.trouble = err.Error()
	f.logger.Error("a changed credential file cannot be used; the last good one stays in force",
		slog.String("option", f.option), slog.String("path", f.path), slog.String("error", f.trouble))
}

func (f *File[T]) load() error {
	info, content, err := f.read()
	if err != nil {
		return err
	}
	value, err := f.parse(content)
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.path, err)
	}
	f.info, f.value = info, value
	return nil
}

// read returns the content and the state of the file before it was read, so
// that a writer who is still at it shows as a change later.
func (f *File[T]) read() (fs.FileInfo, []byte, error) {
	if err := f.check(os.Stat(f.path)); err != nil { // before opening: a pipe would block
		return nil, nil, err
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()

	info, err := file.Stat()
	if err := f.check(info, err); err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, MaxFileSize+1))
	if err != nil {
		return nil, nil, err
	}
	if len(content) > MaxFileSize {
		return nil, nil, fmt.Errorf("%s is larger than %d bytes", f.path, MaxFileSize)
	}
	if !f.public && info.Mode().Perm()&0o004 != 0 {
		f.logger.Warn("every user of this machine may read a credential file",
			slog.String("option", f.option), slog.String("path", f.path))
	}
	return info, content, nil
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
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
