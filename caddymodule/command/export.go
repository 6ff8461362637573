package command

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

func exportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export [--output <file>]",
		Short: "Writes dispatch targets, with addresses and public keys",
		Long: `
Writes dispatch targets in no order, one JSON record a line, as import and the
key source "file" read them. The records hold what is secret, the addresses
(such as push tokens), and personal data, with the public keys: keep them as
you keep the store. They are not sealed, whatever the store does.

The output file is for its owner only. It is there as a whole or not at all.
Records that cannot be read are reported on standard error, and the exit code
is 1; the others are written all the same.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "File to write to, replacing it (default: standard output)")
	cmd.RunE = withStore(func(ctx context.Context, cmd *cobra.Command, s *openStore, _ []string) error {
		n, damaged := 0, 0
		write := func(w io.Writer) (err error) {
			n, err = transfer.Export(ctx, s.Store, s.namespace, w, reportDamaged(cmd, &damaged))
			return err
		}
		var err error
		if output == "" || output == "-" {
			err = write(cmd.OutOrStdout())
		} else {
			err = transfer.WriteFile(output, write)
		}
		if err != nil {
			return fmt.Errorf("exporting targets: %w", err)
		}
		cmd.PrintErrf("%d targets exported\n", n)
		return unreadable(damaged)
	})
	return cmd
}
