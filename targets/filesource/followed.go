package filesource

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sync/singleflight"
)

// followed is a file that may change. The table is that of its last content
// that was in order.
type followed struct {
	path    string
	logger  *slog.Logger
	loading singleflight.Group

	mu      sync.RWMutex // held for reading while records are read
	table   *table
	seen    fs.FileInfo // of the file that was tried last
	result  error       // of that
	trouble string      // why the present file is not used, as logged
	closed  bool
}

// files are those in use, by path: a reload of the configuration does not read
// a big file again that has not changed.
var files = caddy.NewUsagePool()

func follow(path string, logger *slog.Logger) (*followed, error) {
	f := &followed{path: path, logger: logger}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := f.load(info); err != nil {
		return nil, err
	}
	return f, nil
}

// adopt lets a new configuration use the file, which has to be in order now.
func (f *followed) adopt(logger *slog.Logger) error {
	f.mu.Lock()
	f.logger = logger
	f.mu.Unlock()
	return f.reload()
}

// Destruct closes the file.
func (f *followed) Destruct() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.table.close()
}

// read looks something up in the present table.
func read[T any](ctx context.Context, f *followed, lookup func(*table) (T, error)) (T, error) {
	if err := f.refresh(ctx); err != nil {
		var none T
		return none, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return lookup(f.table)
}

// refresh reads the file again if it has changed. Trouble with it is logged.
func (f *followed) refresh(ctx context.Context) error {
	if f.unchanged() {
		return nil
	}
	done := f.loading.DoChan("", func() (any, error) {
		f.report(f.reload())
		return nil, nil
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting until the changed file of dispatch targets is read: %w", ctx.Err())
	}
}

func (f *followed) unchanged() bool {
	info, err := os.Stat(f.path)
	f.mu.RLock()
	defer f.mu.RUnlock()
	return err == nil && same(info, f.seen)
}

// reload reads the file unless its present state has been tried.
func (f *followed) reload() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	f.mu.RLock()
	tried, result := same(info, f.seen), f.result
	f.mu.RUnlock()
	if tried {
		return result
	}
	return f.load(info)
}

// load makes the present file the one in force. What info says was true before
// it was read, so that a writer who is still at it shows as a change later.
func (f *followed) load(info fs.FileInfo) error {
	t, err := open(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.result = info, err
	switch {
	case err != nil:
		return err
	case f.closed:
		return t.close()
	}
	old := f.table
	f.table = t
	f.logger.Info("read the file of dispatch targets", slog.String("path", f.path),
		slog.Int("targets", len(t.targets)), slog.Int("inactive", t.inactive))
	return old.close()
}

// report logs a trouble once, not at every lookup.
func (f *followed) report(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.trouble = ""
		return
	}
	if err.Error() != f.trouble {
		f.trouble = err.Error()
		f.logger.Error("the changed file of dispatch targets cannot be used; the last good one stays in force",
			slog.String("path", f.path), slog.String("error", f.trouble))
	}
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

// Interface guard
var _ caddy.Destructor = (*followed)(nil)
