// Package letter is the dispatcher that writes letters: a page in PDF with a
// QR code, put into a print shop's folder or printed over IPP.
package letter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/letter/internal/sheet"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

func init() { caddy.RegisterModule(Letter{}) }

// The reasons of failures, in addition to those of package httpclient.
const (
	reasonLifetime  = "lifetime"
	reasonAddress   = "address"
	reasonTemplate  = "template"
	reasonCharacter = "character"
	reasonTooLong   = "too_long"
	reasonPDF       = "pdf"
	reasonID        = "id"
	reasonBusy      = "busy"
	reasonSpool     = "spool"
	reasonSpoolFull = "spool_full"
	reasonPrinter   = "printer"
	reasonNotIPP    = "not_ipp"
	reasonUncertain = "uncertain"
)

// Letter writes letters: one A4 page for window envelopes, with a QR code that
// holds the message (with `base_url` a link, which any camera can follow;
// without it the bare message, which only the app can read).
//
// The address of a message is a postal address of 2 to 6 lines, separated by
// "|", ";" or line feeds, such as "Anna Muster | Bahnhofstrasse 1 | 8001 Zürich". Latin,
// Greek and Cyrillic can be printed; accents that the font lacks are left out,
// as are emoji. Other scripts are refused.
//
// A letter takes days: set the host's `token_lifetime`, and nevisFIDO's, to
// what the post needs. One letter a day per target is the default limit.
type Letter struct {
	// Folder for the letters, which has to exist. A letter is <id>.pdf and then
	// the job ticket <id>.json; who sees the ticket has the whole letter. Act on
	// tickets only: a PDF without one is what a killed process left, and is
	// removed later. Take the ticket away last: while it is there the same letter
	// is not written again. Files that begin with a dot are not finished.
	// Dispatchers can share a folder: <id> ends in the dispatcher's name.
	Spool string `json:"spool,omitempty"`

	// How many letters may wait in the folder before further ones fail.
	// Default: 1000
	MaxSpool int `json:"max_spool,omitempty"`

	// The printer, as ipps://host/path, or ipp://host/path on this machine. A
	// letter is never sent twice: if the answer to a job that was sent does not
	// come, the outcome is refused, with the reason "uncertain".
	//
	// If there is a spool folder as well it stands in for the printer: a letter
	// that the printer certainly has not taken, because it is away, refuses or
	// does not answer, goes to the folder at once and the dispatch succeeds. A
	// warning in the log is all that tells of it, and somebody has to print what
	// is in the folder. With the reason "uncertain" nothing goes there.
	Printer string `json:"printer,omitempty"`

	// The least time that the token has to live on, as the post takes it away.
	// Default: 72h
	MinLifetime caddy.Duration `json:"min_lifetime,omitempty"`

	// The return address, its lines separated as those of an address, and
	// printed in one line above the recipient's. The first signs the letter.
	Sender string `json:"sender,omitempty"`

	// Where the envelope has its window, `right` or `left`. The address is
	// 118 mm or 25 mm from the left edge and 51 to 82 mm from the top, where
	// the usual C5 and C6/5 envelopes show it. Default: `right`
	Window string `json:"window,omitempty"`

	texts.Config
	httpclient.Options

	texts   *texts.Set
	sender  []string
	spool   *spool
	printer *printer
	now     func() time.Time
	logger  *slog.Logger
}

// The values of window.
const (
	windowRight = "right"
	windowLeft  = "left"
)

var options = conf.Join(
	conf.Table[Letter]{
		conf.Path("spool", func(l *Letter) *string { return &l.Spool }),
		conf.Int("max_spool", func(l *Letter) *int { return &l.MaxSpool }, 1, 1_000_000, 1000),
		conf.URL("printer", func(l *Letter) *string { return &l.Printer }, func(text string) error {
			_, _, err := printerURLs(text)
			return err
		}),
		conf.Duration("min_lifetime", func(l *Letter) *caddy.Duration { return &l.MinLifetime }, 0, 72*time.Hour),
		conf.Text("sender", func(l *Letter) *string { return &l.Sender }, conf.Parses(sheet.ParseSender)),
		conf.OneOf("window", func(l *Letter) *string { return &l.Window }, windowRight, windowLeft),
	},
	conf.Embed(texts.Table, func(l *Letter) *texts.Config { return &l.Config }),
	conf.Embed(httpclient.Table, func(l *Letter) *httpclient.Options { return &l.Options }),
)

