package anybase64

import (
	"encoding/base64"
	"testing"
)

func TestDecode(t *testing.T) {
	for n := range 6 {
		want := []byte("\xfb\xff\xfe\x3e\x3f\x00")[:n]
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString(want)
			for _, text := range []string{text, text + "\r\n", text[:len(text)/2] + "\r\n" + text[len(text)/2:]} {
				if got, err := Decode(text); err != nil || string(got) != string(want) {
					t.Errorf("%q was read as %x, error %v; want %x", text, got, err, want)
				}
			}
		}
	}
	for _, text := range []string{"A", "AA=A", "A*==", "AAAA AAAA", "%41"} {
		if got, err := Decode(text); err == nil {
			t.Errorf("%q was read as %x", text, got)
		}
	}
}
