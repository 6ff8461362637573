package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func sendCommand() *cobra.Command {
	var test operate.Test
	var headers []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "send --dispatcher <name> --target <id> [--operation <operation>] [--header <name: value>]... " +
			"[--address <admin address>] [--config <file>] [--json]",
		Short: "Sends a test dispatch through the running server",
		Long: `
Has the running server dispatch a test message over one of its dispatchers to a
known target, and says what became of each attempt. It goes the way of every
dispatch, with the same key, address, limits and blocks, and an address that is
gone is in quarantine afterwards. nevisFIDO alone is left out: the token is one
that it does not know, so that nothing can be confirmed. The payload has the
member "test", and log and audit trail call it a test; metrics do not count it.

The server is found by its admin endpoint: --address, or the option admin of the
configuration. The exit code is 0 if the message was delivered.`,
		Example: `  caddy oob send --address unix//var/lib/oob-dispatch/oob-dispatch.sock --dispatcher push --target 6b5ad8bb-3b0a-4d2c-9d1b-6f3d8d8b2c11
  caddy oob send --config Caddyfile --dispatcher mail --target 6b5ad8bb-3b0a-4d2c-9d1b-6f3d8d8b2c11 --header "X-User-Email: me@bank.example.com"`,
		Args: cobra.NoArgs,
	}
	configFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&test.Dispatcher, "dispatcher", "", "Name of the dispatcher")
	flags.StringVar(&test.Target, "target", "", "Id of the dispatch target")
	flags.StringVar((*string)(&test.Operation), "operation", string(nevisfido.Authentication), "registration, authentication or deregistration")
	flags.StringArrayVar(&headers, "header", nil, "A header that the caller would send, such as one with the address; may be repeated")
	flags.String("address", "", "Admin address of the running server (default: that of the configuration, or else Caddy's)")
	flags.BoolVar(&asJSON, "json", false, "Print a JSON object")
	cmd.RunE = runCommand(func(_ context.Context, cmd *cobra.Command, _ []string) (err error) {
		if test.Dispatcher == "" || test.Target == "" {
			return errors.New("name a dispatcher with --dispatcher, and the id of a target with --target: caddy oob targets list shows them")
		}
		if len(headers) > 0 {
			if test.Header, err = parseHeaders(strings.Join(headers, "\r\n")); err != nil {
				return errors.New(`--header takes a name and a value, such as --header "X-User-Email: me@bank.example.com"`)
			}
		}
		at, err := serverOf(cmd)
		if err != nil {
			return err
		}
		var r operate.Outcome
		if err := at.call(http.MethodPost, "/oob/send", test, &r); err != nil {
			return err
		}
		err = output(cmd, asJSON, r, func(w io.Writer) error {
			return errors.Join(printTable(w, resultRows(r)), printTable(w, attemptRows(r)))
		})
		if err == nil && r.Class != "delivered" {
			err = fmt.Errorf("the test was not delivered: %s", causeOf(r.Class, r.Reason, r.Cause))
		}
		return err
	})
	return cmd
}

// parseHeaders reads headers as they stand in a request, one a line. The error may
// quote them.
func parseHeaders(text string) (http.Header, error) {
	header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(text + "\r\n\r\n"))).ReadMIMEHeader()
	return http.Header(header), err
}

func resultRows(r operate.Outcome) [][]string {
	outcome := "not delivered, a caller would be told " + r.Result
	if r.Class == "delivered" {
		outcome = "delivered by " + r.Delivered
	}
	return [][]string{
		{"dispatcher", r.Dispatcher},
		{"outcome", outcome},
		{"took", fmt.Sprintf("%d ms", r.Took)},
		{"encryption", strings.TrimSpace(r.Encryption + " " + r.Alg + " " + r.Enc)},
		{"thumbprint", r.Thumbprint},
		{"token", r.Token},
		{"target", r.Target},
	}
}

func attemptRows(r operate.Outcome) [][]string {
	rows := make([][]string, 0, len(r.Attempts)+len(r.Fallbacks))
	for _, a := range r.Attempts {
		outcome := fmt.Sprintf("%s in %d ms", a.Class, a.Took)
		switch {
		case !a.Made:
			outcome = "not made: " + causeOf(a.Class, a.Reason, a.Cause)
		case a.Reason != "":
			outcome = fmt.Sprintf("failed after %d ms: %s", a.Took, causeOf(a.Class, a.Reason, a.Cause))
		}
		rows = append(rows, []string{"attempt", a.Dispatcher + " " + outcome})
	}
	for _, f := range r.Fallbacks {
		rows = append(rows, []string{"fallback", fmt.Sprintf("from %s to %s (%s)", f.From, f.To, f.Reason)})
	}
	return rows
}
