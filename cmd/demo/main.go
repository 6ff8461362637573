// Command demo runs the whole thing on one machine: a real Caddy with the
// oob_dispatch module, a simulated nevisFIDO behind it, a simulated Google and
// a simulated phone.
//
//	make demo                  serves on 127.0.0.1:8080 and prints what to try
//	make demo ARGS=--once      takes one message over every channel, and exits
//	                           with 0 only if the phone could read all of them
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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
	listen := flags.String("listen", "127.0.0.1:8080", "address to serve on, of this machine's loopback")
	once := flags.Bool("once", false, "take one message over every channel, on free ports, and exit")
	release := flags.String("nevisfido", "LTS21", "release that the simulated nevisFIDO follows, LTS21 (links in clear) or 8.2511 (sealed links)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *once {
		return walkAll(ctx, out)
	}
	mode, ok := modes[*release]
	if !ok {
		return fmt.Errorf("there is no release %q: name LTS21 or 8.2511", *release)
	}
	return serve(ctx, out, *listen, mode)
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
	fmt.Fprintf(out, "\noob-dispatch runs on %s, in front of a simulated nevisFIDO.\n", s.url())
	fmt.Fprintf(out, "The user jeff has registered a phone. Try, from another terminal:\n\n")
	for _, c := range channels {
		fmt.Fprintf(out, "# %s\n%s\n\n", c.title, c.curl(s.url(), p.TargetID(), p.browser.JSON()))
	}
	fmt.Fprintf(out, "End with Ctrl-C.\n\n")
	for {
		message, err := s.google.Wait(ctx, p.pushToken)
		if err != nil {
			return nil // the context ended: that is the way out
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
