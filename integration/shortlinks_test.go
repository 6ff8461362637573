package integration

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

const shortLinkOptions = `
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
		dispatcher short-link link {
			short_links https://fido.example.com/oob
		}`

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
// redeemed token, for the longest messages that there are, with an access log
// that filters nothing.
func TestShortLinks(t *testing.T) {
	for release, mode := range modes {
		t.Run(release, func(t *testing.T) {
			sms := startGateway(t)
			s := start(t, options{
				nevis: nevis.Options{Mode: mode}, handler: fmt.Sprintf(shortLinkOptions, sms.URL()), accessLog: true,
			})
			p := s.registerAs(device.Options{KeyKind: "RSA-4096", RequireSealed: true}, device.Registration{})
			secrets := map[string]string{}
			follow := func(a answer, text string) {
				t.Helper()
				path := pathOf(t, text)
				link := s.press(path)
				m, err := p.Open(link)
				must(t, err)
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
		})
	}
}
