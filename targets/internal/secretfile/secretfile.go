// Package secretfile reads what must not stand in a configuration: secrets as
// placeholder text, and files that hold them. The rules are those of the
// dispatchers' credentials.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/caddyserver/caddy/v2"
)

// MaxSize is the most that a file may hold, in bytes.
const MaxSize = 256 << 10

// Resolve returns text with Caddy's global placeholders, such as {env.NAME}
// and {file./path}, replaced. A placeholder that is unknown or has no value
// and an empty result are errors; they name the option and quote nothing.
func Resolve(option, text string) (string, error) {
	value, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: it holds a placeholder that is unknown or has no value", option)
	}
	if value == "" {
		return "", fmt.Errorf("%s: it is empty", option)
	}
	return value, nil
}

// ResolveSecret is Resolve for a secret: it warns about one that stands in the
// configuration itself, which the admin API shows and Caddy saves to disk.
func ResolveSecret(option, text string, logger *slog.Logger) (string, error) {
	value, err := Resolve(option, text)
	if err == nil && value == text {
		logger.Warn("a secret stands in the configuration; use a placeholder such as {env.NAME} or {file./path}",
			slog.String("option", option))
	}
	return value, err
}

// Read returns the content of a file with a secret. One that others than its
// owner may write is refused; one that everybody may read is warned about
// only, because that is how Kubernetes mounts secrets by default.
func Read(option, path string, logger *slog.Logger) ([]byte, error) {
	content, mode, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	if mode&0o004 != 0 {
		logger.Warn("every user of this machine may read a file with a secret",
			slog.String("option", option), slog.String("path", path))
	}
	return content, nil
}

// ReadPublic is Read for a file without a secret, such as a certificate:
// everybody may read it.
func ReadPublic(option, path string) ([]byte, error) {
	content, _, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return content, nil
}

func read(path string) ([]byte, fs.FileMode, error) {
	if err := check(path)(os.Stat(path)); err != nil { // before opening: a pipe would block
		return nil, 0, err
	}
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err := check(path)(info, err); err != nil {
		return nil, 0, err
	}
	content, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, 0, err
	}
	if len(content) > MaxSize {
		return nil, 0, fmt.Errorf("%s is larger than %d bytes", path, MaxSize)
	}
	return content, info.Mode().Perm(), nil
}

func check(path string) func(fs.FileInfo, error) error {
	return func(info fs.FileInfo, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("there is no file %s", path)
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file", path)
		case info.Mode().Perm()&0o022 != 0:
			return fmt.Errorf("%s may be written by others than its owner; run chmod go-w on it", path)
		}
		return nil
	}
}