// CaddyModule returns the Caddy module information.
func (Letter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".letter",
		New: func() caddy.Module { return new(Letter) },
	}
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens.
func (l *Letter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, l) }

// Check implements conf.Checker.
func (l *Letter) Check() error {
	switch {
	case l.Spool == "" && l.Printer == "":
		return errors.New("a letter needs spool <dir> or printer <ipp_url>")
	case l.Printer == "" && l.Options != (httpclient.Options{}):
		return errors.New("proxy, ca and client_cert are for a printer: add printer <ipp_url>, or remove them")
	case l.Spool == "" && l.MaxSpool != 0:
		return conf.Errorf("max_spool", "max_spool is for a folder: add spool <dir>, or remove it")
	}
	return l.CheckLanguage(texts.Letter)
}

// Provision loads the texts and sees whether they can be printed. It dials
// nothing, and leaves nothing in the spool folder.
func (l *Letter) Provision(ctx caddy.Context) error {
	l.now, l.logger = time.Now, dispatchers.Logger(ctx)
	if err := options.Provision(l, l.logger); err != nil {
		return err
	}
	l.Window = cmp.Or(l.Window, windowRight)
	var err error
	if l.sender, err = sheet.ParseSender(l.Sender); err != nil {
		return err
	}
	if l.texts, err = texts.Load(texts.Letter, l.Config); err != nil {
		return err
	}
	if l.Templates != "" { // a test looks at the built-in ones
		if err := l.preflight(); err != nil {
			return err
		}
	}
	if l.Spool != "" {
		if l.spool, err = openSpool(l.Spool, l.MaxSpool, l.logger); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	if l.Printer != "" {
		l.printer, err = newPrinter(l.Printer, &l.Options, l.logger)
	}
	return err
}

// Traits implements dispatchers.Dispatcher.
func (l *Letter) Traits() dispatchers.Traits {
	return dispatchers.Traits{
		AddressLines: true,
		MinLifetime:  time.Duration(l.MinLifetime),
		Limits:       []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: 24 * time.Hour}},
	}
}

// Dispatch implements dispatchers.Dispatcher.
func (l *Letter) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	job, err := l.write(ctx, m)
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	standIn, err := l.submit(ctx, job)
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch, StandIn: standIn}, nil
}

// submit gives the letter to the printer, or to the spool folder where there is
// no printer or it certainly has not taken the letter. With the letter in the
// folder the dispatch is a success, so that the log has to tell of the printer.
func (l *Letter) submit(ctx context.Context, job *job) (standIn *dispatchers.StandIn, err error) {
	if l.printer != nil {
		err := l.print(ctx, job)
		failure := dispatchers.AsError(err)
		if err == nil || l.spool == nil || failure.Reason == reasonUncertain {
			return nil, err
		}
		standIn = &dispatchers.StandIn{Name: "spool", Failure: failure}
		if ctx.Err() == nil {
			l.logger.WarnContext(ctx, "the printer did not take a letter, which goes to the spool folder instead: "+
				"look after the printer, and see that somebody prints what is in the folder",
				slog.String("letter", job.ticket.ID), slog.String("class", string(failure.Class)),
				slog.String("reason", failure.Reason), slog.Any("error", failure.Err))
		}
	}
	if err := ctx.Err(); err != nil { // the exchange has given up the attempt
		return nil, dispatchers.AsError(err)
	}
	return standIn, l.spool.put(job)
}

// print gives the letter to the printer. Where a folder stands in for it, one
// that does not answer leaves a fifth of the time for that.
func (l *Letter) print(ctx context.Context, job *job) error {
	if deadline, ok := ctx.Deadline(); ok && l.spool != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*4/5)
		defer cancel()
	}
	return l.printer.print(ctx, job)
}

// Probe writes and removes a file in the spool folder, and asks the printer
// whether it accepts jobs in PDF.
func (l *Letter) Probe(ctx context.Context) error {
	var err error
	if l.spool != nil {
		err = l.spool.probe()
	}
	if err == nil && l.printer != nil {
		err = l.printer.probe(ctx)
	}
	return err
}

// Interface guards
var (
	_ caddyfile.Unmarshaler        = (*Letter)(nil)
	_ caddy.Provisioner            = (*Letter)(nil)
	_ conf.Checker                 = (*Letter)(nil)
	_ dispatchers.Dispatcher       = (*Letter)(nil)
	_ dispatchers.CredentialHolder = (*Letter)(nil)
)
