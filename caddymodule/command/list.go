package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func listCommand() *cobra.Command {
	var user, device, state string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [--user <name>] [--device <id>] [--state active|expired|stale|blocked] [--json]",
		Short: "Lists dispatch targets, without their addresses and keys",
		Long: `
Lists dispatch targets, in no order: id, username, device, dispatcher, state,
kind of key, age of the key since the target was registered, and the key's
thumbprint. Addresses and keys are not shown. Records that cannot be read are reported on standard error.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&user, "user", "", "Only those of this user")
	cmd.Flags().StringVar(&device, "device", "", "Only those of the device with this id")
	cmd.Flags().StringVar(&state, "state", "", "Only those in this state: active, expired, stale or blocked")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print a JSON object for each, one a line")
	cmd.RunE = withStore(func(ctx context.Context, cmd *cobra.Command, s *openStore, _ []string) error {
		if err := checkState(state); err != nil {
			return err
		}
		out := bufio.NewWriter(cmd.OutOrStdout())
		table := newTable(out)
		if !asJSON {
			printRow(table, "ID", "USERNAME", "DEVICE", "DISPATCHER", "STATE", "KEY", "AGE", "THUMBPRINT")
		}
		now, shown := time.Now(), 0
		damaged, err := eachTarget(ctx, cmd, s, func(t *targets.Target) error {
			if user != "" && t.Username != user || device != "" && t.DeviceID != device || state != "" && string(t.State()) != state {
				return nil
			}
			v := operate.ViewOf(t, now)
			shown++
			if asJSON {
				return printJSON(out, v)
			}
			printRow(table, v.ID, v.Username, v.DeviceID, v.Dispatcher, v.State, v.Key, v.KeyAge, v.Thumbprint)
			if shown%rowsAligned == 0 {
				return table.Flush()
			}
			return nil
		})
		if err := errors.Join(err, table.Flush(), out.Flush()); err != nil {
			return fmt.Errorf("listing targets: %w", err)
		}
		if shown == 0 && damaged == 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "There is no such target in namespace %q. If you expect some, run this as the server's user, with its --config and its environment (HOME, XDG_DATA_HOME): they say where the store is.\n", s.namespace)
		}
		return unreadable(damaged)
	})
	return cmd
}

// rowsAligned is the number of rows whose columns are aligned with each other.
// All of a large store would have to be held in memory.
const rowsAligned = 1000

func checkState(state string) error {
	switch targets.State(state) {
	case "", targets.Active, targets.Expired, targets.Stale, targets.Blocked:
		return nil
	}
	return fmt.Errorf("--state %q: use active, expired, stale or blocked", state)
}

func unreadable(n int) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d records cannot be read, see above: give the store its keys (option seal), or remove them with: caddy oob targets forget --damaged <hash>", n)
}

func showCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show <id> [--json]",
		Short: "Shows a dispatch target, without its address and keys",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print it as a JSON object")
	cmd.RunE = withStore(func(ctx context.Context, cmd *cobra.Command, s *openStore, args []string) error {
		t, err := s.Load(ctx, s.ref(args[0]))
		switch {
		case errors.Is(err, targets.ErrNotFound):
			return fmt.Errorf("there is no target %q in namespace %q", args[0], s.namespace)
		case err != nil:
			return fmt.Errorf("loading target %q: %w", args[0], err)
		}
		v := operate.ViewOf(t, time.Now())
		return output(cmd, asJSON, v, func(w io.Writer) error { return printTable(w, v.Rows()) })
	})
	return cmd
}
