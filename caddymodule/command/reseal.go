package command

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func resealCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reseal",
		Short: "Seals all records of the store with the first key of its option seal",
		Long: `
Seals all records of the store, of all namespaces, with the first key of its
option seal: those that another key of it has sealed, and with accept_unsealed
those that are not sealed. Records that are up to date are left alone.

Where the store is Caddy's storage, stop the sidecars that use it meanwhile:
what they write at the same moment may get lost. With Redis they may go on.

Take a key, or accept_unsealed, out of the configuration only after this has
ended with exit code 0.`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = withStore(func(ctx context.Context, cmd *cobra.Command, s *openStore, _ []string) error {
		var options struct {
			Seal []string `json:"seal"`
		}
		if err := json.Unmarshal(s.raw, &options); err == nil && len(options.Seal) == 0 {
			cmd.PrintErrln("the configuration gives the store no key; see its option seal")
		}
		damaged := 0
		report := reportDamaged(cmd, &damaged)
		n, err := s.Reseal(ctx, func(e *targets.RecordError) error {
			report(e)
			return nil
		})
		fmt.Fprintln(cmd.OutOrStdout(), count(n, "record"), "resealed")
		if err != nil {
			return fmt.Errorf("resealing: %w", err)
		}
		return unreadable(damaged)
	})
	return cmd
}
