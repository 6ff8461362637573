// Command demo runs the whole thing on one machine: a real Caddy with the
// oob_dispatch module, a simulated nevisFIDO behind it, a simulated Google and
// a simulated phone.
//
//	make demo                  serves a page on 127.0.0.1:8080 that shows it all,
//	                           and prints what to try
//	make demo ARGS=--once      takes one message over every channel, and exits
//	                           with 0 only if the phone could read all of them
//	make demo ARGS="--only nevisfido,google,phone"
//	                           starts parts alone, for a Caddyfile of your own
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1) //nolint:gocritic // cancel only ends the signal handling
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	listen := flags.String("listen", "", "address to serve on (default 127.0.0.1:8080; with --only 127.0.0.1:9080 for the first part, and the next ports for the others)")
	only := flags.String("only", "", "start these parts alone, for a Caddyfile of your own: nevisfido,google,mail,gateway,nevisidm,phone")
	sidecar := flags.String("sidecar", "http://127.0.0.1:8080", "with --only: where your Caddy listens")
	files := flags.String("files", "", "with --only: folder for the files that your Caddyfile names (default a temporary one)")
	once := flags.Bool("once", false, "take one message over every channel, on free ports, and exit")
	release := flags.String("nevisfido", "LTS21", "release that the simulated nevisFIDO follows, LTS21 (links in clear) or 8.2511 (sealed links)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s: the demo takes flags only; --help lists them", flags.Arg(0))
	}
	if *once {
		return walkAll(ctx, out)
	}
	mode, ok := modes[*release]
	if !ok {
		return fmt.Errorf("there is no release %q: name LTS21 or 8.2511", *release)
	}
	if *only != "" {
		names, err := readParts(*only)
		if err != nil {
			return err
		}
		return serveOnly(ctx, out, names, cmp.Or(*listen, "127.0.0.1:9080"), *sidecar, *files, mode)
	}
	return serve(ctx, out, cmp.Or(*listen, "127.0.0.1:8080"), mode)
}

var (
	modes    = map[string]nevis.Mode{"LTS21": nevis.LTS21, "8.2511": nevis.V8_2511}
	releases = map[nevis.Mode]string{nevis.LTS21: "LTS21", nevis.V8_2511: "8.2511"}
)

// serve runs the stack until the context ends, with one phone that prints what
// it receives.
func serve(ctx context.Context, out io.Writer, listen string, mode nevis.Mode) error {
	s, err := start(listen, mode, "INFO")
	if err != nil {
		return err
	}
	defer s.stop()
	p, err := s.register(ctx, device.CreateTarget)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nOpen %s in a browser, and see a message on its way.\n", s.url())
	if host, _, err := net.SplitHostPort(listen); err != nil || !isLoopback(host) {
		fmt.Fprintf(out, "Other machines can reach it, and nobody has to log in: use it in a network that you trust. The phone's part needs 127.0.0.1.\n")
	}
	fmt.Fprintf(out, "\nThe user jeff has a second phone, in this terminal. Try, from another one:\n\n")
	for _, c := range channels {
		fmt.Fprintf(out, "# %s\n%s\n\n", c.title, c.curl(s.url(), p.TargetID(), p.browser.JSON()))
	}
	fmt.Fprintf(out, "End with Ctrl-C.\n\n")
	go s.report(ctx, out)
	s.answer(ctx, out, p)
	return nil
}

// answer has the phone take every push message, until the context ends.
func (s *stack) answer(ctx context.Context, out io.Writer, p *phone) {
	for {
		message, err := s.google.Wait(ctx, p.pushToken)
		if err != nil {
			return
		}
		fmt.Fprintf(out, "phone: push %q arrived, %s\n", message.Notification.Title, take(ctx, p.Device, message.Data))
	}
}

// take opens and redeems a push message, and tells how it went.
func take(ctx context.Context, phone *device.Device, data map[string]string) string {
	opened, err := phone.OpenPush(data)
	if err != nil {
		return fmt.Sprintf("and cannot be read: %v", err)
	}
	redeemed, err := phone.Redeem(ctx, opened)
	if err != nil {
		return fmt.Sprintf("and cannot be redeemed: %v", err)
	}
	return fmt.Sprintf("code %s, decrypted and redeemed: %s", opened.VisualCode(visualCodeDigits), redeemed.Operation)
}
