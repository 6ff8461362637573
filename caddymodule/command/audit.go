package command

import (
	"context"
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit <command>", Short: "Works on audit files"}
	group(cmd)
	cmd.AddCommand(verifyCommand())
	return cmd
}

func verifyCommand() *cobra.Command {
	var noted string
	cmd := &cobra.Command{
		Use:   "verify <file> [--noted <hash>]",
		Short: "Finds lines of an audit trail that were changed, taken out, put in or moved",
		Long: `
Reads a file that the option "audit file" of oob_dispatch writes, after the full
ones in its folder (<file>.000000004711), and names the first line that was
changed, taken out, put in or moved. The server may go on writing meanwhile.

Lines that were cut off at the end leave no trace in the file. Note the last
hash that is printed, on another machine: with --noted the command fails if
that line is gone. The hashes have no key, so the same goes for whoever may
write to the file and makes all hashes anew.`,
		Example: `  caddy oob audit verify /var/log/oob-dispatch/audit.jsonl`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&noted, "noted", "", "Hash of a line that has to be there")
	cmd.RunE = runCommand(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if noted != "" && !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(noted) {
			return fmt.Errorf("--noted %q: a hash has 64 hexadecimal digits", noted)
		}
		files, err := auditfile.Open(args[0])
		if err != nil {
			return fmt.Errorf("verifying the audit file: %w", err)
		}
		defer auditfile.Close(files)
		v := auditfile.NewVerifier(noted)
		name := ""
		for _, file := range files {
			name = file.Name()
			before := len(v.Report.Resumed)
			if err = v.Read(ctx, file); err != nil {
				break
			}
			printResumed(cmd.OutOrStdout(), name, v.Report.Resumed[before:])
		}
		if err == nil {
			err = v.End()
		}
		printReport(cmd.OutOrStdout(), v.Report)
		if err != nil {
			return fmt.Errorf("verifying %s: %w", name, err)
		}
		return nil
	})
	return cmd
}

func printResumed(out io.Writer, name string, all []auditfile.Resumption) {
	for _, r := range all {
		fmt.Fprintf(out, "resumed at line %d of %s, %s: %d bytes of unfinished lines before it, %d lines lost\n",
			r.Line, name, printable(r.Time), r.TornBytes, r.Lost)
	}
}

func printReport(out io.Writer, r auditfile.Report) {
	fmt.Fprintf(out, "%d lines in order", r.Lines)
	if r.Lines > 0 {
		fmt.Fprintf(out, ", %s to %s, last hash %s", printable(r.First), printable(r.Last), r.Hash)
	}
	fmt.Fprintln(out)
	if r.FirstSeq > 1 {
		fmt.Fprintf(out, "they begin with number %d: older files were removed\n", r.FirstSeq)
	}
}
