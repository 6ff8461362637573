package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func forgetCommand() *cobra.Command {
	f := new(forget)
	cmd := &cobra.Command{
		Use:   "forget (<id>... | <id or hash>... --damaged | --user <name>) [--yes] [--address <admin address>]",
		Short: "Removes dispatch targets from the store",
		Long: `
Removes dispatch targets from the store: those with the ids, or all of a user.
nevisFIDO keeps its own. Asks before it removes anything.

What key sources and exported files hold has to be removed there, or a key
source brings the target back when it is dispatched to next.

The audit trail has a line of it if a running server does it: name its admin
endpoint with --address.

A record that cannot be read is removed with --damaged, by its id or by the
hash that list and the server's log show.`,
	}
	cmd.Flags().StringVar(&f.user, "user", "", "Remove all targets of this user")
	cmd.Flags().BoolVar(&f.damaged, "damaged", false, "Remove records without reading them")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "Do not ask")
	addressFlag(cmd)
	run := withOperator(f.run)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch err := idsOrUser(cmd, args); {
		case err != nil:
			return err
		case f.damaged && len(args) == 0:
			return errors.New("--damaged goes with ids: whose a record is that cannot be read is not known")
		case f.damaged && cmd.Flag("address").Changed:
			return errors.New("--damaged works on the store: leave out --address")
		}
		return run(cmd, args)
	}
	return cmd
}

// forget is the command's options.
type forget struct {
	user         string
	damaged, yes bool
}

func (f *forget) run(ctx context.Context, cmd *cobra.Command, o operator, s *openStore, args []string) error {
	ids, damaged, err := idsOf(ctx, cmd, s, args, f.user)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("Forget %s?", count(len(ids), "target"))
	if f.user != "" {
		question = fmt.Sprintf("Forget %s of user %s?", count(len(ids), "target"), printable(f.user))
	}
	if len(ids) > 0 {
		if err := f.confirm(cmd, question); err != nil {
			return err
		}
	}
	forgotten, unknown := 0, 0
	for _, id := range ids {
		switch err := f.one(ctx, o, s, id); {
		case errors.Is(err, targets.ErrNotFound):
			unknown++
			cmd.PrintErrf("there is no target %q\n", id)
		case err != nil:
			advice := "; if its record cannot be read, add --damaged"
			if f.damaged {
				advice = ""
			}
			return fmt.Errorf("after %d targets were forgotten: target %q: %w%s", forgotten, id, err, advice)
		default:
			forgotten++
		}
	}
	fmt.Fprintln(cmd.OutOrStdout(), count(forgotten, "target"), "forgotten")
	if unknown > 0 {
		return fmt.Errorf("%d of %d targets are not in the store", unknown, len(ids))
	}
	return whoseUnknown(damaged)
}

func (f *forget) one(ctx context.Context, o operator, s *openStore, id string) error {
	if !f.damaged {
		return o.Forget(ctx, id)
	}
	if _, err := s.Load(ctx, s.ref(id)); !errors.Is(err, targets.ErrNotFound) {
		_, err := s.Remove(ctx, s.ref(id).Hash())
		return err
	}
	if !targets.IsHash(id) {
		return targets.ErrNotFound
	}
	found, err := s.Remove(ctx, id)
	if err == nil && !found {
		err = targets.ErrNotFound
	}
	return err
}

func (f *forget) confirm(cmd *cobra.Command, question string) error {
	if f.yes {
		return nil
	}
	if !isTerminal(cmd.InOrStdin()) {
		return errors.New("nothing was forgotten: there is no terminal to ask on; add --yes")
	}
	if !ask(cmd.InOrStdin(), cmd.ErrOrStderr(), question) {
		return errors.New("nothing was forgotten")
	}
	return nil
}

func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
