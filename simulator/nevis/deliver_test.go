package nevis

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"image/color"
	"image/png"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

func TestQRCodes(t *testing.T) {
	_, c := start(t, Options{})
	black, white := color.RGBA{A: 255}, color.RGBA{255, 255, 255, 255}
	tests := []struct {
		name, dispatcher, parameters string
		min, max                     int // pixels of a side
		foreground, background       color.Color
	}{
		{"no wishes", "png-qr-code", `null`, 200, 300, black, white},
		{"a size", "png-qr-code", `{"width":600,"height":600}`, 500, 600, black, white},
		{"a side only", "link-png-qr-code", `{"height":500}`, 400, 500, black, white},
		{"the smaller side counts", "png-qr-code", `{"width":900,"height":400}`, 300, 400, black, white},
		{"too small", "png-qr-code", `{"width":1}`, 100, 300, black, white},
		{"colors", "link-png-qr-code", `{"foregroundColor":"rgb(4, 125, 130)","backgroundColor":"rgb(255, 250, 240)"}`, 150, 300, color.RGBA{4, 125, 130, 255}, color.RGBA{255, 250, 240, 255}},
		{"colors that are none", "png-qr-code", `{"foregroundColor":"teal","backgroundColor":7}`, 200, 300, black, white},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &client{t, c.address}
			got := c.post(dispatchAuth, authBody(`"dispatcher":"`+tt.dispatcher+`","dispatchInformation":{"encodingParameters":`+tt.parameters+`}`))
			_, response := c.information(got.members)
			data, err := base64.StdEncoding.DecodeString(response)
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if size := img.Bounds().Dx(); size != img.Bounds().Dy() || size < tt.min || size > tt.max {
				t.Errorf("got %v, want a square of %d to %d pixels", img.Bounds(), tt.min, tt.max)
			}
			bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
			if err != nil {
				t.Fatal(err)
			}
			// A drawing, not a photo: whose finder patterns the reader may miss.
			read, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
			if err != nil {
				t.Fatal(err)
			}
			link := read.GetText()
			if tt.dispatcher == "png-qr-code" {
				link = "?dispatchTokenResponse=" + link
			}
			content, err := parse(c.content(link)["nma_data"])
			if err != nil || c.text(content, "token") != c.text(got.members, "token") {
				t.Errorf("the code holds another token (%v)", err)
			}
			seen := map[color.Color]bool{}
			for x := range img.Bounds().Dx() {
				seen[color.RGBAModel.Convert(img.At(x, x))] = true
			}
			if len(seen) != 2 || !seen[tt.foreground] || !seen[tt.background] {
				t.Errorf("got the colors %v", seen)
			}
		})
	}
}

func TestContentThatFitsNoQRCode(t *testing.T) {
	_, c := start(t, Options{})
	long := string(bytes.Repeat([]byte("x"), 3000))
	got := c.post(dispatchAuth, authBody(`"dispatcher":"png-qr-code","dispatchInformation":{"data":{"note":"`+long+`"}}`))
	if result := c.text(got.members, "dispatchResult"); result != "dispatchError" {
		t.Errorf("got %s", result)
	}
}

func TestPushMessage(t *testing.T) {
	s, c := start(t, Options{})
	jwk, key := keyMember(t, "encryptionKey", "RSA-2048")
	id := c.register("phone", `,"target":"registration-token","dispatcher":"firebase-cloud-messaging"`+jwk)
	got := c.post(dispatchAuth, authBody(`"dispatchTargetId":"`+id+`","dispatchInformation":{"notification":{"title":"Confirm"}}`))
	if name, response := c.information(got.members); name != "firebase-cloud-messaging" || response != "successful dispatch" {
		t.Errorf("got %s: %s", name, response)
	}
	pushes := s.Pushes()
	if len(pushes) != 1 {
		t.Fatalf("got %d pushes", len(pushes))
	}
	p := pushes[0]
	if p.Token != "registration-token" || p.DispatchTargetID != id || string(p.Notification) != `{"title":"Confirm"}` || p.Data["nma_data_version"] != "1" {
		t.Errorf("got %+v", p)
	}
	if _, err := key.Open(p.Data["nma_data"]); err != nil {
		t.Error(err)
	}
}

// A listener of the caller's own, here with TLS as in front of mutual TLS.
func TestServeOnATLSListener(t *testing.T) {
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS() // for its certificate
	defer certified.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(tls.NewListener(l, certified.TLS)) }()

	r := mustRequest(t, "https://"+l.Addr().String()+dispatchAuth, authBody(`"dispatcher":"link"`))
	response, err := certified.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Errorf("got %d", response.StatusCode)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestServeOnAClosedListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := New(Options{}).Serve(l); err == nil {
		t.Error("want an error")
	}
}
