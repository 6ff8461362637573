package letter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// job is a letter that is ready to be printed.
type job struct {
	pdf        []byte
	ticket     Ticket
	dispatcher string // the name of the one that sends it
}

// Ticket is the job ticket of a letter, a JSON file beside the PDF. It holds
// neither the address nor anything of the message.
type Ticket struct {
	// Version of this form: 1
	Version int `json:"version"`

	// The name of the letter's files without extension: the same for every
	// attempt of one dispatcher in one exchange, different for every other.
	// It ends in _ and the name of the dispatcher
	ID string `json:"id"`

	Operation nevisfido.Operation `json:"operation"`

	// The language of the text, a tag of RFC 5646
	Language string `json:"language"`

	// The time of writing (RFC 3339, UTC)
	Created time.Time `json:"created"`

	// When the token dies; a letter that cannot arrive before is not worth
	// sending (RFC 3339, UTC)
	Expires time.Time `json:"expires"`

	// The name of the PDF in the same folder
	File string `json:"file"`

	// The SHA-256 digest of the PDF in hexadecimal, and its size in bytes
	SHA256 string `json:"sha256"`
	Size   int    `json:"size"`

	Pages int `json:"pages"`

	// The side of the envelope's window: right or left
	Window string `json:"window"`
}

// validID bounds what becomes the name of a file and of a print job.
var validID = regexp.MustCompile(`^[A-Za-z0-9_~-]{1,200}$`)

// letterID names the dispatcher as well: two of them may share a folder, and
// what one has written there must not pass for the letter of the other.
func letterID(m *dispatchers.Message) (string, error) {
	id := m.DeliveryID()
	if m.ID == "" || m.Dispatcher == "" || !validID.MatchString(id) {
		return "", dispatchers.Fail(dispatchers.Broken, reasonID,
			"the message's ID and the dispatcher's name cannot be the name of a file")
	}
	return id, nil
}

// compose writes the letter.
func (l *Dispatcher) compose(ctx context.Context, m *dispatchers.Message) (*job, error) {
	id, err := letterID(m)
	if err != nil {
		return nil, err
	}
	now := l.now()
	if left, need := m.Expires.Sub(now), time.Duration(l.MinLifetime); left < need {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonLifetime,
			"the token lives for another %v, and a letter needs %v: raise token_lifetime here and at nevisFIDO, or lower min_lifetime",
			max(left, 0).Round(time.Second), need)
	}
	address, err := parseLines(m.Address, minAddressLines)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonAddress, "the postal address cannot be used: %w", err)
	}
	p, err := l.render(l.texts.Language(m), l.values(m, now))
	if errors.Is(err, texts.ErrTooLong) {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooLong, "filling in the texts of the letter: %w", err)
	}
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonTemplate, "filling in the texts of the letter: %w", err)
	}
	p.address = address
	if p.code, err = drawCode(ctx, content(m)); err != nil {
		return nil, err
	}
	pdf, err := p.pdf()
	switch {
	case errors.Is(err, errTooMuch):
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooLong, "writing the letter: %w", err)
	case errors.Is(err, errCharacter):
		return nil, dispatchers.Fail(dispatchers.Refused, reasonCharacter, "writing the letter: %w", err)
	case err != nil:
		return nil, dispatchers.Fail(dispatchers.Broken, reasonPDF, "writing the letter: %w", err)
	}
	digest := sha256.Sum256(pdf)
	return &job{pdf: pdf, dispatcher: m.Dispatcher, ticket: Ticket{
		Version: 1, ID: id, Operation: m.Operation, Language: p.language,
		Created: now.UTC().Truncate(time.Second), Expires: m.Expires.UTC().Truncate(time.Second),
		File: id + ".pdf", SHA256: hex.EncodeToString(digest[:]), Size: len(pdf), Pages: 1, Window: l.Window,
	}}, nil
}

// content is what the QR code holds: as with qr_code, the link where the
// dispatcher has a base_url, and the bare message otherwise.
func content(m *dispatchers.Message) string {
	if m.LinkConfigured {
		return m.Link
	}
	return m.Envelope.Encoded()
}

// values are those that the texts may tell.
func (l *Dispatcher) values(m *dispatchers.Message, now time.Time) texts.Values {
	v := texts.Fill(m.Lookup)
	v.Operation = string(m.Operation)
	v.Date, v.Expires = now, m.Expires.In(now.Location())
	return v
}

// render fills in the texts.
func (l *Dispatcher) render(language string, v texts.Values) (*page, error) {
	if len(l.sender) > 0 {
		v.Sender = l.sender[0]
	}
	p := &page{language: language, created: v.Date, window: l.Window, sender: l.sender}
	for part, text := range p.texts() {
		var err error
		if *text, err = l.texts.Render(language, part, v); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// drawCode returns the modules of a QR code, at level M if it can be and else
// at level L: paper gets folds and spots. On it they are drawn as vectors: a
// picture would be scaled, and its edges would blur.
func drawCode(ctx context.Context, content string) ([][]bool, error) {
	code, err := qr.Modules(ctx, content, qr.LevelM)
	if errors.Is(err, qr.ErrTooLong) {
		code, err = qr.Modules(ctx, content, qr.LevelL)
	}
	switch {
	case errors.Is(err, qr.ErrTooLong):
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooLong, "drawing the QR code: %w", err)
	case err != nil && ctx.Err() != nil:
		return nil, dispatchers.Fail(dispatchers.Temporary, reasonBusy, "drawing the QR code: %w", err)
	case err != nil:
		return nil, dispatchers.Fail(dispatchers.Broken, reasonPDF, "drawing the QR code: %w", err)
	}
	return code, nil
}
