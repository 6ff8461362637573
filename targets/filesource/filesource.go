// Package filesource finds dispatch targets and users in a file of exported
// records.
package filesource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func init() { caddy.RegisterModule(Source{}) }

// Source finds dispatch targets in a file, one JSON record a line, as `caddy
// oob targets export` writes them. It is a copy: it fills gaps in the store,
// and never repairs a stale record. Records that were not active when they
// were exported are passed over.
//
// A record may have one more member, `user`, an object of `email`, `mobile`
// and `address` (lines separated by `|`), all optional. These belong to the
// record's `username` and must be the same wherever that name comes again;
// otherwise nothing is said of this user.
//
// Records stay in the file; memory holds some 32 bytes for each.
type Source struct {
	// The file. It must not be writable by others than its owner: whoever can
	// write it can swap a device's key. Placeholders are resolved at load. It is
	// read when the configuration is loaded, when every line has to be in order.
	// A changed file is read again at the next lookup; while it is not in order,
	// the one before it stays in force. Replace it by renaming.
	Path string `json:"path,omitempty"`

	file *followed
}

// CaddyModule returns the Caddy module information.
func (Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  targets.KeySourceNamespace + ".file",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision reads the file.
func (s *Source) Provision(ctx caddy.Context) error {
	if s.Path == "" {
		return errors.New("the path of the file is needed")
	}
	path, err := placeholder.Resolve("path", s.Path)
	if err != nil {
		return err
	}
	if err := s.open(path, ctx.Slogger()); err != nil {
		return fmt.Errorf("reading dispatch targets: %w", err)
	}
	return nil
}

func (s *Source) open(path string, logger *slog.Logger) error {
	file, known, err := files.LoadOrNew(path, func() (caddy.Destructor, error) { return follow(path, logger) })
	if err != nil {
		return err
	}
	s.file = file.(*followed)
	if !known {
		return nil
	}
	return s.file.adopt(logger)
}

// Cleanup closes the file once nobody uses it.
func (s *Source) Cleanup() error {
	if s.file == nil {
		return nil
	}
	_, err := files.Delete(s.file.path)
	return err
}

// Live implements targets.LiveSource: the file is a copy.
func (*Source) Live() bool { return false }

// Find implements targets.KeySource.
func (s *Source) Find(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	r, err := read(ctx, s.file, func(t *table) (*record, error) { return t.find(ref) })
	switch {
	case err != nil:
		return nil, err
	case r.State() != targets.Active:
		return nil, targets.ErrNotFound
	}
	return &r.Target, nil
}

// User implements targets.UserSource.
func (s *Source) User(ctx context.Context, username string) (*targets.User, error) {
	return read(ctx, s.file, func(t *table) (*targets.User, error) { return t.user(username) })
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Source)(nil)
	_ caddy.CleanerUpper = (*Source)(nil)
	_ targets.LiveSource = (*Source)(nil)
	_ targets.UserSource = (*Source)(nil)
)
