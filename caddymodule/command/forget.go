package command

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func forgetCommand() *cobra.Command {
	f := new(forget)
	cmd := &cobra.Command{
		Use:   "forget (<id>... | <id or hash>... --damaged | --user <name>) [--yes]",
		Short: "Removes dispatch targets from the store",
		Long: `
Removes dispatch targets from the store: those with the ids, or all of a user.
nevisFIDO keeps its own. Asks before it removes anything.

What key sources and exported files hold has to be removed there, or a key
source brings the target back when it is dispatched to next.

A record that cannot be read is removed with --damaged, by its id or by the
hash that list and the server's log show.`,
	}
	cmd.Flags().StringVar(&f.user, "user", "", "Remove all targets of this user")
	cmd.Flags().BoolVar(&f.damaged, "damaged", false, "Remove records without reading them")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "Do not ask")
	cmd.RunE = withStore(func(ctx context.Context, cmd *cobra.Command, s *openStore, args []string) error {
		switch {
		case cmd.Flag("user").Changed != (len(args) == 0) || cmd.Flag("user").Changed && f.user == "":
			return errors.New("give ids, or a user's name with --user")
		case f.damaged && len(args) == 0:
			return errors.New("--damaged goes with ids: whose a record is that cannot be read is not known")
		case len(args) == 0:
			return f.ofUser(ctx, cmd, s)
		}
		return f.byID(ctx, cmd, s, args)
	})
	return cmd
}

// forget is the command's options.
type forget struct {
	user         string
	damaged, yes bool
}

func (f *forget) byID(ctx context.Context, cmd *cobra.Command, s *openStore, ids []string) error {
	if err := f.confirm(cmd, fmt.Sprintf("Forget %s?", count(len(ids), "target"))); err != nil {
		return err
	}
	forgotten, unknown := 0, 0
	for _, id := range ids {
		found, err := f.one(ctx, s, id)
		if err != nil {
			advice := "; if its record cannot be read, add --damaged"
			if f.damaged {
				advice = ""
			}
			return fmt.Errorf("after %d targets were forgotten: target %q: %w%s", forgotten, id, err, advice)
		}
		if found {
			forgotten++
		} else {
			unknown++
			cmd.PrintErrf("there is no target %q in namespace %q\n", id, s.namespace)
		}
	}
	fmt.Fprintln(cmd.OutOrStdout(), count(forgotten, "target"), "forgotten")
	if unknown > 0 {
		return fmt.Errorf("%d of %d targets are not in the store", unknown, len(ids))
	}
	return nil
}

// one forgets one target, and tells whether there was one.
func (f *forget) one(ctx context.Context, s *openStore, id string) (found bool, err error) {
	if !f.damaged {
		err = s.Update(ctx, s.ref(id), func(t *targets.Target) (*targets.Target, error) {
			found = t != nil
			return nil, nil
		})
		return found, err
	}
	_, err = s.Load(ctx, s.ref(id))
	switch {
	case !errors.Is(err, targets.ErrNotFound):
		return true, s.Remove(ctx, s.ref(id))
	case recordHash.MatchString(id):
		return s.RemoveHash(ctx, id)
	}
	return false, nil
}

var recordHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ofUser forgets all targets of a user.
func (f *forget) ofUser(ctx context.Context, cmd *cobra.Command, s *openStore) error {
	var ids []string
	damaged, err := eachTarget(ctx, cmd, s, func(t *targets.Target) error {
		if t.Username == f.user {
			ids = append(ids, t.ID)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking for the user's targets: %w", err)
	}
	if len(ids) > 0 {
		if err := f.confirm(cmd, fmt.Sprintf("Forget %s of user %s?", count(len(ids), "target"), printable(f.user))); err != nil {
			return err
		}
	}
	forgotten := 0
	for _, id := range ids {
		err := s.Update(ctx, s.ref(id), func(t *targets.Target) (*targets.Target, error) {
			if t == nil || t.Username != f.user {
				return t, nil
			}
			forgotten++
			return nil, nil
		})
		if err != nil {
			return fmt.Errorf("after %d of %d targets were forgotten: %w", forgotten, len(ids), err)
		}
	}
	fmt.Fprintln(cmd.OutOrStdout(), count(forgotten, "target"), "forgotten")
	if damaged > 0 {
		return fmt.Errorf("%d records cannot be read, see above, so that nobody knows whose they are: give the store its keys (option seal), or remove them", damaged)
	}
	return nil
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
