// Package qrcode is the dispatcher that answers the caller with a QR code, as
// nevisFIDO's dispatchers png-qr-code and link-png-qr-code do.
package qrcode

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Dispatcher answers the caller with a PNG picture of a QR code, in base64.
// With the dispatcher's `base_url` the code holds a link that opens the app,
// which any camera can follow; without it the code holds the bare message,
// which only the app can read.
//
// A request's `encodingParameters` (`width`, `height`, `foregroundColor`,
// `backgroundColor`) win over these options.
type Dispatcher struct {
	// The width and height of the picture in pixels, 64 to 1024. Default:
	// 300, or larger where the message needs it
	Size int `json:"size,omitempty"`

	// The error correction: `L`, `M`, `Q`, `H`, or `auto` for the highest
	// that leaves the modules large enough. Default: `auto`
	Level qr.Level `json:"level,omitempty"`

	// The color of the modules, such as `#047d82` or `rgb(4, 125, 130)`.
	// Default: black
	Foreground string `json:"foreground,omitempty"`

	// The color behind them, which has to be clearly lighter. Default: white
	Background string `json:"background,omitempty"`

	options qr.Options
}

// CaddyModule returns the Caddy module information.
func (Dispatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".qr_code",
		New: func() caddy.Module { return new(Dispatcher) },
	}
}

// Provision checks the options.
func (q *Dispatcher) Provision(caddy.Context) error { return q.CheckOptions() }

// CheckOptions implements dispatchers.OptionChecker.
func (q *Dispatcher) CheckOptions() error {
	q.options = qr.Options{Size: q.Size, Level: q.Level}
	if err := setColors(&q.options, q.Foreground, q.Background); err != nil {
		return err
	}
	return q.options.Validate()
}

func setColors(o *qr.Options, foreground, background string) error {
	for _, c := range []struct {
		text string
		to   *qr.Color
	}{{foreground, &o.Foreground}, {background, &o.Background}} {
		if c.text == "" {
			continue
		}
		color, err := qr.ParseColor(c.text)
		if err != nil {
			return err
		}
		*c.to = color
	}
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (*Dispatcher) Traits() dispatchers.Traits { return dispatchers.Traits{AnswersCaller: true} }

// Dispatch implements dispatchers.Dispatcher.
func (q *Dispatcher) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	options, err := q.wanted(m.EncodingParameters)
	if err != nil {
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Refused, "encoding_parameters", "reading the request's wishes: %w", err)
	}
	content := m.Envelope.Encoded()
	if m.LinkConfigured {
		content = m.Link
	}
	picture, err := qr.PNG(ctx, content, options)
	switch {
	case errors.Is(err, qr.ErrTooLong), errors.Is(err, qr.ErrSize), errors.Is(err, qr.ErrContent):
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Refused, "qr_code", "drawing the QR code: %w", err)
	case err != nil && ctx.Err() != nil:
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Temporary, "busy", "drawing the QR code: %w", err)
	case err != nil:
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Broken, "qr_code", "drawing the QR code: %w", err)
	}
	return dispatchers.Receipt{Response: base64.StdEncoding.EncodeToString(picture)}, nil
}

// wanted returns the options with a request's encodingParameters put in.
func (q *Dispatcher) wanted(encodingParameters []byte) (qr.Options, error) {
	o := q.options
	p, err := nevisfido.ParseEncodingParameters(encodingParameters)
	if err != nil {
		return o, err
	}
	o.Width, o.Height = cmp.Or(p.Width, o.Width), cmp.Or(p.Height, o.Height)
	if err := setColors(&o, p.ForegroundColor, p.BackgroundColor); err != nil {
		return o, fmt.Errorf("encodingParameters: %w", err)
	}
	return o, o.Validate()
}

// Interface guards
var (
	_ caddy.Provisioner         = (*Dispatcher)(nil)
	_ dispatchers.Dispatcher    = (*Dispatcher)(nil)
	_ dispatchers.OptionChecker = (*Dispatcher)(nil)
)
