// Package qrscan reads QR codes in pictures: for `caddy oob open`, and for
// simulated cameras. Nothing that serves requests uses it.
package qrscan

import (
	"errors"
	"fmt"
	"image"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// Text returns the content of the QR code in a picture. The photo mode of the
// decoder misses a few faultless pictures, which its mode for clean pictures
// reads.
func Text(picture image.Image) (string, error) {
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		return "", fmt.Errorf("preparing the picture: %w", err)
	}
	for _, hints := range []map[gozxing.DecodeHintType]any{
		nil,
		{gozxing.DecodeHintType_TRY_HARDER: true},
		{gozxing.DecodeHintType_PURE_BARCODE: true},
	} {
		if result, err := qrcode.NewQRCodeReader().Decode(bitmap, hints); err == nil {
			return result.GetText(), nil
		}
	}
	return "", errors.New("no readable code in the picture")
}
