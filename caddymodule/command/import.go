package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

// The number of records that are stored at a time.
const (
	defaultJobs = 8
	maxJobs     = 64
)

func importCommand() *cobra.Command {
	o := &importOptions{overwrite: transfer.Newer}
	cmd := &cobra.Command{
		Use:   "import [<file>|-] [--dry-run] [--overwrite newer|never|always] [--strict] [--jobs <n>]",
		Short: "Stores dispatch targets that are given as lines of JSON",
		Long: `
Stores dispatch targets that are given one JSON record a line, in a file or on
standard input, as export writes them. Every key is vetted as that of a device
is; private keys are refused. A line that is not in order is refused as a whole
and reported, the others are stored, and the exit code is 1.

A record that was made by hand needs schema (1) and id, and usually username,
device_id, target (the address), dispatcher and encryption_key. Without updated
it never replaces one that is there, unless by --overwrite always.

An import that ended early is repeated with the same command: targets that are
stored already are left alone.`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.dryRun, "dry-run", false, "Report what would happen, and change nothing")
	flags.Var(&o.overwrite, "overwrite", "When to replace a target that is there: newer, never or always")
	flags.String("resume", "", "Not used any more")
	_ = flags.MarkDeprecated("resume", "it is not used any more: repeat the import, which leaves alone what is stored already") // never fails: there is the flag
	flags.BoolVar(&o.strict, "strict", false, "End with the first line that is refused")
	flags.IntVar(&o.jobs, "jobs", defaultJobs, fmt.Sprintf("How many targets are stored at a time, 1 to %d", maxJobs))
	cmd.RunE = withStore(o.run)
	return cmd
}

// importOptions are the command's options.
type importOptions struct {
	overwrite      transfer.Overwrite
	dryRun, strict bool
	jobs           int
}

func (o *importOptions) run(ctx context.Context, cmd *cobra.Command, s *openStore, args []string) error {
	if o.jobs < 1 || o.jobs > maxJobs {
		return fmt.Errorf("--jobs has to be between 1 and %d", maxJobs)
	}
	if (len(args) == 0 || args[0] == "-") && cmd.Flag("config").Value.String() == "-" {
		return errors.New("standard input cannot be both the configuration and the targets")
	}
	input, size, err := openInput(cmd, args)
	if err != nil {
		return err
	}
	defer input.Close()
	im := &transfer.Import{
		Store: s.Store, Namespace: s.namespace, Policy: s.policy, Overwrite: o.overwrite, Jobs: o.jobs, DryRun: o.dryRun, Strict: o.strict,
	}
	bar := &progressBar{out: cmd.ErrOrStderr(), total: size}
	if isTerminal(cmd.ErrOrStderr()) {
		im.Progress = func(r *transfer.Report, bytes int64) { bar.update(r.Lines, r.RefusedLines(), bytes, time.Now()) }
	}
	report, err := im.Run(ctx, input)
	bar.end()
	if err != nil && ctx.Err() != nil {
		err = errors.New("it was interrupted")
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), summary(report, o.dryRun)); err != nil {
		return err
	}
	switch {
	case err != nil:
		return fmt.Errorf("the import ended after line %d: %w; repeat it, which leaves alone what is stored already", report.Lines, err)
	case report.RefusedLines() > 0:
		return fmt.Errorf("%d of %d lines were refused", report.RefusedLines(), report.Lines)
	}
	return nil
}

// summary is a report as text.
func summary(r *transfer.Report, dryRun bool) string {
	var b strings.Builder
	if dryRun {
		b.WriteString("dry run: nothing was stored\n")
	}
	_ = printTable(&b, [][]string{ // a Builder never fails
		{"lines", fmt.Sprint(r.Lines)},
		{"added", fmt.Sprint(r.Added)},
		{"replaced", fmt.Sprint(r.Replaced)},
		{"unchanged", fmt.Sprint(r.Unchanged)},
		{"kept", fmt.Sprint(r.Kept)},
		{"refused", fmt.Sprint(r.RefusedLines())},
	})
	for _, reason := range r.Reasons() {
		refusal := r.Refused[reason]
		fmt.Fprintf(&b, "  %s: %d, on line %s\n    %s\n", reason, refusal.Count, lineNumbers(refusal), refusal.Text)
	}
	if r.Users > 0 {
		fmt.Fprintf(&b, "%d records tell how to reach their users: no store keeps that; see the key source file\n", r.Users)
	}
	return b.String()
}

func lineNumbers(r transfer.Refusal) string {
	var numbers []string
	for _, n := range r.Lines {
		numbers = append(numbers, fmt.Sprint(n))
	}
	if r.Count > int64(len(r.Lines)) {
		numbers = append(numbers, "…")
	}
	return strings.Join(numbers, ", ")
}
