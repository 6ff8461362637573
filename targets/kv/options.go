package kv

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/anybase64"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

// DefaultTimeout bounds an operation where the option timeout is not set. It
// leaves room for a few operations within a dispatch's deadline.
const DefaultTimeout = 2 * time.Second

// Options are those that all stores have. A store embeds them.
type Options struct {
	// How long one operation may take, with everything that it asks of the
	// storage. Default: 2s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Seals the records: files with keys of 32 random bytes, as they are, in
	// hexadecimal or in base64 (`openssl rand -base64 32`). The first key
	// seals, all of them open. Placeholders are resolved at load; one that
	// brings a key, such as `{file./path}`, stands for the key itself. Keys
	// are read when the configuration is loaded (`caddy reload --force` reads
	// them again). To replace a key, give all sidecars that share the store
	// the new one behind the old one, then before it, run
	// `caddy oob targets reseal`, and take the old one away. Who can write
	// to the storage can still delete a record, or put back an older one of
	// the same target. Default: none, records are not sealed
	Keys []string `json:"seal,omitempty"`

	// Reads records that are not sealed as well, as long as a store that was
	// in use before `seal` has not been resealed. Until it is taken away,
	// whoever can write to the storage can swap a device's key.
	AcceptUnsealed bool `json:"accept_unsealed,omitempty"`

	ring *Ring
}

// OptionTable is the table of Options.
var OptionTable = conf.Table[Options]{
	conf.Duration("timeout", func(o *Options) *caddy.Duration { return &o.Timeout }, 0, DefaultTimeout),
	conf.Resolved(conf.Words("seal", func(o *Options) *[]string { return &o.Keys }, nil), (*Options).loadRing),
	conf.Flag("accept_unsealed", func(o *Options) *bool { return &o.AcceptUnsealed }),
}

func (o *Options) options() *Options { return o } //nolint:unused // it makes those that embed Options a Guest

// Check implements conf.Checker.
func (o *Options) Check() error {
	if o.AcceptUnsealed && len(o.Keys) == 0 {
		return conf.Errorf("accept_unsealed", "accept_unsealed has no meaning without seal: remove it, or name the file of a key")
	}
	return nil
}

// loadRing reads the keys. There is no ring where there are none.
func (o *Options) loadRing(logger *slog.Logger) error {
	if len(o.Keys) == 0 {
		return nil
	}
	var keys [][]byte
	for _, text := range o.Keys {
		key, err := load(text, logger)
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	r, err := NewRing(keys...)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if r.acceptUnsealed = o.AcceptUnsealed; o.AcceptUnsealed {
		logger.Warn("records that are not sealed are accepted; reseal the store and take accept_unsealed away")
	}
	o.ring = r
	return nil
}

// load returns the key that a text of the configuration stands for. No error
// quotes what may be a key.
func load(text string, logger *slog.Logger) ([]byte, error) {
	value, err := placeholder.Resolve("seal", text)
	if err != nil {
		return nil, err
	}
	_, statErr := os.Stat(value)
	key, ok := decodeKey(value)
	switch {
	case ok && value != text:
		return key, nil
	case ok && statErr != nil:
		return nil, errors.New("seal: there is no file of this name; if it is the key itself, put that into a file")
	case value != text && statErr != nil:
		return nil, errors.New("seal: a placeholder brings neither a key nor the path of a file")
	}
	content, err := watchedfile.Read("seal", value, logger)
	if err != nil {
		return nil, err
	}
	if key, ok := decodeFile(content); ok {
		return key, nil
	}
	return nil, fmt.Errorf("seal: %s holds no key of %d bytes, as they are, in hexadecimal or in base64", value, KeySize)
}

func decodeFile(content []byte) ([]byte, bool) {
	if len(content) == KeySize && !printable(content) {
		return content, true
	}
	return decodeKey(string(content))
}

// printable tells text, such as a password, from random bytes.
func printable(content []byte) bool {
	for _, b := range content {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return true
}

func decodeKey(text string) ([]byte, bool) {
	text = strings.TrimSpace(text)
	if key, err := hex.DecodeString(text); err == nil && len(key) == KeySize {
		return key, true
	}
	key, err := anybase64.DecodeKey(text)
	return key, err == nil && len(key) == KeySize
}
