package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image/png"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

const handleOptions = `
		dispatcher sms webhook {
			url %s/send
			text "Confirm: {oob.link}"
			body "{webhook.text}"
			content_type text/plain
			sms_segments 1
			address +41790000000
			base_url nevisaccess://x-callback-url/authenticate
			short_links https://fido.example.com/oob
		}
		dispatcher short-qr qr_code {
			short_links https://fido.example.com/oob/
			size 150
		}
		dispatcher short-link link {
			short_links https://fido.example.com/oob
		}`

// handleStack runs with an access log that filters nothing.
func handleStack(t *testing.T, mode nevis.Mode) (*stack, *gateway.Server) {
	t.Helper()
	sms, err := gateway.Start(gateway.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sms.Close)
	return start(t, options{
		nevis: nevis.Options{Mode: mode}, handler: fmt.Sprintf(handleOptions, sms.URL()),
		accessLog: logAccess(""),
	}), sms
}

var shortLink = regexp.MustCompile(`https://fido\.example\.com(/oob/[A-Za-z0-9_-]{24})$`)

// pathOf returns the path of the short link at the end of a text.
func pathOf(t *testing.T, text string) string {
	t.Helper()
	match := shortLink.FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("no short link at the end of %q", text)
	}
	return match[1]
}

// press does what a user does who follows a short link, after a program that
// checks links has been there. It returns the app link.
func (s *stack) press(path string) string {
	s.t.Helper()
	for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodGet} {
		page := s.send(method, path, "", "Accept-Language", "de-CH")
		if page.status != http.StatusOK || page.header.Get("Content-Language") != "de" || page.header.Get("Referrer-Policy") != "no-referrer" {
			s.t.Errorf("%s: %s", method, page)
		}
		s.wantNoMessage(page.body)
	}
	opened := s.send(http.MethodPost, path, "", "Content-Type", "application/x-www-form-urlencoded")
	if opened.status != http.StatusSeeOther || opened.header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("pressing the button: %s", opened)
	}
	if again := s.send(http.MethodPost, path, ""); again.status != http.StatusNotFound {
		s.t.Errorf("pressing the button again: %s", again)
	}
	return opened.header.Get("Location")
}

// A short message with a short link, from the relying party over an SMS to the
// redeemed token, for the longest messages that there are.
func TestShortLinks(t *testing.T) {
	for release, mode := range modes {
		t.Run(release, func(t *testing.T) {
			s, sms := handleStack(t, mode)
			p := s.registerAs(device.Options{KeyKind: "RSA-4096", RequireSealed: true}, device.Registration{})
			secrets := map[string]string{}
			follow := func(a answer, text string) {
				t.Helper()
				path := pathOf(t, text)
				link := s.press(path)
				m, err := p.Open(link)
				if err != nil {
					t.Fatal(err)
				}
				s.check(p, nevisfido.Authentication, a, m)
				secrets["token "+path], secrets["handle "+path] = a.Token, path[len("/oob/"):]
				secrets["app link "+path] = link
			}

			a := s.dispatch("sms", p.TargetID())
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			sent, err := sms.Wait(ctx)
			if err != nil {
				t.Fatalf("waiting for the SMS: %v, answer %s", err, a.body)
			}
			text := string(sent.Body)
			if len(text) > 160 || !strings.HasPrefix(text, "Confirm: https://") {
				t.Errorf("the SMS is %q", text)
			}
			follow(a, text)

			a = s.dispatch("short-link", p.TargetID())
			follow(a, a.text())
			s.wantNowhere(secrets)

			s.smallPicture(p)
		})
	}
}

// smallPicture checks that the QR code with a short link has few modules.
func (s *stack) smallPicture(p *phone) {
	s.t.Helper()
	short := s.dispatch("short-qr", p.TargetID())
	if got := qrVersion(s.t, short.text()); got > 6 {
		s.t.Errorf("the QR code with a short link has version %d", got)
	}
	long := s.dispatch("app-qr", p.TargetID())
	if got := qrVersion(s.t, long.text()); got <= 20 {
		s.t.Errorf("the QR code with the message itself has version %d", got)
	}
}

// qrVersion returns the version of a QR code by the width of its modules,
// of which the pattern in a corner has seven.
func qrVersion(t *testing.T, encoded string) int {
	t.Helper()
	content, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	dark := func(x, y int) bool { r, _, _, _ := picture.At(x, y).RGBA(); return r < 0x8000 }
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		first, run, last := -1, 0, -1
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			if !dark(x, y) {
				continue
			}
			if first < 0 {
				first = x
				for dark(x+run, y) {
					run++
				}
			}
			last = x
		}
		if first >= 0 {
			return ((last-first+1)*7/run - 17) / 4
		}
	}
	t.Fatal("the picture is empty")
	return 0
}

// What leaves in clear, because the device has no key yet, is not kept.
func TestShortLinksBeforeTheFirstKey(t *testing.T) {
	s, _ := handleStack(t, nevis.LTS21)
	s.register("P-256") // another phone
	a := s.dispatchAs(nevisfido.Registration, "short-link", "")
	if a.Result != nevisfido.Dispatched || shortLink.MatchString(a.text()) || !strings.Contains(a.text(), "?dispatchTokenResponse=") {
		t.Errorf("the answer is %s", a.body)
	}
	for path := range s.stored() {
		if strings.Contains(path, "/claims/") {
			t.Errorf("%s is kept", path)
		}
	}
}

// A reload in between loses nothing.
func TestShortLinksOutliveAReload(t *testing.T) {
	s, _ := handleStack(t, nevis.LTS21)
	p := s.register("P-256")
	a := s.dispatch("short-link", p.TargetID())
	s.config = strings.Replace(s.config, "visual_code", "deadline 7s\n visual_code", 1)
	s.load()
	m, err := p.Open(s.press(pathOf(t, a.text())))
	if err != nil {
		t.Fatal(err)
	}
	s.check(p, nevisfido.Authentication, a, m)
}

// Handles that nobody was given look like used ones; other paths are
// nevisFIDO's.
func TestForeignShortLinks(t *testing.T) {
	s, _ := handleStack(t, nevis.LTS21)
	p := s.register("P-256")
	path := pathOf(t, s.dispatch("short-link", p.TargetID()).text())
	s.press(path)
	used := s.send(http.MethodGet, path, "")
	unknown := s.send(http.MethodGet, "/oob/"+strings.Repeat("A", 24), "")
	if used.status != http.StatusNotFound || unknown.status != used.status || !bytes.Equal(used.body, unknown.body) {
		t.Errorf("used %s, unknown %s", used, unknown)
	}
	for _, path := range []string{"/oob/" + strings.Repeat("A", 23), path + "/", "/" + path, "/%6fob" + path[len("/oob"):]} {
		if other := s.send(http.MethodGet, path, ""); other.status != unknown.status || !bytes.Equal(other.body, unknown.body) {
			t.Errorf("another spelling is answered by %s", other)
		}
	}
	if logs := logged.text(); strings.Contains(logs, path[len("/oob/"):]) {
		t.Error("the log holds a handle")
	}
	if other := s.send(http.MethodGet, "/oob", ""); other.header.Get("Content-Security-Policy") != "" {
		t.Errorf("what is not below the page is answered by %s", other)
	}
}
