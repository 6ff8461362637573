package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/internal/assumptions"
	"github.com/oob-dispatch/oob-dispatch/internal/shapes"
	"github.com/oob-dispatch/oob-dispatch/internal/version"
)

// doctorReport holds nothing that could not be shown to anybody: no host, no
// name of a user, no value of a message.
type doctorReport struct {
	Version     string                `json:"version"`
	Assumptions []assumptions.Finding `json:"assumptions"`
	Questions   []doctorQuestion      `json:"questions"`
	Seen        *shapes.Set           `json:"seen"`
}

func doctorCommand() *cobra.Command {
	var u upstream
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [--upstream <url>] [--shapes <file>] [--json]",
		Short: "Finds out whether a nevisFIDO behaves as docs/protocol.md assumes",
		Long: `
Says for each assumption of docs/protocol.md whether it holds, does not hold, or
cannot be told yet, and what was seen: names and types of members and HTTP
statuses, never values. The report names no host and no user, and can be shown to
anybody.

With --upstream nevisFIDO itself is asked, and not through the sidecar. The
questions create and change nothing:

  - POST token/dispatch/authentication, with and without a trailing slash, whose
    body is not JSON; once more as text/plain; and well-formed, for a
    dispatcher, a target and a user that cannot exist
  - GET token/dispatch/targets, with and without a trailing slash, for no user,
    and for --username or else a user that cannot exist
  - PATCH token/dispatch/targets/<id>, with an id that cannot exist and a body
    that is not signed
  - POST uaf/1.1/registration, with an empty object

With --shapes it reads what a sidecar with observe has collected in the file of
the option shapes.

The exit code is 1 if an assumption does not hold.`,
		Example: `  caddy oob doctor --upstream https://nevisfido.example.com:8443 --ca ca.pem --header-file sectoken.txt
  caddy oob doctor --shapes /var/lib/oob-dispatch/shapes.json --json > report.json`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&u.url, "upstream", "", "nevisFIDO, such as https://nevisfido.example.com:8443")
	flags.StringVar(&u.basePath, "base-path", "/nevisfido", "Path below which nevisFIDO's API is found")
	flags.StringVar(&u.username, "username", "", "User whose targets are asked for")
	flags.StringVar(&u.headerFile, "header-file", "", "File with headers to send, such as Authorization, one a line")
	flags.StringVar(&u.ca, "ca", "", "File of PEM certificates to trust in place of the system's")
	flags.StringVar(&u.cert, "client-cert", "", "File of the certificate to present to nevisFIDO")
	flags.StringVar(&u.key, "client-key", "", "File of its private key")
	flags.StringVar(&file, "shapes", "", "File of the option shapes")
	flags.BoolVar(&asJSON, "json", false, "Print a JSON object, with all that was seen")
	cmd.RunE = runCommand(func(ctx context.Context, cmd *cobra.Command, _ []string) (err error) {
		if u.url == "" && file == "" {
			return errors.New("nothing to examine: name nevisFIDO with --upstream, or a file of the option shapes with --shapes")
		}
		report := doctorReport{Version: version.Read().Version, Questions: []doctorQuestion{}, Seen: shapes.NewSet()}
		if file != "" {
			if report.Seen, err = shapes.Load(file); err != nil {
				return err
			}
		}
		if u.url != "" {
			if report.Questions, err = u.ask(ctx, report.Seen); err != nil {
				return err
			}
		}
		asked := map[string]int{}
		for _, q := range report.Questions {
			asked[q.Name] = q.Status
		}
		report.Assumptions = assumptions.Judge(report.Seen, asked)
		if err := output(cmd, asJSON, report, report.print); err != nil {
			return err
		}
		return report.amiss(cmd)
	})
	return cmd
}

// amiss tells what has to be looked at.
func (r *doctorReport) amiss(cmd *cobra.Command) error {
	if refused := slices.ContainsFunc(r.Questions, func(q doctorQuestion) bool { return q.Status == 401 || q.Status == 403 }); refused {
		cmd.PrintErrln("remark: some questions were answered 401 or 403: with a SecToken in --header-file, a --client-cert or a --username there may be more to see")
	}
	var fail []string
	for _, f := range r.Assumptions {
		if f.Verdict == assumptions.Fails {
			fail = append(fail, f.ID)
		}
	}
	if len(fail) == 0 {
		return nil
	}
	return fmt.Errorf("this nevisFIDO behaves otherwise than assumed: see %s in docs/protocol.md, and report what was seen", strings.Join(fail, ", "))
}

func (r *doctorReport) print(w io.Writer) error {
	verdicts := map[assumptions.Verdict]string{assumptions.Holds: "holds", assumptions.Fails: "DOES NOT HOLD", assumptions.NotSeen: "not seen yet"}
	table := newTable(w)
	printRow(table, "ASSUMPTION", "RESULT", "PLACE")
	for _, f := range r.Assumptions {
		printRow(table, f.ID, verdicts[f.Verdict], strings.ReplaceAll(f.Place, "`", ""))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, f := range r.Assumptions {
		if len(f.Seen) > 0 {
			fmt.Fprintf(w, "\n%s, %s: %s\n", f.ID, strings.ReplaceAll(f.Place, "`", ""), verdicts[f.Verdict])
		}
		for _, line := range f.Seen {
			fmt.Fprintln(w, "  "+printable(line))
		}
	}
	if len(r.Questions) > 0 {
		fmt.Fprintln(w, "\nAnswers to questions")
	}
	for _, q := range r.Questions {
		fmt.Fprintf(w, "  %s: %d\n", q.Name, q.Status)
	}
	return nil
}
