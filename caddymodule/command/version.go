package command

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/internal/version"
)

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version [--json]",
		Short: "Prints the version of oob-dispatch, its commit, and Caddy's version",
		Long: `
Prints the version of oob-dispatch, the commit that it was built from, and the
versions of Caddy and Go. What the binary does not know is "unknown": xcaddy
alone records no commit, xcaddy.sh does. The metric caddy_oob_build_info says the
same of a running server.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print a JSON object")
	cmd.RunE = runCommand(func(_ context.Context, cmd *cobra.Command, _ []string) error {
		v := version.Read()
		return output(cmd, asJSON, v, func(w io.Writer) error {
			return printTable(w, [][]string{{"oob-dispatch", v.Version}, {"commit", v.Commit}, {"caddy", v.Caddy}, {"go", v.Go}})
		})
	})
	return cmd
}
