package qr

import (
	"fmt"
	"runtime"

	qrcode "github.com/skip2/go-qrcode"
)

// symbol is a QR code that is laid out but not yet drawn. This file is all that
// knows the encoder behind it.
type symbol struct {
	code *qrcode.QRCode
}

var recoveryLevels = map[Level]qrcode.RecoveryLevel{
	LevelL: qrcode.Low,
	LevelM: qrcode.Medium,
	LevelQ: qrcode.High,
	LevelH: qrcode.Highest,
}

// newSymbol finds the smallest symbol that holds content at a level other than
// LevelAuto. This is cheap: error correction is computed in modules.
func newSymbol(content string, l Level) (s symbol, err error) {
	defer recoverTo(&err)

	code, err := qrcode.New(content, recoveryLevels[l])
	if err != nil {
		// The only reason the encoder has for content that is not empty.
		return s, fmt.Errorf("%w: %d bytes%s", ErrTooLong, len(content), atLevel(l))
	}
	code.DisableBorder = true
	return symbol{code}, nil
}

// minPixels is the smallest width and height in which the symbol can be drawn.
func (s symbol) minPixels() int {
	side := 17 + 4*s.code.VersionNumber // ISO/IEC 18004, section 6.1
	return minScale * (side + 2*quietZone)
}

// modules returns the rows of the symbol without quiet zone; true is dark.
func (s symbol) modules() (rows [][]bool, err error) {
	defer recoverTo(&err)
	return s.code.Bitmap(), nil
}

// recoverTo turns a panic into an ErrEncoder; it must be deferred itself. The
// encoder reports its bugs with log.Panic, so its message (which may quote a
// byte of the content) is on the standard logger already, and Caddy redirects
// that one into its own log.
func recoverTo(err *error) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("%w: %w", ErrEncoder, r)
	default:
		*err = ErrEncoder
	}
}
