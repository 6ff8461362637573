package caddymodule

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// loadSources loads the key sources in their order. user asks those that know
// users; it is nil where none does.
func (h *Handler) loadSources(ctx caddy.Context) (sources []targets.NamedSource, user func(context.Context, string) (*targets.User, error), err error) {
	if h.KeySourcesRaw == nil {
		return nil, nil, nil
	}
	guests, err := ctx.LoadModule(h, "KeySourcesRaw")
	if err != nil {
		return nil, nil, fmt.Errorf("loading the key sources: %w", err)
	}
	var users userSources
	for i, guest := range guests.([]any) {
		source, ok := guest.(targets.KeySource)
		if !ok {
			return nil, nil, fmt.Errorf("the key source module %T is no targets.KeySource", guest)
		}
		name := guest.(caddy.Module).CaddyModule().ID.Name()
		if i > 0 {
			name = fmt.Sprintf("%s-%d", name, i+1)
		}
		sources = append(sources, targets.NamedSource{Name: name, KeySource: source})
		if u, ok := guest.(targets.UserSource); ok {
			users = append(users, u)
		}
	}
	if users == nil {
		return sources, nil, nil
	}
	return sources, users.user, nil
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
