package qr

import (
	"fmt"
	"math/rand/v2"
	"testing"

	qrcode "github.com/skip2/go-qrcode"
)

// TestSymbolsEqualThoseOfGoQRCode compares symbols, module for module, with an
// encoder that we did not write. Contents are links with base64url, as the
// product draws them, without the rare long runs of digits and capitals that
// go-qrcode writes in a mode of their own.
func TestSymbolsEqualThoseOfGoQRCode(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	const maxRun = 6 // of digits and capitals, for which go-qrcode stays in byte mode
	random := rand.New(rand.NewPCG(1, 2))
	content := func(n int) string {
		text, capitals := []byte("https://app.example.com/open?dispatchTokenResponse="), 0
		for len(text) < n {
			c := alphabet[random.IntN(len(alphabet))]
			if capitals++; c >= 'a' || c == '_' {
				capitals = 0
			}
			if capitals < maxRun {
				text = append(text, c)
			}
		}
		return string(text[:n])
	}
	compared := 0
	versions := map[int]bool{}
	for l, reference := range map[Level]qrcode.RecoveryLevel{
		LevelL: qrcode.Low, LevelM: qrcode.Medium, LevelQ: qrcode.High, LevelH: qrcode.Highest,
	} {
		for n := 1; n <= MaxContent; n += 1 + random.IntN(300) {
			text := content(n)
			ours, err := Modules(t.Context(), text, l)
			theirs, theirErr := qrcode.New(text, reference)
			if (err != nil) != (theirErr != nil) {
				t.Fatalf("%d bytes at level %s: %v, go-qrcode: %v", n, l, err, theirErr)
			}
			if err != nil {
				continue
			}
			theirs.DisableBorder = true
			if fmt.Sprint(ours) != fmt.Sprint(theirs.Bitmap()) {
				t.Errorf("%d bytes at level %s: the symbols differ", n, l)
			}
			compared++
			versions[theirs.VersionNumber] = true
		}
	}
	if compared < 40 || len(versions) < 25 {
		t.Errorf("compared %d symbols of %d versions", compared, len(versions))
	}
}
