package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func blockCommand() *cobra.Command {
	return blocking("block", "Has no message go to dispatch targets", `
Has no message go to dispatch targets over any dispatcher of the sidecar, those
with the ids, or all of a user: nevisFIDO is not asked, and callers get
dispatchError. No change of the device, registration, key source or import lifts
that, but unblock does. It ends with the record, when the target is deleted at
nevisFIDO or forgotten. What callers ask nevisFIDO's own dispatchers for is not
concerned.

It works on the store, which every sidecar asks for every dispatch. The audit
trail has a line of it if a running server does it: name its admin endpoint with
--address.`, operator.Block)
}

func unblockCommand() *cobra.Command {
	return blocking("unblock", "Lifts the block of dispatch targets", `
Lifts the block of dispatch targets, those with the ids, or all of a user. They
are as they would be without it: one that may have changed at nevisFIDO meanwhile
is stale.`, operator.Unblock)
}

func blocking(verb, short, long string, act func(operator, context.Context, string) (bool, error)) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " (<id>... | --user <name>) [--address <admin address>]", Short: short, Long: long}
	cmd.Flags().String("user", "", "All targets of this user")
	addressFlag(cmd)
	run := withOperator(func(ctx context.Context, cmd *cobra.Command, o operator, s *openStore, args []string) error {
		ids, damaged, err := idsOf(ctx, cmd, s, args, cmd.Flag("user").Value.String())
		if err != nil {
			return err
		}
		if user := cmd.Flag("user").Value.String(); len(ids) == 0 {
			return cmp.Or(whoseUnknown(damaged), fmt.Errorf("no target in the store is one of user %q, so nothing was %sed: check the name, as caddy oob targets list shows it", user, verb))
		}
		done, unknown := 0, 0
		for _, id := range ids {
			changed, err := act(o, ctx, id)
			switch {
			case errors.Is(err, targets.ErrNotFound):
				unknown++
				cmd.PrintErrf("there is no target %q; one that only a key source knows is known to a running server, see --address\n", id)
			case err != nil:
				return fmt.Errorf("after %d of %d targets: target %q: %w", done, len(ids), id, err)
			case !changed:
				cmd.PrintErrf("target %q was %sed already\n", id, verb)
				done++
			default:
				done++
			}
		}
		fmt.Fprintln(cmd.OutOrStdout(), count(done, "target"), verb+"ed")
		if unknown > 0 {
			return fmt.Errorf("%d of %d targets are not known", unknown, len(ids))
		}
		return whoseUnknown(damaged)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := idsOrUser(cmd, args); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return cmd
}
