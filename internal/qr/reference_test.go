package qr

import (
	"testing"

	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/encoder"
)

// TestSymbolsEqualThoseOfZXing compares symbols, module for module, with an
// encoder that we did not write.
func TestSymbolsEqualThoseOfZXing(t *testing.T) {
	compared, versions := 0, map[int]bool{}
	for l, reference := range map[Level]decoder.ErrorCorrectionLevel{
		LevelL: decoder.ErrorCorrectionLevel_L, LevelM: decoder.ErrorCorrectionLevel_M,
		LevelQ: decoder.ErrorCorrectionLevel_Q, LevelH: decoder.ErrorCorrectionLevel_H,
	} {
		for n := 1; n <= MaxContent; n += 149 {
			ours, err := Modules(t.Context(), link(n), l)
			theirs, theirErr := encoder.Encoder_encodeWithoutHint(link(n), reference)
			if (err != nil) != (theirErr != nil) {
				t.Fatalf("%d bytes at level %s: %v, ZXing: %v", n, l, err, theirErr)
			}
			if err != nil {
				continue
			}
			compared++
			versions[theirs.GetVersion().GetVersionNumber()] = true
			for y, row := range ours {
				for x, dark := range row {
					if dark != (theirs.GetMatrix().Get(x, y) == 1) {
						t.Fatalf("%d bytes at level %s: the symbols differ", n, l)
					}
				}
			}
			if len(ours) != theirs.GetMatrix().GetWidth() {
				t.Errorf("%d bytes at level %s: %d modules, ZXing: %d", n, l, len(ours), theirs.GetMatrix().GetWidth())
			}
		}
	}
	if compared < 40 || len(versions) < 25 {
		t.Errorf("compared %d symbols of %d versions", compared, len(versions))
	}
}
