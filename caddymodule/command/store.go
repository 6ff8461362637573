package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/caddymodule"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// openStore is the store of one handler of a configuration that is not
// running, or is in another process.
type openStore struct {
	*kv.Store
	namespace string
	policy    encrypt.Policy
	raw       json.RawMessage // the store's configuration
	close     func()
}

// configFlags are those that name a configuration and a handler in it.
func configFlags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringP("config", "c", "", "Configuration file (default: the Caddyfile in the current folder)")
	flags.StringP("adapter", "a", "", "Name of config adapter to apply")
	flags.String("namespace", "", "Namespace of the handler, where there are several")
	flags.String("base-path", "", "Base path of the handler, where there are several")
}

// commandStore opens the store that a command's flags name.
func commandStore(cmd *cobra.Command) (*openStore, error) {
	h, _, storage, err := configuredHandler(cmd)
	if err != nil {
		return nil, err
	}
	return open(h, storage)
}

// configuredHandler returns the handler that a command's flags name, all that are
// beside it, and the storage of the configuration.
func configuredHandler(cmd *cobra.Command) (h *caddymodule.Handler, all []*caddymodule.Handler, storage json.RawMessage, err error) {
	all, storage, err = configuredHandlers(cmd)
	if err == nil {
		h, err = chooseHandler(cmd, all)
	}
	return h, all, storage, err
}

// configuredHandlers returns all handlers of the configuration that a command's
// flags name, and its storage.
func configuredHandlers(cmd *cobra.Command) (all []*caddymodule.Handler, storage json.RawMessage, err error) {
	file, _ := cmd.Flags().GetString("config")
	adapter, _ := cmd.Flags().GetString("adapter")
	config, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, nil, err
	}
	if config == nil {
		return nil, nil, errors.New("there is no configuration: name one with --config, or go to the folder of the Caddyfile")
	}
	var c struct {
		Storage json.RawMessage            `json:"storage"`
		Apps    map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %w", err)
	}
	all, err = findHandlers(c.Apps["http"])
	if err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %w", err)
	}
	for _, h := range all {
		h.SetDefaults()
	}
	return all, c.Storage, nil
}

// findHandlers returns the handlers in a part of the configuration, wherever
// they are in it.
func findHandlers(part json.RawMessage) (found []*caddymodule.Handler, err error) {
	var inner []json.RawMessage
	switch {
	case bytes.HasPrefix(part, []byte("[")):
		err = json.Unmarshal(part, &inner)
	case bytes.HasPrefix(part, []byte("{")):
		var members map[string]json.RawMessage
		if err := json.Unmarshal(part, &members); err != nil {
			return nil, err
		}
		if string(members["handler"]) == `"oob_dispatch"` {
			h := new(caddymodule.Handler)
			return []*caddymodule.Handler{h}, json.Unmarshal(part, h)
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			inner = append(inner, members[name])
		}
	}
	for _, part := range inner {
		more, err := findHandlers(part)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, err
}

// chooseHandler returns the handler that the flags name. Handlers that share
// store and namespace are one.
func chooseHandler(cmd *cobra.Command, all []*caddymodule.Handler) (*caddymodule.Handler, error) {
	if len(all) == 0 {
		return nil, errors.New("the configuration has no oob_dispatch handler: name another one with --config")
	}
	return operate.Choose(choice(cmd), all, (*caddymodule.Handler).Name, shareTargets)
}

func choice(cmd *cobra.Command) operate.Choice {
	value := func(flag string) *string {
		if f := cmd.Flag(flag); f.Changed {
			text := f.Value.String()
			return &text
		}
		return nil
	}
	return operate.Choice{Namespace: value("namespace"), BasePath: value("base-path"), How: "--namespace or --base-path"}
}

// named reports whether the flags name the handler, or none.
func named(cmd *cobra.Command, h *caddymodule.Handler) bool { return choice(cmd).Fits(h.Name()) }

func shareTargets(a, b *caddymodule.Handler) bool {
	return a.Namespace == b.Namespace && bytes.Equal(a.StoreRaw, b.StoreRaw)
}

// open provisions the handler's store, and nothing else of the configuration
// but Caddy's storage.
func open(h *caddymodule.Handler, storage json.RawMessage) (*openStore, error) {
	ctx, cancel, err := commandContext(storage)
	if err != nil {
		return nil, err
	}
	raw := h.StoreRaw // loading takes it away
	store, err := h.LoadStore(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return &openStore{
		Store: store, namespace: h.Namespace, policy: encrypt.Policy{MinRSABits: h.KeyPolicy.MinRSABits}, raw: raw, close: cancel,
	}, nil
}

// commandContext returns a context in which modules of a configuration can be
// loaded. They log warnings and errors alone.
func commandContext(storage json.RawMessage) (caddy.Context, context.CancelFunc, error) {
	warnings := &caddy.CustomLog{BaseLog: caddy.BaseLog{Level: "WARN"}}
	root, err := caddy.ProvisionContext(&caddy.Config{
		StorageRaw: storage,
		Logging:    &caddy.Logging{Logs: map[string]*caddy.CustomLog{caddy.DefaultLoggerName: warnings}},
	})
	if err != nil {
		return caddy.Context{}, nil, err
	}
	ctx, cancel := caddy.NewContext(root)
	return ctx, cancel, nil
}

// directory is the store with the rules of package targets. Nothing of a command
// waits in a process.
func (s *openStore) directory() *targets.Directory {
	return &targets.Directory{Store: s, Namespace: s.namespace, Policy: s.policy, Unsynced: new(targets.Unsynced)}
}

func (s *openStore) ref(id string) targets.Ref {
	return targets.Ref{Namespace: s.namespace, ID: id}
}

// withStore makes a function that works on a store a command's.
func withStore(f func(context.Context, *cobra.Command, *openStore, []string) error) func(*cobra.Command, []string) error {
	return runCommand(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		s, err := commandStore(cmd)
		if err != nil {
			return err
		}
		defer s.close()
		return f(ctx, cmd, s, args)
	})
}
