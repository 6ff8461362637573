package device

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// maxPixels bounds the sides of a picture.
const maxPixels = 4096

// scan reads the QR code in a PNG, as the camera would and if need be with more
// effort.
func scan(picture []byte) (string, error) {
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		return "", fmt.Errorf("decoding the PNG: %w", err)
	}
	if config.Width > maxPixels || config.Height > maxPixels {
		return "", fmt.Errorf("a side is longer than %d pixels", maxPixels)
	}
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return "", fmt.Errorf("decoding the PNG: %w", err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
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
