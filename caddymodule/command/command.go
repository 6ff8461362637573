// Package command is `caddy oob …`: it works on the targets in the store of an
// oob_dispatch handler and on its audit files, makes keys, and takes messages
// apart. docs/commands.md has the exit codes, which are the same for all.
package command

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:      "oob",
		Usage:     "<command>",
		Short:     "Works on what the oob_dispatch handler keeps, and on its messages and keys",
		Long:      "\nWorks on what the oob_dispatch handler keeps, the dispatch targets and the audit trail, and on its messages and keys.",
		CobraFunc: oobCommand,
	})
}

func oobCommand(cmd *cobra.Command) {
	group(cmd)
	cmd.AddCommand(
		checkCommand(), doctorCommand(), sendCommand(), targetsCommand(), auditCommand(), explainCommand(),
		openCommand(), keygenCommand(), vapidCommand(), convertCommand(), versionCommand(),
	)
	nameFlags(cmd)
}

// nameFlags keeps cobra from adding "[flags]" to usage lines, which name them.
func nameFlags(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		nameFlags(sub)
	}
}

// group makes a command that only has others below it print its help, and
// refuse a misspelt one, which cobra takes for a request for help.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// runCommand makes a function cobra's. An interrupt ends its context, a second
// one the process.
func runCommand(f func(context.Context, *cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop)
			if err := f(ctx, cmd, args); err != nil {
				return caddy.ExitCodeFailedStartup, err
			}
			return caddy.ExitCodeSuccess, nil
		})(cmd, args)
	}
}
