package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit <command>", Short: "Verifies audit files, and makes the keys that sign them"}
	group(cmd)
	cmd.AddCommand(verifyCommand(), auditKeygenCommand())
	return cmd
}

// verification is what the flags of audit verify say.
type verification struct{ key, noted, since, until string }

func verifyCommand() *cobra.Command {
	var flags verification
	cmd := &cobra.Command{
		Use:   "verify <file> [--key <file or key>] [--since <time>] [--until <time>] [--noted <hash>]",
		Short: "Finds what was done to an audit trail",
		Long: `
Reads a file that the option "audit file" of oob_dispatch writes, after the full
ones in its folder (<file>.000000004711), and names the first line that was
changed, taken out, put in or moved. The server may go on writing meanwhile.

With the public key of the option signing_key it looks at the checkpoints as
well: each vouches for all lines before it, they follow each other within a
minute, and the last one says that the process has ended. So lines that were cut
off at the end and a trail that was made anew are found, too. A time without
checkpoints is an error; one that you know the reason of, such as a power cut, is
passed over with --since. The trail of a server that runs has to reach to now;
for a copy, give the time when it was made with --until.

The hash of a line that was noted elsewhere does as much for that line: with
--noted the command fails if it is gone.

Times are as in 10:30, "2026-11-28 10:30", 2026-11-28T10:30:00+01:00, or 2h for
two hours ago. Exit code 1 tells that something was found.`,
		Example: `  caddy oob audit verify /var/log/oob-dispatch/audit.jsonl --key audit.pub`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&flags.key, "key", "", "Public key, or a file with public keys, one a line")
	cmd.Flags().StringVar(&flags.since, "since", "", "Pass over what is amiss with the checkpoints before this time")
	cmd.Flags().StringVar(&flags.until, "until", "", "The time that the trail has to reach to, unless its process has ended (default now)")
	cmd.Flags().StringVar(&flags.noted, "noted", "", "Hash of a line that has to be there")
	cmd.RunE = runCommand(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		want, err := flags.expectation(args[0])
		if err != nil {
			return err
		}
		files, err := auditfile.Open(args[0])
		if err != nil {
			return fmt.Errorf("verifying the audit file: %w", err)
		}
		defer auditfile.Close(files)
		return verifyFiles(ctx, cmd.OutOrStdout(), files, want)
	})
	return cmd
}

func (f verification) expectation(path string) (want auditfile.Expectation, err error) {
	want = auditfile.Expectation{Noted: f.noted, Until: time.Now(), Archived: auditfile.IsFull(path)}
	if f.noted != "" && !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(f.noted) {
		return want, fmt.Errorf("--noted %q: a hash has 64 hexadecimal digits", f.noted)
	}
	if f.key != "" {
		if want.Keys, err = publicKeys(f.key); err != nil {
			return want, fmt.Errorf("--key: %w", err)
		}
	}
	if err := parseTimes(f.since, f.until, &want.Since, &want.Until); err != nil {
		return want, err
	}
	return want, nil
}

