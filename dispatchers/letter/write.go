package letter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/letter/internal/sheet"
	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// job is a letter that is ready to be printed.
type job struct {
	pdf    []byte
	ticket Ticket
}

// write writes the letter. Its id names the dispatcher as well: two of them may
// share a folder, and what one has written there must not pass for the letter of
// the other.
func (l *Letter) write(ctx context.Context, m *dispatchers.Message) (*job, error) {
	id := m.DeliveryID()
	if m.ID == "" || m.Dispatcher == "" || !dispatchers.ValidDeliveryID(id) {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonID,
			"the message's ID and the dispatcher's name cannot be the name of a file")
	}
	now := l.now()
	if left, need := m.Expires.Sub(now), time.Duration(l.MinLifetime); left < need {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonLifetime,
			"the token lives for another %v, and a letter needs %v: raise token_lifetime here and at nevisFIDO, or lower min_lifetime",
			max(left, 0).Round(time.Second), need)
	}
	address, err := sheet.ParseAddress(m.Address)
	if err != nil {
		return nil, failure(ctx, "the postal address cannot be used", dispatchers.Refused, reasonAddress, err)
	}
	p, err := l.page(l.texts.Language(m), texts.Of(m, now))
	if err != nil {
		return nil, failure(ctx, "filling in the texts of the letter", dispatchers.Broken, reasonTemplate, err)
	}
	p.Address, p.Picture = address, m.VisualCodePicture
	if p.Code, err = sheet.Code(ctx, m.CodeContent()); err != nil {
		return nil, failure(ctx, "drawing the QR code", dispatchers.Broken, reasonPDF, err)
	}
	pdf, err := p.PDF()
	if err != nil {
		return nil, failure(ctx, "writing the letter", dispatchers.Broken, reasonPDF, err)
	}
	digest := sha256.Sum256(pdf)
	return &job{pdf, Ticket{
		Version: 1, ID: id, Operation: m.Operation, Language: p.Language,
		Created: now.UTC().Truncate(time.Second), Expires: m.Expires.UTC().Truncate(time.Second),
		File: id + ".pdf", SHA256: hex.EncodeToString(digest[:]), Size: len(pdf), Pages: 1, Window: l.Window,
	}}, nil
}

// page fills in the texts, as they can be printed.
func (l *Letter) page(language string, v texts.Values) (*sheet.Page, error) {
	if len(l.sender) > 0 {
		v.Sender = l.sender[0]
	}
	parts, err := l.texts.Render(language, v)
	if err != nil {
		return nil, err
	}
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		if parts[part], err = sheet.Printable(parts[part]); err != nil {
			return nil, err
		}
	}
	return &sheet.Page{Language: language, Created: v.Date, WindowLeft: l.Window == windowLeft, Sender: l.sender, Texts: parts}, nil
}

// failure classifies an error. Class and reason are those of one that nothing
// else is known of.
func failure(ctx context.Context, doing string, class dispatchers.Class, reason string, err error) error {
	_, script := errors.AsType[sheet.Unprintable](err)
	switch {
	case script:
		class, reason = dispatchers.Refused, reasonCharacter
	case errors.Is(err, texts.ErrTooLong), errors.Is(err, qr.ErrTooLong), errors.Is(err, sheet.ErrTooMuch):
		class, reason = dispatchers.Refused, reasonTooLong
	case ctx.Err() != nil:
		class, reason = dispatchers.Temporary, reasonBusy
	}
	return dispatchers.Fail(class, reason, "%s: %w", doing, err)
}

// Modules a side of the QR codes that the texts are tried with: that of a short
// link, the smallest that letters have, and the largest.
const (
	smallestCode = 33
	largestCode  = 177
)

// preflight arranges a letter in every language about every operation, with all
// values and with none, so that a text that cannot be printed is found before
// the first letter is due. How large QR codes will be depends on options of the
// host and on the device's key, so that too little room for a large one is a
// warning only.
func (l *Letter) preflight() error {
	s := sheet.New(l.now(), "")
	for _, language := range l.texts.Languages() {
		for _, operation := range nevisfido.Operations() {
			roomy := true
			for _, v := range texts.Samples(operation) {
				p, err := l.try(s, language, v)
				if err != nil {
					return err
				}
				p.Code = make([][]bool, largestCode)
				roomy = roomy && s.Fits(p)
			}
			if !roomy {
				l.logger.Warn("this text leaves no room for a large QR code, and letters with a long message are refused: "+
					"shorten it, or give the dispatcher short links with handle",
					slog.String("text", l.texts.Where(language, operation, "")))
			}
		}
	}
	return nil
}

// try arranges a letter with the smallest QR code.
func (l *Letter) try(s *sheet.Sheet, language string, v texts.Values) (*sheet.Page, error) {
	v.Date = l.now()
	p, err := l.page(language, v)
	if err == nil {
		if p.Code = make([][]bool, smallestCode); s.Fits(p) {
			return p, nil
		}
		err = sheet.ErrTooMuch
	}
	c, script := errors.AsType[sheet.Unprintable](err)
	switch {
	case script:
		return nil, fmt.Errorf("%s: it holds %q, and letters are printed in Latin, Greek and Cyrillic only: take it out",
			l.texts.Where(language, v.Operation, string(c)), rune(c))
	case errors.Is(err, sheet.ErrTooMuch):
		return nil, fmt.Errorf("%s: the text takes more than one page: shorten it", l.texts.Where(language, v.Operation, ""))
	}
	return nil, err
}
