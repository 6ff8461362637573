// Package qrcode is the dispatcher that answers the caller with a QR code, as
// nevisFIDO's dispatchers png-qr-code and link-png-qr-code do.
package qrcode

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func init() { caddy.RegisterModule(QRCode{}) }

// QRCode answers the caller with a PNG picture of a QR code, in base64.
// With the dispatcher's `base_url` the code holds a link that opens the app,
// which any camera can follow; without it the code holds the bare message,
// which only the app can read.
//
// A request's `encodingParameters` (`width`, `height`, `foregroundColor`,
// `backgroundColor`) take precedence over these options. A size that is too
// small for the message gives the smallest picture that can be read.
type QRCode struct {
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

	drawing qr.Options
	logger  *slog.Logger
}

var options = conf.Table[QRCode]{
	conf.Int("size", func(q *QRCode) *int { return &q.Size }, qr.MinSize, qr.MaxSize, 0),
	conf.OneOf("level", func(q *QRCode) *qr.Level { return &q.Level }, qr.LevelAuto, qr.LevelL, qr.LevelM, qr.LevelQ, qr.LevelH),
	conf.Custom("colors", func(q *QRCode, d *caddyfile.Dispenser) error {
		args, err := conf.Values(d, 2, `colors takes two quoted colors, such as: colors "#047d82" "#ffffff"`)
		if err != nil {
			return err
		}
		q.Foreground, q.Background = args[0], args[1]
		return nil
	}, func(q *QRCode) error {
		_, err := q.options()
		return err
	}),
}

// CaddyModule returns the Caddy module information.
func (QRCode) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".qr_code",
		New: func() caddy.Module { return new(QRCode) },
	}
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Colors are
// quoted, because # starts a comment.
func (q *QRCode) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, q) }

// Provision checks the options.
func (q *QRCode) Provision(ctx caddy.Context) error {
	q.logger = dispatchers.Logger(ctx)
	err := options.Provision(q, q.logger)
	if err == nil {
		q.drawing, err = q.options()
	}
	return err
}

func (q *QRCode) options() (qr.Options, error) {
	o := qr.Options{Size: q.Size, Level: q.Level}
	if err := setColors(&o, q.Foreground, q.Background); err != nil {
		return o, err
	}
	return o, o.Validate()
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
func (*QRCode) Traits() dispatchers.Traits { return dispatchers.Traits{AnswersCaller: true} }

// The reasons of failed attempts.
const (
	reasonWishes  = "encoding_parameters"
	reasonDrawing = "qr_code"
	reasonBusy    = "busy"
)

// Dispatch implements dispatchers.Dispatcher.
func (q *QRCode) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	wanted, err := q.wanted(m.EncodingParameters)
	if err != nil {
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Refused, reasonWishes, "reading encodingParameters: %w", err)
	}
	content := m.CodeContent()
	q.tellGrowth(ctx, m.ID, content, wanted)
	picture, err := qr.PNG(ctx, content, wanted)
	switch {
	case errors.Is(err, qr.ErrTooLong), errors.Is(err, qr.ErrContent):
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Refused, reasonDrawing, "drawing the QR code: %w", err)
	case err != nil && ctx.Err() != nil:
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Temporary, reasonBusy, "drawing the QR code: %w", err)
	case err != nil:
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Broken, reasonDrawing, "drawing the QR code: %w", err)
	}
	return dispatchers.Receipt{Response: base64.StdEncoding.EncodeToString(picture)}, nil
}

// tellGrowth says in the log that a picture is larger than asked for.
func (q *QRCode) tellGrowth(ctx context.Context, id, content string, wanted qr.Options) {
	if !q.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	need, err := qr.Smallest(content, wanted)
	for _, asked := range []int{wanted.Width, wanted.Height, wanted.Size} {
		if err == nil && asked > 0 && asked < need {
			q.logger.Debug("the QR code is larger than asked for, so that it can be read",
				slog.String("message", id), slog.Int("asked_pixels", asked), slog.Int("pixels", need))
			return
		}
	}
}

// wanted returns the options with a request's encodingParameters put in.
func (q *QRCode) wanted(encodingParameters []byte) (qr.Options, error) {
	o := q.drawing
	p, err := nevisfido.ParseEncodingParameters(encodingParameters)
	if err != nil {
		return o, err
	}
	o.Width, o.Height = drawable(p.Width), drawable(p.Height)
	if err := setColors(&o, p.ForegroundColor, p.BackgroundColor); err != nil {
		return o, err
	}
	return o, o.Validate()
}

// drawable returns what a wish comes to: one that is too small is met as far as
// the picture can be read. 0 is none.
func drawable(pixels int) int {
	if pixels > 0 {
		return max(pixels, qr.MinSize)
	}
	return pixels
}

// Interface guards
var (
	_ caddy.Provisioner      = (*QRCode)(nil)
	_ caddyfile.Unmarshaler  = (*QRCode)(nil)
	_ dispatchers.Dispatcher = (*QRCode)(nil)
)
