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

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/internal/wording"
)

// Defaults of the options.
const (
	DefaultMinLifetime = 72 * time.Hour
	DefaultMaxSpool    = 1000
)

// The reasons of failures, beside those of package httpclient.
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
	reasonUncertain = "uncertain"
)

// Dispatcher writes letters: one A4 page for window envelopes, with a QR code
// that holds the message (with `base_url` a link, which any camera can follow;
// without it the bare message, which only the app can read).
//
// The address of a message is a postal address of 2 to 6 lines, separated by
// "|" or ";", such as "Anna Muster | Bahnhofstrasse 1 | 8001 Zürich". Latin,
// Greek and Cyrillic can be printed; accents that the font lacks are left out,
// as are emoji. Other scripts are refused.
//
// A letter takes days: set the host's `token_lifetime`, and nevisFIDO's, to
// what the post needs. One letter a day per target is the default limit.
type Dispatcher struct {
	// Folder of own texts: files named <operation>.<language>.txt, each of
	// which defines the parts subject, date, opening, caption and closing, in
	// place of the built-in ones of the same name. Each is tried on paper when
	// the configuration is loaded; docs/templates.md tells what they see.
	// Default: the built-in ones, in de, en, fr and it.
	Templates string `json:"templates,omitempty"`

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

	// Where the language comes from, templates in order of preference: each
	// gives a language tag or an Accept-Language header. The last is one of
	// the languages. Default: {oob.data.language},
	// {http.request.header.Accept-Language}, en
	Language []dispatchers.Template `json:"language,omitempty"`

	// The return address, its lines separated as those of an address; it
	// stands in one line above the recipient's. The first signs the letter.
	Sender string `json:"sender,omitempty"`

	// Where the envelope has its window, `right` or `left`. The address stands
	// 118 mm or 25 mm from the left edge and 51 to 82 mm from the top, where
	// the usual C5 and C6/5 envelopes show it. Default: `right`
	Window string `json:"window,omitempty"`

	httpclient.Options

	texts   *wording.Texts
	sender  []string
	spool   *spool
	printer *printer
	now     func() time.Time
	logger  *slog.Logger
}

// CaddyModule returns the Caddy module information.
func (Dispatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".letter",
		New: func() caddy.Module { return new(Dispatcher) },
	}
}

// Provision loads the texts, tries them on paper and checks the options. It
// stores and dials nothing.
func (l *Dispatcher) Provision(ctx caddy.Context) error {
	l.now, l.logger = time.Now, ctx.Slogger()
	if err := l.CheckOptions(); err != nil {
		return err
	}
	l.setDefaults()
	if err := l.setTexts(ctx); err != nil {
		return err
	}
	if l.Spool != "" {
		dir, err := placeholder.ResolvePath("spool", l.Spool)
		if err != nil {
			return err
		}
		if l.spool, err = openSpool(dir, l.MaxSpool); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	if l.Printer != "" {
		p, err := newPrinter(l.Printer, l.Options, dispatchers.Logger(ctx))
		if err != nil {
			return err
		}
		l.printer = p
	}
	return nil
}

// setTexts loads the texts. The built-in ones need no trial.
func (l *Dispatcher) setTexts(ctx context.Context) error {
	var err error
	if l.texts, err = wording.Load(texts.Letter, l.Templates, l.Language); err != nil {
		return err
	}
	if l.sender, err = parseSender(l.Sender, l.Window); err != nil {
		return err
	}
	if l.Templates == "" {
		return nil
	}
	return l.tryTexts(ctx)
}

// CheckOptions implements dispatchers.OptionChecker.
func (l *Dispatcher) CheckOptions() error {
	switch {
	case l.Spool == "" && l.Printer == "":
		return errors.New("a letter needs spool <dir> or printer <ipp_url>")
	case l.Printer == "" && l.Options != (httpclient.Options{}):
		return errors.New("proxy, ca and client_cert are for a printer: there is none")
	case l.Spool == "" && l.MaxSpool != 0:
		return errors.New("max_spool is for a spool folder: there is none")
	case l.MaxSpool < 0:
		return errors.New("max_spool: it must be positive")
	case l.MinLifetime < 0:
		return errors.New("min_lifetime: it must be positive")
	}
	if err := checkWindow(l.Window); err != nil {
		return err
	}
	if l.Printer != "" {
		if err := checkPrinter(l.Printer); err != nil {
			return err
		}
	}
	if _, err := parseSender(l.Sender, l.Window); err != nil {
		return err
	}
	return wording.Check(texts.Letter, l.Templates, l.Language)
}

func checkWindow(window string) error {
	switch window {
	case "", windowRight, windowLeft:
		return nil
	}
	return fmt.Errorf("window %q: it is right or left", window)
}

func (l *Dispatcher) setDefaults() {
	l.MaxSpool = cmp.Or(l.MaxSpool, DefaultMaxSpool)
	l.MinLifetime = cmp.Or(l.MinLifetime, caddy.Duration(DefaultMinLifetime))
	l.Window = cmp.Or(l.Window, windowRight)
}

// Cleanup closes idle connections.
func (l *Dispatcher) Cleanup() error {
	if l.printer != nil {
		l.printer.transport.CloseIdleConnections()
	}
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (*Dispatcher) Traits() dispatchers.Traits {
	return dispatchers.Traits{
		Limits: []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: 24 * time.Hour}},
	}
}

