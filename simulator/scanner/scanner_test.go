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

func TestQRCode(t *testing.T) {
	const want = "https://app.example.com/open?dispatchTokenResponse=abc"
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
	got, err := QRCode(page(t, "0 g\n"+path.String()+"f\n"))
	if err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
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
