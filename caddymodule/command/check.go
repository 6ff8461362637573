package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/caddymodule"
	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// checkTimeout bounds the check of one part, in case a third party does not
// answer.
const checkTimeout = 15 * time.Second

// checked says how a part of a handler is.
type checked struct {
	BasePath string `json:"base_path"`
	Part     string `json:"part"` // such as dispatcher push
	OK       bool   `json:"ok"`
	Text     string `json:"text"` // what was found out, or what is wrong
}

func checkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [--config <file>] [--json]",
		Short: "Tries every store, credential, server and printer of a configuration",
		Long: `
Loads the oob_dispatch handlers of a configuration, running or not, and tries
what they depend on, without sending anything: the store is written to and read;
fcm fetches an access token and has FCM refuse a message to nobody; smtp opens a
connection and logs in; letter writes to its spool and asks the printer whether
it takes PDF; nevisidm is asked for a user that cannot exist. Templates and
credential files are read. Of dispatchers that can
find out nothing without sending a message, such as webhook and web_push, the
configuration is all that is checked.

Run it as the user of the server, so that file permissions are those that count.
The exit code is 1 if something is wrong.`,
		Example: `  caddy oob check --config /etc/oob-dispatch/Caddyfile`,
		Args:    cobra.NoArgs,
	}
	configFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print a JSON object for each part, a line each")
	cmd.RunE = runCommand(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		rows := [][]string{{"HANDLER", "PART", "RESULT", "DETAIL"}}
		wrong, err := checkHandlers(ctx, cmd, func(c checked) error {
			rows = append(rows, []string{c.BasePath, c.Part, map[bool]string{true: "ok", false: "WRONG"}[c.OK], c.Text})
			if asJSON {
				return printJSON(cmd.OutOrStdout(), c)
			}
			return nil
		})
		if err == nil && !asJSON {
			err = printTable(cmd.OutOrStdout(), rows)
		}
		if err == nil && wrong > 0 {
			err = fmt.Errorf("%s of the configuration would not work, see above", count(wrong, "part"))
		}
		return err
	})
	return cmd
}

// checkHandlers tries the parts of all handlers that the flags name, and counts
// those that would not work.
func checkHandlers(ctx context.Context, cmd *cobra.Command, tell func(checked) error) (wrong int, err error) {
	all, storage, err := configuredHandlers(cmd)
	if err != nil {
		return 0, err
	}
	if !slices.ContainsFunc(all, func(h *caddymodule.Handler) bool { return named(cmd, h) }) {
		_, err := chooseHandler(cmd, all)
		return 0, err
	}
	root, cancel, err := commandContext(storage)
	if err != nil {
		return 0, err
	}
	defer cancel()
	for _, h := range all {
		if !named(cmd, h) {
			continue
		}
		checkHandler(ctx, root, h, func(c checked) {
			if !c.OK {
				wrong++
			}
			err = errors.Join(err, tell(c))
		})
	}
	return wrong, err
}

// checkHandler tries the parts of a handler, one after the other.
func checkHandler(ctx context.Context, root caddy.Context, h *caddymodule.Handler, tell func(checked)) {
	try := func(part string, f func(context.Context) (string, error)) {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		c := checked{BasePath: h.BasePath, Part: part}
		if text, err := f(ctx); err != nil {
			c.Text = err.Error()
		} else {
			c.OK, c.Text = true, text
		}
		tell(c)
	}
	try("store", func(ctx context.Context) (string, error) {
		store, err := h.LoadStore(root)
		if err != nil {
			return "", err
		}
		return "written and read", (&targets.Directory{Store: store, Namespace: h.Namespace, Unsynced: new(targets.Unsynced)}).Writable(ctx)
	})
	if h.KeySourcesRaw != nil {
		try("key sources", func(ctx context.Context) (string, error) {
			loaded, err := root.LoadModule(h, "KeySourcesRaw")
			if err != nil {
				return "", err
			}
			text := "configuration read"
			for _, source := range loaded.([]any) {
				if prober, ok := source.(dispatchers.Prober); ok {
					text, err = "tried", errors.Join(err, prober.Probe(ctx))
				}
			}
			return text, err
		})
	}
	for _, d := range h.Dispatchers {
		try("dispatcher "+d.Name, func(ctx context.Context) (string, error) { return checkDispatcher(ctx, root, d, d.Name) })
	}
	for _, notice := range []struct {
		option string
		d      *caddymodule.Dispatcher
	}{{delivery.OnExpired, h.OnExpired}, {delivery.OnKeyChange, h.OnKeyChange}} {
		if notice.d != nil {
			try("dispatcher "+notice.option, func(ctx context.Context) (string, error) {
				return checkDispatcher(ctx, root, notice.d, notice.option)
			})
		}
	}
}

func checkDispatcher(ctx context.Context, root caddy.Context, d *caddymodule.Dispatcher, name string) (string, error) {
	guest, err := root.WithValue(dispatchers.NameKey{}, name).LoadModule(d, "DispatcherRaw")
	if err != nil {
		return "", err
	}
	prober, ok := guest.(dispatchers.Prober)
	if !ok {
		return "configuration read", nil
	}
	return "tried", prober.Probe(ctx)
}
