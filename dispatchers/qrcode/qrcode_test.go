package qrcode

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"log/slog"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/qrscan"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func provisioned(t *testing.T, q *QRCode) *QRCode {
	t.Helper()
	if err := q.Provision(caddy.Context{Context: context.Background()}); err != nil {
		t.Fatal(err)
	}
	return q
}

func message(parameters string) *dispatchers.Message {
	envelope := nevisfido.NewContent("token", "https://fido.example.com/redeem").Envelope().Sealed("a.b.c.d.e")
	return &dispatchers.Message{Envelope: envelope, Link: nevisfido.Link("https://app.example.com/open", envelope), EncodingParameters: []byte(parameters)}
}

func picture(t *testing.T, q *QRCode, m *dispatchers.Message) image.Image {
	t.Helper()
	receipt, err := q.Dispatch(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(receipt.Response.(string))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func read(t *testing.T, img image.Image) string {
	t.Helper()
	text, err := qrscan.Text(img)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestContentIsLinkOrBareMessage(t *testing.T) {
	q := provisioned(t, &QRCode{})
	m := message("")
	if got := read(t, picture(t, q, m)); got != m.Envelope.Encoded() {
		t.Errorf("without base_url: %s", got)
	}
	m.LinkConfigured = true
	if got := read(t, picture(t, q, m)); got != m.Link {
		t.Errorf("with base_url: %s", got)
	}
}

func TestRequestsWishesWin(t *testing.T) {
	q := provisioned(t, &QRCode{Size: 400, Foreground: "#000", Background: "#fff"})
	for parameters, want := range map[string]struct {
		width, height int
		color         string
	}{
		"":              {400, 400, "{0 0 0 255}"},
		`{}`:            {400, 400, "{0 0 0 255}"},
		`{"width":320}`: {320, 400, "{0 0 0 255}"},
		`{"width":"320","height":340,"foregroundColor":"rgb(4, 125, 130)","backgroundColor":"rgb(255, 255, 255)"}`: {320, 340, "{4 125 130 255}"},
	} {
		img := picture(t, q, message(parameters))
		if size := img.Bounds().Size(); size.X != want.width || size.Y != want.height {
			t.Errorf("%s: %v", parameters, size)
		}
		if palette := fmt.Sprint(img.(*image.Paletted).Palette); !strings.Contains(palette, want.color) {
			t.Errorf("%s: %s", parameters, palette)
		}
		read(t, img)
	}
}

// Nevis' own sample asks for 300 pixels, which some messages do not fit in.
func TestTooSmallWishesGrow(t *testing.T) {
	var log bytes.Buffer
	m := message("")
	m.Envelope = m.Envelope.Sealed(strings.Repeat("x", 1700))
	for parameters, grows := range map[string]bool{
		`{"width":300,"height":300}`: true, `{"width":1}`: true, `{"width":300,"height":400}`: true, `{"width":400}`: false, "": false,
	} {
		q := provisioned(t, &QRCode{})
		q.logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		log.Reset()
		m.EncodingParameters = []byte(parameters)
		if got := read(t, picture(t, q, m)); got != m.Envelope.Encoded() {
			t.Errorf("%s: the picture cannot be read", parameters)
		}
		if told := strings.Contains(log.String(), "level=DEBUG"); told != grows {
			t.Errorf("%s: logged %s", parameters, &log)
		}
	}
}

func TestImpossibleWishesAreRefused(t *testing.T) {
	q := provisioned(t, &QRCode{})
	for _, parameters := range []string{
		`[]`, `{"width":-1}`, `{"width":1025}`, `{"width":100000000}`, `{"width":1.5}`, `{"foregroundColor":"red"}`,
		`{"foregroundColor":"#fff"}`, `{"foregroundColor":"#fff","backgroundColor":"#000"}`,
	} {
		_, err := q.Dispatch(t.Context(), message(parameters))
		if err == nil || dispatchers.AsError(err).Class != dispatchers.Refused {
			t.Errorf("%s: %v", parameters, err)
		}
	}
	long := message("")
	long.Envelope = long.Envelope.Sealed(strings.Repeat("x", 3000))
	if _, err := q.Dispatch(t.Context(), long); err == nil || dispatchers.AsError(err).Class != dispatchers.Refused {
		t.Errorf("too long: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Dispatch(ended, message("")); err == nil || dispatchers.AsError(err).Class != dispatchers.Temporary {
		t.Errorf("out of time: %v", err)
	}
}
