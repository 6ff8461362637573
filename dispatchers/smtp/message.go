package smtp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/mail"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

// Bounds of a mail.
const (
	maxSubject = 200      // characters
	maxMail    = 1 << 20  // bytes
	codeName   = "qr.png" // of the picture
)

// validID is what a Message-ID can hold (RFC 5322, section 3.6.4).
var validID = regexp.MustCompile(`^[A-Za-z0-9_~-]{1,200}$`)

// write writes the mail.
func (s *Mailer) write(ctx context.Context, m *dispatchers.Message) (*outgoing, error) {
	if m.Address == "" {
		return nil, dispatchers.Fail(dispatchers.NoTarget, dispatchers.ReasonNoAddress, "the target has no mail address: check address")
	}
	to, err := parseAddress(m.Address)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonBadAddress, "the mail address cannot be used: %w", err)
	}
	if !validID.MatchString(m.DeliveryID()) {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonID, "the message's ID cannot be a Message-ID")
	}
	code, err := drawCode(ctx, m)
	if err != nil {
		return nil, err
	}
	v := texts.Of(m, s.now())
	v.Sender, v.Subject = s.from.name, m.Expand(s.Subject, nil)
	id := m.DeliveryID() + "@" + s.from.domain
	if code != nil {
		v.Picture = "qr." + id
	}
	t, err := s.texts.Render(s.texts.Language(m), v)
	switch {
	case errors.Is(err, texts.ErrTooLong):
		return nil, dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonTooBig, "filling in the texts of the mail: %w", err)
	case err != nil:
		return nil, dispatchers.Fail(dispatchers.Broken, reasonTemplate, "filling in the texts of the mail: %w", err)
	}
	content, err := s.encode(to, id, t, v.Picture, code)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, dispatchers.ReasonEncoding, "writing the mail: %w", err)
	}
	if len(content) > maxMail {
		return nil, dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonTooBig, "the mail has %d bytes, more than %d", len(content), maxMail)
	}
	return &outgoing{from: s.from.address, to: to, content: content}, nil
}

// drawCode returns the picture of the QR code; nil if the message is too long
// for one and there is a link as well.
func drawCode(ctx context.Context, m *dispatchers.Message) ([]byte, error) {
	picture, err := qr.PNG(ctx, m.CodeContent(), qr.Options{})
	switch {
	case errors.Is(err, qr.ErrTooLong) && m.Link != "":
		return nil, nil
	case errors.Is(err, qr.ErrTooLong):
		return nil, dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonTooBig,
			"drawing the QR code: %w; configure base_url, and the mail goes with a link alone", err)
	case err != nil && ctx.Err() != nil:
		return nil, dispatchers.Fail(dispatchers.Temporary, reasonBusy, "drawing the QR code: %w", err)
	case err != nil:
		return nil, dispatchers.Fail(dispatchers.Broken, dispatchers.ReasonEncoding, "drawing the QR code: %w", err)
	}
	return picture, nil
}

// setSubject writes one line of at most maxSubject characters, in which nothing
// can be taken for an encoded word (RFC 2047) that it does not write itself.
func setSubject(msg *gomail.Msg, subject string) {
	subject = strings.ReplaceAll(subject, "=?", "= ?")
	if runes := []rune(subject); len(runes) > maxSubject {
		subject = string(runes[:maxSubject-1]) + "…"
	}
	if strings.ContainsFunc(subject, func(r rune) bool { return r > unicode.MaxASCII }) {
		msg.SetGenHeaderPreformatted(gomail.HeaderSubject, encodedWords(subject))
		return
	}
	msg.Subject(subject)
}

// encodedWords returns a subject as encoded words (RFC 2047), the first on the
// line of the header's name: go-mail begins on the next one, and some mail
// programs then show a space.
func encodedWords(subject string) string {
	const maxWord = 39 // bytes, which is 64 characters as a word
	var words []string
	for subject != "" {
		end := min(len(subject), maxWord)
		for end < len(subject) && !utf8.RuneStart(subject[end]) {
			end--
		}
		words = append(words, "=?UTF-8?B?"+base64.StdEncoding.EncodeToString([]byte(subject[:end]))+"?=")
		subject = subject[end:]
	}
	return strings.Join(words, "\r\n ")
}

// encode writes the mail as RFC 5322 and MIME have it, in ASCII. The
// Message-ID follows from the token, so that a second attempt can be told from
// a second mail. Automatic answers are asked not to come (RFC 3834; the second
// header is Exchange's), reports of failed delivery may.
func (s *Mailer) encode(to, id string, t map[texts.Part]string, pictureID string, code []byte) ([]byte, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	msg.FromMailAddress(&mail.Address{Name: s.from.name, Address: s.from.address})
	msg.ToMailAddress(&mail.Address{Address: to})
	msg.SetDateWithValue(s.now())
	msg.SetMessageIDWithValue(id)
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "OOF, AutoReply")
	setSubject(msg, t[texts.Subject])
	msg.SetBodyString(gomail.TypeTextPlain, t[texts.Text]+"\n")
	msg.AddAlternativeString(gomail.TypeTextHTML, t[texts.HTML])
	if code != nil {
		err := msg.EmbedReader(codeName, bytes.NewReader(code),
			gomail.WithFileContentType("image/png"), gomail.WithFileContentID("<"+pictureID+">"))
		if err != nil {
			return nil, err
		}
	}
	var content bytes.Buffer
	if _, err := msg.WriteTo(&content); err != nil {
		return nil, err
	}
	// RFC 2387, section 3.1, which go-mail leaves out
	const related = "Content-Type: multipart/related;"
	return bytes.Replace(content.Bytes(), []byte(related), []byte(related+` type="multipart/alternative";`), 1), nil
}
