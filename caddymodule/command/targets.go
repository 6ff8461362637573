package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

func targetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "targets",
		Short: "Lists, shows, imports, exports, forgets and blocks dispatch targets",
		Long: `
Works on the dispatch targets in the store of an oob_dispatch handler: what
Caddy's storage holds, or Redis, as the configuration says. No server is
started, and none needs to run; one that does may go on.

Where the configuration has several handlers with different namespaces or
stores, --namespace or --base-path chooses one.`,
		Example: `  caddy oob targets list --user jeff
  caddy oob targets export --output targets.ndjson
  caddy oob targets import targets.ndjson --dry-run
  caddy oob targets forget --user jeff
  caddy oob targets block --user jeff --address unix//var/lib/oob-dispatch/oob-dispatch.sock`,
	}
	group(cmd)
	configFlags(cmd)
	cmd.AddCommand(listCommand(), showCommand(), importCommand(), exportCommand(), forgetCommand(), blockCommand(), unblockCommand(), resealCommand())
	return cmd
}

// eachTarget calls f for every target of the handler. Records that cannot be
// read are reported on standard error and counted.
func eachTarget(ctx context.Context, cmd *cobra.Command, s *openStore, f func(*targets.Target) error) (damaged int, err error) {
	err = transfer.Walk(ctx, s.Store, s.namespace, f, reportDamaged(cmd, &damaged))
	return damaged, err
}

// reportDamaged prints and counts records that cannot be read.
func reportDamaged(cmd *cobra.Command, n *int) func(*targets.RecordError) {
	return func(e *targets.RecordError) {
		*n++
		cmd.PrintErrln("cannot be read:", e.Error())
	}
}
