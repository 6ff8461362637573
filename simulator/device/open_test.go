package device

import (
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/skip2/go-qrcode"

	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

// keyOf is one encryption key for most tests: RSA keys take long to make.
var keyOf = sync.OnceValues(func() (*devicekey.PrivateKey, error) { return devicekey.GenerateKey("RSA-2048") })

func newDevice(t *testing.T, o Options) *Device {
	t.Helper()
	if o.Key == nil && o.KeyKind == "" {
		key, err := keyOf()
		if err != nil {
			t.Fatal(err)
		}
		o.Key = key
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func encoded(payload string) string { return base64.RawURLEncoding.EncodeToString([]byte(payload)) }

const plainContent = `{"token":"secret-token","redeem_url":"https://fido.example.com/nevisfido/token/redeem/authentication","orderNo":1.50}`

func plainEnvelope(data string) string {
	return `{"nma_data":` + data + `,"nma_data_content_type":"application/json","nma_data_version":"1"}`
}

func sealedEnvelope(t *testing.T, key *devicekey.PrivateKey, content string) string {
	t.Helper()
	jwe, err := key.Public().Seal([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return `{"nma_data":"` + jwe + `","nma_data_content_type":"application/jose","nma_data_version":"1"}`
}

func qr(t *testing.T, content string) string {
	t.Helper()
	code, err := qrcode.New(content, qrcode.Low)
	if err != nil {
		t.Fatal(err)
	}
	png, err := code.PNG(-3)
	if err != nil {
		t.Fatal(err)
	}
	return string(png)
}

func TestOpensEveryArtefact(t *testing.T) {
	d := newDevice(t, Options{})
	payload := sealedEnvelope(t, d.Keys()[0], plainContent)
	link := "https://app.example.com/open?dispatchTokenResponse=" + encoded(payload)
	picture := qr(t, link)
	base64PNG := base64.StdEncoding.EncodeToString([]byte(picture))
	for name, artefact := range map[string]string{
		"link":                                 link,
		"link with a query":                    "https://app.example.com/open?a=b&dispatchTokenResponse=" + encoded(payload),
		"link with a query after and a scheme": "myapp://x-callback-url/open?dispatchTokenResponse=" + encoded(payload) + "&a=b",
		"QR code of a link":                    picture,
		"QR code of the payload":               qr(t, encoded(payload)),
		"QR code as base64":                    base64PNG,
		"QR code as base64 without padding":    strings.TrimRight(base64PNG, "="),
		"QR code as data URL":                  "data:image/png;base64," + base64PNG,
		"base64url":                            encoded(payload),
		"JSON":                                 payload,
		"JSON with other members":              `{"aps":{"alert":"x"},` + strings.TrimPrefix(payload, "{"),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := d.Open(artefact)
			if err != nil {
				t.Fatal(err)
			}
			if m.Token != "secret-token" || m.Operation() != "authentication" || string(m.Member("orderNo")) != "1.50" || m.Member("none") != nil {
				t.Errorf("got %v", m)
			}
			if !m.Sealed || m.KeyThumbprint != d.Keys()[0].Public().Thumbprint() {
				t.Error("want a sealed message")
			}
		})
	}
}

func TestMessagesInClear(t *testing.T) {
	text := strings.ReplaceAll(plainContent, `"`, `\"`)
	for name, artefact := range map[string]string{
		"object":    plainEnvelope(plainContent),
		"JSON text": plainEnvelope(`"` + text + `"`),
	} {
		m, err := newDevice(t, Options{}).Open(artefact)
		if err != nil || m.Token != "secret-token" || m.Sealed || m.KeyThumbprint != "" {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
		if _, err := newDevice(t, Options{RequireSealed: true}).Open(artefact); !errors.Is(err, ErrClear) {
			t.Errorf("%s, sealing required: got %v", name, err)
		}
	}
	push := map[string]string{"nma_data": plainContent, "nma_data_content_type": "application/json", "nma_data_version": "1"}
	if m, err := newDevice(t, Options{}).OpenPush(push); err != nil || m.Token != "secret-token" {
		t.Errorf("push: got %v, %v", m, err)
	}
}

func TestWrongPhone(t *testing.T) {
	right := newDevice(t, Options{KeyKind: "P-256"})
	payload := sealedEnvelope(t, right.Keys()[0], plainContent)
	for name, phone := range map[string]*Device{
		"same kind of key":    newDevice(t, Options{KeyKind: "P-256"}),
		"another kind of key": newDevice(t, Options{}),
		"no key":              newDevice(t, Options{KeyKind: NoKey}),
	} {
		_, err := phone.Open(payload)
		if !errors.Is(err, ErrNoKey) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	changed := strings.Replace(payload, `.`, `.A`, 1)
	if _, err := right.Open(changed); !errors.Is(err, ErrNoKey) {
		t.Errorf("changed on the way: got %v", err)
	}
}

func TestRefusesWhatIsNoMessage(t *testing.T) {
	d := newDevice(t, Options{})
	link := "https://app.example.com/open?dispatchTokenResponse="
	payload := plainEnvelope(plainContent)
	padded := base64.URLEncoding.EncodeToString([]byte(payload + strings.Repeat(" ", (4-len(payload)%3)%3)))
	if !strings.HasSuffix(padded, "=") {
		t.Fatal("the sample has no padding")
	}
	for name, artefact := range map[string]string{
		"nothing":                 "",
		"a sentence":              "secret-token is no message",
		"a link without payload":  "https://app.example.com/open?token=secret-token",
		"an empty payload":        link,
		"padding":                 link + padded,
		"percent-encoded padding": link + strings.ReplaceAll(padded, "=", "%3D"),
		"the standard alphabet":   link + "ab+/",
		"a payload as fragment":   "https://app.example.com/open#dispatchTokenResponse=" + encoded(payload),
		"another JSON":            `{"token":"secret-token"}`,
		"a list":                  encoded(`[1]`),
		"another version":         strings.Replace(payload, `"1"`, `"2"`, 1),
		"no version":              strings.Replace(payload, `,"nma_data_version":"1"`, ``, 1),
		"another content type":    strings.Replace(payload, `application/json`, `text/plain`, 1),
		"a sealed object":         strings.Replace(payload, `application/json`, `application/jose`, 1),
		"a picture without code":  pngMagic + "secret-token",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.Open(artefact)
			if !errors.Is(err, ErrArtefact) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes the artefact: %v", err)
			}
		})
	}
}

func TestRefusesIncompleteMessages(t *testing.T) {
	d := newDevice(t, Options{})
	for name, content := range map[string]string{
		"no token":       `{"redeem_url":"https://fido.example.com"}`,
		"an empty token": `{"token":"","redeem_url":"https://fido.example.com"}`,
		"no redeem URL":  `{"token":"secret-token"}`,
		"wrong types":    `{"token":1,"redeem_url":[]}`,
		"a list":         `[]`,
		"text":           `secret-token`,
		"not UTF-8":      "{\"token\":\"secret-token\xff\",\"redeem_url\":\"https://fido.example.com\"}",
	} {
		if _, err := d.Open(sealedEnvelope(t, d.Keys()[0], content)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The wanted values were computed with OpenSSL and long division:
//
//	printf %s "oob-dispatch visual code v1" | openssl dgst -sha256 -hmac "$token"
func TestVisualCode(t *testing.T) {
	for _, tt := range []struct {
		token  string
		digits int
		want   string
	}{
		{"5c1f", 2, "06"},
		{"5c1f", 4, "6306"},
		{"secret-token", 3, "038"},
		{"secret-token", 6, "945038"},
		{"d", 4, "0158"},
		{"c", 8, "00476923"},
	} {
		if got := (Message{Token: tt.token}).VisualCode(tt.digits); got != tt.want {
			t.Errorf("%s, %d digits: got %s, want %s", tt.token, tt.digits, got, tt.want)
		}
	}
}
