package watchedfile

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

// maxFileSize is the most that a credential file may hold, in bytes.
const maxFileSize = 256 << 10

// Open follows a credential file. A file that others than its owner may write
// is refused; one that everybody may read is warned about only, because that is
// how Kubernetes mounts secrets by default. Errors name the option and the
// path; those of parse must not quote the file.
func Open[T any](option, path string, parse func([]byte) (T, error), logger *slog.Logger) (*File[T], error) {
	return openCredential(option, path, false, parse, logger)
}

// OpenPublic is Open for a file without a secret, such as a certificate:
// everybody may read it.
func OpenPublic[T any](option, path string, parse func([]byte) (T, error), logger *slog.Logger) (*File[T], error) {
	return openCredential(option, path, true, parse, logger)
}

// Read returns the content of a credential file, by the rules of Open, for
// those who do not follow its changes.
func Read(option, path string, logger *slog.Logger) ([]byte, error) {
	file, err := Open(option, path, func(content []byte) ([]byte, error) { return content, nil }, logger)
	if err != nil {
		return nil, err
	}
	return file.value, nil
}

// A Secret is the value of an option that may be in a file.
type Secret struct {
	file  *File[string] // nil for none
	value string        // without a file
}

// Value returns the present value.
func (s *Secret) Value() string {
	if s.file != nil {
		return s.file.Value()
	}
	return s.value
}

// Err is that of the file, see File.Err.
func (s *Secret) Err() error {
	if s.file != nil {
		return s.file.Err()
	}
	return nil
}

// OpenSecret reads a secret: of a text that is {file./path} as a whole, that file
// is followed by the rules of Open; otherwise placeholders are resolved once.
// parse checks the value; its errors must not quote it.
func OpenSecret(option, text string, parse func([]byte) (string, error), logger *slog.Logger) (*Secret, error) {
	if path, ok := strings.CutPrefix(text, "{file."); ok && strings.IndexByte(path, '}') == len(path)-1 {
		file, err := Open(option, strings.TrimSuffix(path, "}"), parse, logger)
		if err != nil {
			return nil, err
		}
		return &Secret{file: file}, nil
	}
	value, err := placeholder.ResolveSecret(option, text, logger)
	if err != nil {
		return nil, err
	}
	if value, err = parse([]byte(value)); err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return &Secret{value: value}, nil
}

// ParseLine is the parse of passwords and tokens: one line without control
// characters. A line feed at the end of the file is not part of it.
func ParseLine(content []byte) (string, error) {
	value := strings.TrimRight(string(content), "\r\n")
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("it is empty, has several lines, or holds control characters")
	}
	return value, nil
}

func openCredential[T any](option, path string, public bool, parse func([]byte) (T, error), logger *slog.Logger) (*File[T], error) {
	attrs := []any{slog.String("option", option), slog.String("path", path)}
	file, err := Follow(path, Kind[T]{
		Read: func(file *os.File) (none T, err error) {
			defer file.Close()
			content, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
			switch {
			case err != nil:
				return none, err
			case len(content) > maxFileSize:
				return none, fmt.Errorf("it is larger than %d bytes", maxFileSize)
			}
			if info, err := file.Stat(); !public && err == nil && info.Mode().Perm()&0o004 != 0 {
				logger.Warn("every user of this machine may read a credential file", attrs...)
			}
			return parse(content)
		},
		Changed: func(logger *slog.Logger, _ T) { logger.Info("loaded a changed credential file", attrs...) },
		Unusable: func(logger *slog.Logger, err error) {
			logger.With("error", err.Error()).Error("a changed credential file cannot be used; the last good one stays in force", attrs...)
		},
	}, logger)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return file, nil
}
