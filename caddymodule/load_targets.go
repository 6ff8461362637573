package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

func readStore(h *Handler, d *caddyfile.Dispenser) (err error) {
	if !d.NextArg() {
		return errors.New("store takes a type, such as: store caddy")
	}
	_, h.StoreRaw, err = conf.ReadGuest(d, targets.StoreNamespace, "type")
	return err
}

func readKeySource(h *Handler, d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return errors.New("key_source takes a type, such as: key_source file /path/to/targets.ndjson")
	}
	_, raw, err := conf.ReadGuest(d, targets.KeySourceNamespace, "type")
	h.KeySourcesRaw = append(h.KeySourcesRaw, raw)
	return err
}

// LoadStore loads the store of dispatch targets, for the handler itself and for
// commands.
func (h *Handler) LoadStore(ctx caddy.Context) (*kv.Store, error) {
	guest, err := ctx.LoadModule(h, "StoreRaw")
	if err != nil {
		return nil, fmt.Errorf("loading the store: %w", err)
	}
	store, ok := guest.(kv.Guest)
	if !ok {
		return nil, fmt.Errorf("the store module %T does not implement kv.Guest", guest)
	}
	return kv.Open(store), nil
}

// loadTargets puts the key sources and the rules of learning and forgetting in
// front of the store. user asks the sources that know users; it is nil where
// none does.
func (h *Handler) loadTargets(ctx caddy.Context, store *kv.Store, o *observer) (
	directory *targets.Directory, user func(context.Context, string) (*targets.User, error), err error,
) {
	directory = &targets.Directory{
		Store: watchedStore{store, o.storeFailed}, Namespace: h.Namespace,
		Unsynced: targets.SharedUnsynced(store.Location(), h.Namespace),
		Policy:   h.KeyPolicy.encryption(), MaxKeyAge: time.Duration(h.KeyPolicy.MaxKeyAge),
		Events: o.target,
	}
	o.watch(directory.Unsynced)
	if h.KeySourcesRaw == nil {
		return directory, nil, nil
	}
	guests, err := ctx.LoadModule(h, "KeySourcesRaw")
	if err != nil {
		return nil, nil, fmt.Errorf("loading the key sources: %w", err)
	}
	var users userSources
	for i, guest := range guests.([]any) {
		source, ok := guest.(targets.KeySource)
		if !ok {
			return nil, nil, fmt.Errorf("the key source module %T does not implement targets.KeySource", guest)
		}
		name := guest.(caddy.Module).CaddyModule().ID.Name()
		if i > 0 {
			name = fmt.Sprintf("%s-%d", name, i+1)
		}
		o.credentials.hold(ofKeySource+name, guest)
		directory.Sources = append(directory.Sources, targets.NamedSource{Name: name, KeySource: source})
		if u, ok := guest.(targets.UserSource); ok {
			users = append(users, u)
		}
	}
	if users != nil {
		user = users.user
	}
	return directory, user, nil
}

// userSources are asked in order until one knows the user.
type userSources []targets.UserSource

func (us userSources) user(ctx context.Context, username string) (*targets.User, error) {
	for _, source := range us {
		user, err := source.User(ctx, username)
		if err == nil || !errors.Is(err, targets.ErrNotFound) {
			return user, err
		}
	}
	return nil, targets.ErrNotFound
}
