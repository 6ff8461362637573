// Package filesource finds dispatch targets and users in a file of exported
// records.
package filesource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
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

	file *watchedfile.File[*table]
	key  string // of the file in files; "" before it is there
}

var options = conf.Table[Source]{
	conf.Argument(conf.Path("path", func(s *Source) *string { return &s.Path })),
}

// files are those in use, by path: a reload of the configuration does not read
// a big file again that has not changed.
var files = caddy.NewUsagePool()

// CaddyModule returns the Caddy module information.
func (Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  targets.KeySourceNamespace + ".file",
		New: func() caddy.Module { return new(Source) },
	}
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	file <path>
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, s) }

// Provision reads the file.
func (s *Source) Provision(ctx caddy.Context) error {
	if s.Path == "" {
		return errors.New("the path of the file is needed")
	}
	logger := ctx.Slogger()
	if err := options.Provision(s, logger); err != nil {
		return err
	}
	return s.open(logger)
}

func (s *Source) open(logger *slog.Logger) error {
	file, _, err := files.LoadOrNew(s.Path, func() (caddy.Destructor, error) { return follow(s.Path, logger) })
	if err == nil {
		s.file, s.key = file.(*watchedfile.File[*table]), s.Path
		err = s.file.Adopt(logger)
	}
	if err != nil {
		return fmt.Errorf("reading dispatch targets: %w", err)
	}
	return nil
}

func follow(path string, logger *slog.Logger) (*watchedfile.File[*table], error) {
	at := slog.String("path", path)
	read := func(logger *slog.Logger, t *table) {
		logger.Info("read the file of dispatch targets", at, slog.Int("targets", len(t.targets)), slog.Int("inactive", t.inactive))
	}
	file, err := watchedfile.Follow(path, watchedfile.Kind[*table]{
		Read: readTable, Release: (*table).close, Changed: read,
		Unusable: func(logger *slog.Logger, err error) {
			logger.Error("the changed file of dispatch targets cannot be used; the last good one stays in force",
				at, slog.String("error", err.Error()))
		},
	}, logger)
	if err != nil {
		return nil, err
	}
	read(logger, file.Value())
	return file, nil
}

// Cleanup closes the file once nobody uses it.
func (s *Source) Cleanup() error {
	if s.key == "" {
		return nil
	}
	_, err := files.Delete(s.key)
	return err
}

// Find implements targets.KeySource.
func (s *Source) Find(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	return lookup(ctx, s, func(t *table) (*targets.Target, error) { return t.target(ref) })
}

// User implements targets.UserSource.
func (s *Source) User(ctx context.Context, username string) (*targets.User, error) {
	return lookup(ctx, s, func(t *table) (*targets.User, error) { return t.user(username) })
}

func lookup[T any](ctx context.Context, s *Source, in func(*table) (*T, error)) (found *T, err error) {
	if waiting := s.file.Use(ctx, func(t *table) { found, err = in(t) }); waiting != nil {
		return nil, waiting
	}
	return found, err
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Source)(nil)
	_ caddy.CleanerUpper    = (*Source)(nil)
	_ caddyfile.Unmarshaler = (*Source)(nil)
	_ targets.KeySource     = (*Source)(nil)
	_ targets.UserSource    = (*Source)(nil)
)
