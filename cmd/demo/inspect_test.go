package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

// bench is what the workbench shows of a message.
type bench struct {
	Verdict string
	Layers  []string
	Text    string
	Parts   int
	Title   string // of the visual code's picture
}

type benchVisit struct {
	Example, Shown         bench
	Forms, Nonsense, After map[string]bench
	Sent                   []string // requests while it was used
	Allowed                bool     // to connect to anything
	ScrollWidth            int

	faults
}

const (
	benchToken = "8eb2a9bd-4c25-41a5-b5b9-8d3d2a1a9b3c"
	spotless   = "Nothing that an app may stumble over."
)

// The workbench in a real browser: every way of handing it a message, and what
// nobody should hand it. Nothing leaves the page.
func TestWorkbenchInABrowser(t *testing.T) {
	v := useBench(t)
	v.wantGoodPage(t, 5)
	if got := v.Example; got.Verdict != spotless || got.Parts != 5 || !slices.Contains(got.Layers, "Message") {
		t.Errorf("the example: %+v", got)
	}

	code := visualcode.New(benchToken, 4).Digits
	for form, layer := range map[string]string{
		"link": "Link", "JWE": "JWE", "push": "Push message", "envelope": "Out-of-band payload", "answer": "Answer",
		"chosen picture": "QR code", "dropped picture": "QR code", "dropped link": "Link", "pasted picture": "QR code",
	} {
		got := v.Forms[form]
		if got.Verdict != spotless || got.Parts != 5 || !slices.Contains(got.Layers, layer) || got.Title != code ||
			!strings.Contains(got.Text, "hidden, 36 characters") || strings.Contains(got.Text, benchToken) {
			t.Errorf("%s: %+v", form, got)
		}
	}
	if got := v.Forms["pasted picture"].Text; !strings.Contains(got, "a phone reads it") {
		t.Errorf("the page does not say whether a phone reads the code: %s", got)
	}
	if !strings.Contains(v.Shown.Text, benchToken) {
		t.Errorf("the token is not shown: %+v", v.Shown)
	}

	for what, want := range badForBench {
		if got := v.Nonsense[what].Verdict; !strings.Contains(got, want) {
			t.Errorf("%s: the page says %q, want %s", what, got, want)
		}
		if got := v.After[what]; got.Verdict != spotless || got.Title != code {
			t.Errorf("after %s: %+v", what, got)
		}
	}
	if len(v.Nonsense) != len(badForBench) {
		t.Errorf("%d things were tried", len(v.Nonsense))
	}
	if v.Allowed || slices.ContainsFunc(v.Sent, func(request string) bool { return !strings.HasPrefix(request, "GET /vendor/jsQR.js") }) {
		t.Errorf("the page may connect: %t, requests %q", v.Allowed, v.Sent)
	}
	if v.ScrollWidth > 360 {
		t.Errorf("on a small screen the page has %d pixels", v.ScrollWidth)
	}
}

// badForBench is what gets a sentence, and a piece of that.
var badForBench = map[string]string{
	"a text":                "there is no message in it",
	"half a JWE":            "a JWE has five parts, and this has 3",
	"half a link":           "cannot be read",
	"a short link":          "if it is a short link",
	"broken JSON":           "invalid JSON",
	"text.png":              "there is no message in it",
	"damaged.png":           "reading the picture",
	"noise.bin":             "no picture that this browser knows",
	"blank.png":             "no readable code in the picture",
	"not a key":             "it is not a JWK",
	"a public key":          "a private RSA or EC key is needed",
	"somebody else's key":   "the private key does not open it",
	"a key of another type": "the private key is one of P-256",
}

// useBench has inspect.mjs use the workbench.
func useBench(t *testing.T) (v benchVisit) {
	t.Helper()
	b := openBrowser(t)
	for vendored, original := range map[string]string{"jsQR.js": "dist/jsQR.js", "jsQR.LICENSE": "LICENSE"} {
		if !bytes.Equal(read(t, "page/vendor/"+vendored), read(t, "testdata/browser/node_modules/jsqr/"+original)) {
			t.Errorf("page/vendor/%s is not that of the package jsqr", vendored)
		}
	}
	phone, other, ec := benchKey(t, "RSA-2048"), benchKey(t, "RSA-2048"), benchKey(t, "P-256")
	content := nevisfido.NewContent(benchToken, "https://fido.example.com/nevisfido/token/redeem/authentication")
	jwe, err := phone.Public().Seal(content.JSON())
	if err != nil {
		t.Fatal(err)
	}
	envelope := content.Envelope().Sealed(jwe)
	link := nevisfido.Link("https://app.example.com/open", envelope)
	picture, err := qr.PNG(t.Context(), link, qr.Options{Size: 800})
	if err != nil {
		t.Fatal(err)
	}
	var blank bytes.Buffer
	if err := png.Encode(&blank, image.NewGray(image.Rect(0, 0, 60, 60))); err != nil {
		t.Fatal(err)
	}
	asJSON := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	job := map[string]any{
		"url": b.url + "inspect", "key": string(phone.JWK()), "picture": picture,
		"texts": map[string]string{
			"link": link, "JWE": jwe, "envelope": string(envelope.JSON()),
			"push":   asJSON(map[string]any{"message": map[string]any{"notification": map[string]string{"title": "Log in"}, "data": envelope.Fields()}}),
			"answer": asJSON(map[string]any{"dispatchResult": "dispatched", "dispatcherInformation": map[string]string{"name": "app-link", "response": link}}),
		},
		"nonsense": map[string]any{
			"texts": map[string]string{
				"a text": "hello", "half a JWE": "eyJhbGciOiJSU0EtT0FFUC0yNTYifQ.AAAA.AAAA", "half a link": link[:200],
				"a short link": "https://fido.example.com/oob/AbCdEf", "broken JSON": `{"nma_data":`,
			},
			"files": map[string][]byte{
				"text.png": []byte("this is a text"), "damaged.png": picture[:len(picture)/2], "noise.bin": {0xff, 0xfe, 0, 1, 2, 3}, "blank.png": blank.Bytes(),
			},
			"keys": map[string]string{
				"not a key": "hello", "a public key": string(phone.Public().JWK()),
				"somebody else's key": string(other.JWK()), "a key of another type": string(ec.JWK()),
			},
		},
	}
	b.run(t, "inspect.mjs", job, &v)
	return v
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func benchKey(t *testing.T, kind string) *devicekey.PrivateKey {
	t.Helper()
	key, err := devicekey.GenerateKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
