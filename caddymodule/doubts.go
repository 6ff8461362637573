package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// doubts outlive a reload, so that it does not forget which changes the store
// could not be told of.
var doubts = caddy.NewUsagePool()

type sharedDoubts struct{ *targets.Doubts }

// Destruct implements caddy.Destructor.
func (d sharedDoubts) Destruct() error {
	if n := d.Len(); n > 0 {
		caddy.Log().Error("the store was not told of changes of dispatch targets before the end, and holds old records of them", zap.Int("changes", n))
	}
	return nil
}

// shareDoubts gives a directory what the process remembers of targets in its
// store and namespace.
func (h *Handler) shareDoubts(d *targets.Directory) error {
	where := h.storeConfig
	if located, ok := d.Store.(targets.Located); ok {
		where = fmt.Sprintf("%T %s", d.Store, located.Location())
	}
	key := where + "|" + d.Namespace
	value, _, err := doubts.LoadOrNew(key, func() (caddy.Destructor, error) {
		return sharedDoubts{new(targets.Doubts)}, nil
	})
	if err != nil {
		return fmt.Errorf("sharing what the store was not told: %w", err)
	}
	d.Doubts = value.(sharedDoubts).Doubts
	h.doubtsKey, h.detachDoubts = key, d.Doubts.Attach(d)
	return nil
}

func (h *Handler) releaseDoubts() error {
	if h.detachDoubts == nil {
		return nil
	}
	h.detachDoubts()
	h.detachDoubts = nil
	_, err := doubts.Delete(h.doubtsKey)
	return err
}
