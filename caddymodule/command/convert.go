package command

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func convertCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "convert [<file>|-] [--json]",
		Short: "Makes a Caddyfile block of the dispatchers in nevisfido.yml",
		Long: `
Reads nevisfido.yml, or its section dispatchers alone, from a file or standard
input, and prints an oob_dispatch block whose dispatchers have the names that
callers use today: nothing changes for them.

What has no counterpart is listed on standard error with its line, and the exit
code is 1; the rest is printed all the same. So are remarks on what has to stay
in nevisfido.yml. Passwords are not taken over: the block names environment
variables in their place. ${env:NAME} becomes {$NAME}, which Caddy replaces when
it reads the Caddyfile.`,
		Example: `  caddy oob convert /var/opt/nevisfido/default/conf/nevisfido.yml > oob.caddyfile`,
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print a JSON object with the block and the lists")
	cmd.RunE = runCommand(func(_ context.Context, cmd *cobra.Command, args []string) error {
		input, err := readInput(cmd, args)
		if err != nil {
			return fmt.Errorf("reading nevisfido.yml: %w", err)
		}
		c, err := convertDispatchers(input)
		if err != nil {
			return fmt.Errorf("converting the dispatchers: %w", err)
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), c)
		} else {
			_, err = io.WriteString(cmd.OutOrStdout(), c.Caddyfile)
			for _, m := range c.Missing {
				cmd.PrintErrf("no counterpart: line %d, %s: %s\n", m.Line, printable(m.Option), m.Text)
			}
			for _, remark := range c.Remarks {
				cmd.PrintErrln("remark:", remark)
			}
		}
		if err == nil && len(c.Missing) > 0 {
			err = fmt.Errorf("there is no counterpart for %s of nevisfido.yml, see above", count(len(c.Missing), "part"))
		}
		return err
	})
	return cmd
}