// Dispatch implements dispatchers.Dispatcher.
func (l *Dispatcher) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	job, err := l.compose(ctx, m)
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	if err := l.hand(ctx, job); err != nil {
		return dispatchers.Receipt{}, err
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// hand gives the letter to the printer, or to the spool folder where there is
// no printer or it certainly has not taken the letter.
func (l *Dispatcher) hand(ctx context.Context, job *job) error {
	if l.printer != nil {
		err := l.print(ctx, job)
		if err == nil {
			return nil
		}
		failure := dispatchers.AsError(err)
		if l.spool == nil || failure.Reason == reasonUncertain {
			return err
		}
		if ctx.Err() == nil {
			l.standIn(ctx, job, failure)
		}
	}
	if err := ctx.Err(); err != nil { // nobody would believe the outcome
		return dispatchers.AsError(err)
	}
	return l.spool.put(job)
}

// standIn tells of a printer that did not take a letter. Nobody else does: with
// the letter in the folder the dispatch is a success.
func (l *Dispatcher) standIn(ctx context.Context, job *job, failure *dispatchers.Error) {
	l.logger.WarnContext(ctx, "the printer did not take a letter, which goes to the spool folder instead: "+
		"look after the printer, and see that somebody prints what is in the folder",
		slog.String("dispatcher", job.dispatcher), slog.String("letter", job.ticket.ID),
		slog.String("class", string(failure.Class)), slog.String("reason", failure.Reason), slog.Any("error", failure.Err))
}

// print gives the letter to the printer. Where a folder stands in for it, one
// that does not answer leaves a fifth of the time for that.
func (l *Dispatcher) print(ctx context.Context, job *job) error {
	if deadline, ok := ctx.Deadline(); ok && l.spool != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*4/5)
		defer cancel()
	}
	return l.printer.print(ctx, job)
}

// Check writes and removes a file in the spool folder, and asks the printer
// whether it accepts jobs in PDF. The texts are checked when they are loaded.
func (l *Dispatcher) Check(ctx context.Context) error {
	if l.spool != nil {
		if err := l.spool.check(); err != nil {
			return err
		}
	}
	if l.printer != nil {
		return l.printer.check(ctx)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner         = (*Dispatcher)(nil)
	_ caddy.CleanerUpper        = (*Dispatcher)(nil)
	_ dispatchers.Dispatcher    = (*Dispatcher)(nil)
	_ dispatchers.OptionChecker = (*Dispatcher)(nil)
)
