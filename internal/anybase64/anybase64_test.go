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
	const loose = "+/9" // the last character has two bits too many
	if got, err := Decode(loose); err != nil || string(got) != "\xfb\xff" {
		t.Errorf("%q was read as %x, error %v", loose, got, err)
	}
	if got, err := DecodeKey(loose); err == nil {
		t.Errorf("as a key %q was read as %x", loose, got)
	}
	if got, err := DecodeKey("+/8="); err != nil || string(got) != "\xfb\xff" {
		t.Errorf("a key was read as %x, error %v", got, err)
	}
	for _, text := range []string{"A", "AA=A", "A*==", "AAAA AAAA", "%41"} {
		if got, err := Decode(text); err == nil {
			t.Errorf("%q was read as %x", text, got)
		}
	}
}
