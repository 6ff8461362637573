package scanner

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"
	"testing"

	"github.com/skip2/go-qrcode"
)

func page(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	fmt.Fprint(w, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte("%PDF-1.4\n4 0 obj\n<</Length 1>>\nstream\n" + b.String() + "\nendstream\nendobj\n")
}

const want = "https://app.example.com/open?dispatchTokenResponse=abc"

// codePath draws the code of the wanted text as a letter does.
func codePath(t *testing.T) string {
	t.Helper()
	code, err := qrcode.New(want, qrcode.Medium)
	if err != nil {
		t.Fatal(err)
	}
	var path strings.Builder
	for i, row := range code.Bitmap() {
		for j, dark := range row {
			if dark {
				fmt.Fprintf(&path, "%.3f %.3f 1.44 1.44 re\n", 100+1.44*float64(j), 600-1.44*float64(i))
			}
		}
	}
	return "0 g\n" + path.String() + "f\n"
}

// Compressed data ends in any byte, those of a line break among them.
func TestEveryLastByte(t *testing.T) {
	path := codePath(t)
	left := map[byte]bool{'\r': true, '\n': true, ' ': true, 'e': true}
	for i := 0; len(left) > 0 && i < 1000; i++ {
		pdf := page(t, path+"% "+strings.Repeat("a", i)+"\n")
		last := pdf[bytes.LastIndex(pdf, []byte("\nendstream"))-1]
		if !left[last] {
			continue
		}
		delete(left, last)
		if got, err := QRCode(pdf); err != nil || got != want {
			t.Errorf("last byte %q: got %q, %v", last, got, err)
		}
	}
	if len(left) > 0 {
		t.Errorf("no page ended in %v", left)
	}
}

func TestNothingToRead(t *testing.T) {
	for name, pdf := range map[string][]byte{
		"empty": nil, "no PDF": []byte("hello"), "an empty page": page(t, "0 g\nf\n"), "one box": page(t, "10 10 50 50 re\n"),
		"broken": []byte("stream\nxyz\nendstream"),
	} {
		if text, err := QRCode(pdf); err == nil {
			t.Errorf("%s: got %q", name, text)
		}
	}
}
