package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/pushservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/scanner"
)

// A channel is one way for a message to reach the phone.
type channel struct {
	dispatcher string
	title      string
	delivered  string // the name in the answer, where it is another

	// receive takes the message where the phone gets it, and returns what a
	// third party on the way could see, and what the phone reads.
	receive func(ctx context.Context, s *stack, phone *phone, a answer) (wire string, m device.Message, err error)
}

// A phone has the app, and a browser that has subscribed to web push.
type phone struct {
	*device.Device
	pushToken string
	browser   *pushservice.Subscription
}

var channels = []channel{
	{"push", "push message through Firebase Cloud Messaging", "", receivePush},
	{"app-link", "link that opens the app", "", receiveAnswer},
	{"app-qr", "QR code with a link", "", receivePicture},
	{"raw-qr", "QR code with the bare message", "", receivePicture},
	{"mail", "e-mail with a QR code", "", receiveMail},
	{"sms", "text message through an HTTP gateway", "", receiveText},
	{"paper", "letter on paper", "", receiveLetter},
	{"browser", "web push to a browser", "", receiveWebPush},
	{"push-or-mail", "push to a phone without the app, then e-mail", "mail", receiveMail},
	{"everywhere", "push and e-mail side by side", "", receiveBoth},
}

func receivePush(ctx context.Context, s *stack, p *phone, _ answer) (string, device.Message, error) {
	pushed, err := s.google.Wait(ctx, p.pushToken)
	if err != nil {
		return "", device.Message{}, fmt.Errorf("waiting for the push message: %w", err)
	}
	m, err := p.OpenPush(pushed.Data)
	return string(pushed.JSON), m, err
}

func receiveAnswer(_ context.Context, _ *stack, p *phone, a answer) (string, device.Message, error) {
	m, err := p.Open(a.response())
	return a.response(), m, err
}

func receivePicture(ctx context.Context, s *stack, p *phone, a answer) (string, device.Message, error) {
	_, m, err := receiveAnswer(ctx, s, p, a)
	picture, decodeErr := base64.StdEncoding.DecodeString(a.response())
	return string(picture), m, errors.Join(err, decodeErr)
}

func receiveMail(ctx context.Context, s *stack, p *phone, _ answer) (string, device.Message, error) {
	sent, err := s.mail.Wait(ctx, "jeff@example.com")
	if err != nil {
		return "", device.Message{}, fmt.Errorf("waiting for the mail: %w", err)
	}
	read, err := mail.Read(sent.Data)
	if err != nil {
		return "", device.Message{}, fmt.Errorf("reading the mail: %w", err)
	}
	for _, picture := range read.Pictures {
		m, err := p.Open(string(picture))
		if !errors.Is(err, device.ErrArtefact) { // as the picture of the visual code is
			return string(sent.Data), m, err
		}
	}
	return "", device.Message{}, errors.New("the mail has no QR code")
}

func receiveText(ctx context.Context, s *stack, p *phone, _ answer) (string, device.Message, error) {
	sent, err := s.gateway.Wait(ctx)
	if err != nil {
		return "", device.Message{}, fmt.Errorf("waiting for the text message: %w", err)
	}
	var body struct{ Text string }
	if err := json.Unmarshal(sent.Body, &body); err != nil {
		return "", device.Message{}, fmt.Errorf("reading the text message: %w", err)
	}
	_, link, _ := strings.Cut(body.Text, ": ")
	m, err := p.Open(link)
	return string(sent.Body), m, err
}

func receiveLetter(_ context.Context, s *stack, p *phone, _ answer) (string, device.Message, error) {
	letters, err := filepath.Glob(filepath.Join(s.folder, "letters", "*.pdf"))
	if err != nil || len(letters) != 1 {
		return "", device.Message{}, fmt.Errorf("%d letters are in the spool: %w", len(letters), err)
	}
	paper, err := os.ReadFile(letters[0])
	if err != nil {
		return "", device.Message{}, err
	}
	for _, name := range []string{letters[0], strings.TrimSuffix(letters[0], ".pdf") + ".json"} {
		if err := os.Remove(name); err != nil {
			return "", device.Message{}, fmt.Errorf("taking the letter out of the spool: %w", err)
		}
	}
	code, err := scanner.QRCode(paper)
	if err != nil {
		return "", device.Message{}, fmt.Errorf("scanning the letter: %w", err)
	}
	m, err := p.Open(code)
	return string(paper), m, err
}

func receiveWebPush(ctx context.Context, s *stack, p *phone, _ answer) (string, device.Message, error) {
	pushed, err := p.browser.Wait(ctx)
	if err != nil {
		return "", device.Message{}, fmt.Errorf("waiting for the web push: %w", err)
	}
	m, err := p.Open(string(pushed.Content))
	requests := s.browser.Requests()
	return string(requests[len(requests)-1].Body), m, err
}

// receiveBoth takes the one message from both channels: the same token.
func receiveBoth(ctx context.Context, s *stack, p *phone, a answer) (string, device.Message, error) {
	wire, pushed, err := receivePush(ctx, s, p, a)
	if err != nil {
		return wire, pushed, err
	}
	letter, mailed, err := receiveMail(ctx, s, p, a)
	if err == nil && mailed.Token != pushed.Token {
		err = errors.New("the two messages hold different tokens")
	}
	return wire + letter, mailed, err
}

const patience = 10 * time.Second
