package caddymodule

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

func checkHashKey(text string) error {
	if len(text) < keyedhash.MinSecret {
		return fmt.Errorf("hash_key: it has %d characters, too few: make one with openssl rand -base64 32", len(text))
	}
	return nil
}

// storedHashKeys are those of stores, by location, so that a reload need not
// fetch them again.
var storedHashKeys sync.Map

// openHashKey returns the key of keyed hashes: the configured one, or else that
// of the store, which is not touched before there is something to hash.
func (h *Handler) openHashKey(ctx caddy.Context, store *kv.Store) *keyedhash.Key {
	if h.HashKey != "" {
		return keyedhash.New([]byte(h.HashKey))
	}
	fetch := func(ctx context.Context) ([]byte, error) {
		if secret, known := storedHashKeys.Load(store.Location()); known {
			return secret.([]byte), nil
		}
		secret, err := store.HashKey(ctx)
		if err == nil {
			storedHashKeys.Store(store.Location(), secret)
		}
		return secret, err
	}
	return keyedhash.Fetched(ctx, fetch, func(err error) {
		h.logger.Warn("the key of the keyed hashes cannot be taken from the store: until it can, those in the log and the audit trail "+
			"connect with no others; give one with the option hash_key", slog.Any("error", err))
	})
}