// publicKeys reads a key, or a file with keys.
func publicKeys(text string) (*auditfile.Keys, error) {
	if keys, err := auditfile.ParseKeys([]byte(text)); err == nil || strings.Contains(text, "+") {
		return keys, err
	}
	content, err := os.ReadFile(text) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	keys, err := auditfile.ParseKeys(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	return keys, nil
}

func verifyFiles(ctx context.Context, out io.Writer, files []*os.File, want auditfile.Expectation) (err error) {
	v := auditfile.NewVerifier(want)
	name := ""
	for _, file := range files {
		name = file.Name()
		before := len(v.Report.Resumed)
		if err = v.Read(ctx, file); err != nil {
			break
		}
		printResumed(out, name, v.Report.Resumed[before:])
	}
	if err == nil {
		err = v.End()
	}
	printReport(out, v.Report, want.Keys != nil)
	if err != nil {
		return fmt.Errorf("verifying %s: %w", name, err)
	}
	return nil
}

func printResumed(out io.Writer, name string, all []auditfile.Resumption) {
	for _, r := range all {
		fmt.Fprintf(out, "resumed at line %d of %s, %s: %d bytes of unfinished lines before it, %d lines lost\n",
			r.Line, name, printable(r.Time), r.TornBytes, r.Lost)
	}
}

func printReport(out io.Writer, r auditfile.Report, signatures bool) {
	for _, g := range r.Gaps {
		from, to := g.From.Format(auditfile.TimeLayout), g.To.Format(auditfile.TimeLayout)
		switch {
		case g.Stopped:
			fmt.Fprintf(out, "stopped from %s to %s: the process had ended in order\n", from, to)
		case g.Interrupted:
			fmt.Fprintf(out, "interrupted between %s and %s: the process did not end in order; %d lines of that time were signed by the next one only\n", from, to, g.Unsigned)
		default:
			fmt.Fprintf(out, "not signed from %s to %s: %d lines\n", from, to, g.Unsigned)
		}
	}
	fmt.Fprintf(out, "%d lines in order", r.Lines)
	if r.Lines > 0 {
		fmt.Fprintf(out, ", %s to %s, last hash %s", printable(r.First), printable(r.Last), r.Hash)
	}
	fmt.Fprintln(out)
	if r.FirstSeq > 1 {
		fmt.Fprintf(out, "they begin with number %d: older files were removed\n", r.FirstSeq)
	}
	switch {
	case !signatures && r.Checkpoints > 0:
		fmt.Fprintf(out, "%d signatures were not looked at: give the public key with --key\n", r.Checkpoints)
	case !signatures:
		fmt.Fprintln(out, "nobody has signed them: whoever may write to the file could have made them anew, or cut off the end; see the option signing_key")
	case !r.Signed.IsZero():
		state := "the process goes on"
		if r.Ended {
			state = "the process has ended"
		}
		fmt.Fprintf(out, "signed to %s: %d checkpoints, %d lines after the last one; %s\n", r.Signed.Format(auditfile.TimeLayout), r.Checkpoints, r.Unsigned, state)
	}
}

func auditKeygenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen <name> <file>",
		Short: "Makes a pair of keys for the checkpoints of an audit file",
		Long: `
Writes a private key, for the option signing_key of oob_dispatch, into a new file
that only its owner can read, and prints the public one, which belongs to those
who verify the audit file. The name says whose key it is, such as the host's.`,
		Example: `  caddy oob audit keygen fido-1 /etc/oob-dispatch/audit.key > audit.pub`,
		Args:    cobra.ExactArgs(2),
	}
	cmd.RunE = runCommand(func(_ context.Context, cmd *cobra.Command, args []string) error {
		private, public, err := auditfile.GenerateKey(args[0])
		if err != nil {
			return err
		}
		if err := writeSecret(args[1], []byte(private+"\n")); err != nil {
			return fmt.Errorf("writing the private key: %w", err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), public)
		return err
	})
	return cmd
}

// parseTimes reads --since and --until where they are given.
func parseTimes(since, until string, from, to *time.Time) error {
	for _, f := range []struct {
		name, text string
		value      *time.Time
	}{{"since", since, from}, {"until", until, to}} {
		if f.text == "" {
			continue
		}
		at, err := parseTime(f.text, time.Now())
		if err != nil {
			return fmt.Errorf("--%s: %w", f.name, err)
		}
		*f.value = at
	}
	if !to.IsZero() && to.Before(*from) {
		return errors.New("--since is later than --until: exchange them")
	}
	return nil
}

// parseTime reads a time as people write it. Without a zone it is in that of the
// machine, without a date it is today's.
func parseTime(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly, "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			y, m, d := now.Date()
			return time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf(`%q is no time: write 10:30, "2026-11-28 10:30", 2026-11-28T10:30:00+01:00, or 2h for two hours ago`, text)
}
