package qr

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// zbar reads many pictures with zbarimg at once, which is how Debian and many
// desktop scanners read them, and returns what each holds.
func zbar(t *testing.T, pngs [][]byte) []string {
	t.Helper()
	bin := testservice.Need(t, "zbarimg")
	args := []string{"--quiet", "--xml", "-Sdisable", "-Sqrcode.enable"}
	index := map[string]int{}
	dir := t.TempDir()
	for i, b := range pngs {
		name := filepath.Join(dir, fmt.Sprintf("%d.png", i))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
		index[name] = i
	}
	// The exit code tells whether any picture held nothing; the caller sees which.
	out, err := exec.CommandContext(t.Context(), bin, args...).Output()
	var result struct {
		Sources []struct {
			Href string `xml:"href,attr"`
			Data string `xml:"index>symbol>data"`
		} `xml:"source"`
	}
	if xmlErr := xml.Unmarshal(out, &result); xmlErr != nil {
		t.Fatalf("reading the answer of zbarimg (%v): %v", err, xmlErr)
	}
	contents := make([]string, len(pngs))
	for _, s := range result.Sources {
		contents[index[s.Href]] = s.Data
	}
	return contents
}

// zxing reads one picture with a port of ZXing, which is what most Android apps
// read with, and returns the content and the error correction level. ZXing looks
// for the symbol as in a photo and misses 1 to 3 % of those that are drawn
// without a fault, at any level (zbar reads them); it is then told that there is
// nothing but a symbol.
func zxing(t *testing.T, b []byte) (content string, level Level) {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(decode(t, b))
	if err != nil {
		t.Fatal(err)
	}
	reader := qrcode.NewQRCodeReader()
	result, err := reader.Decode(bitmap, nil)
	if err != nil {
		pure := map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true}
		result, err = reader.Decode(bitmap, pure)
	}
	if err != nil {
		t.Errorf("ZXing cannot read the picture: %v", err)
		return "", ""
	}
	l := result.GetResultMetadata()[gozxing.ResultMetadataType_ERROR_CORRECTION_LEVEL]
	return result.GetText(), Level(fmt.Sprint(l))
}

func decode(t *testing.T, b []byte) *image.Paletted {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("decoding the PNG: %v", err)
	}
	p, ok := img.(*image.Paletted)
	if !ok || len(p.Palette) != 2 {
		t.Fatalf("the PNG decodes to %T with %v, want a palette of 2 colors", img, img.ColorModel())
	}
	return p
}

// layout is what a picture shows of how it was drawn, in pixels.
type layout struct {
	width, height            int
	left, right, top, bottom int // quiet zone
	scale                    int // of a module
	side                     int // of the symbol, in modules
}

// measure finds the symbol by its color, and the size of a module by the finder
// pattern in the top left corner, which begins with seven dark modules.
func measure(t *testing.T, b []byte, foreground color.Color) layout {
	t.Helper()
	img := decode(t, b)
	isDark := func(x, y int) bool {
		return img.At(x, y) == color.RGBAModel.Convert(foreground)
	}
	bounds := img.Bounds()
	var symbol image.Rectangle
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			if isDark(x, y) {
				symbol = symbol.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	run := 0
	for run < symbol.Dx() && isDark(symbol.Min.X+run, symbol.Min.Y) {
		run++
	}
	if run == 0 || run%7 != 0 || symbol.Dx() != symbol.Dy() || symbol.Dx()%(run/7) != 0 {
		t.Fatalf("symbol at %v with a finder pattern of %d pixels: not whole pixels per module", symbol, run)
	}
	return layout{
		width: bounds.Dx(), height: bounds.Dy(),
		left: symbol.Min.X, right: bounds.Max.X - symbol.Max.X,
		top: symbol.Min.Y, bottom: bounds.Max.Y - symbol.Max.Y,
		scale: run / 7, side: symbol.Dx() / (run / 7),
	}
}
