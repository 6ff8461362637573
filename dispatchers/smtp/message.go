package smtp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/smtp/internal/mailserver"
	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

// Bounds of a mail.
const (
	maxSubject = 200     // characters
	maxMail    = 1 << 20 // bytes
)

// write writes the mail. Its Message-ID follows from the token, so that a second
// attempt can be told from a second mail.
func (s *Mailer) write(ctx context.Context, m *dispatchers.Message) (*mailserver.Mail, error) {
	if m.Address == "" {
		return nil, dispatchers.Fail(dispatchers.NoTarget, dispatchers.ReasonNoAddress, "the target has no mail address: check address")
	}
	to, err := parseAddress(m.Address)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonBadAddress, "the mail address cannot be used: %w", err)
	}
	id := m.DeliveryID()
	if !dispatchers.ValidDeliveryID(id) {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonID, "the message's ID cannot be a Message-ID")
	}
	id += s.from.Address[strings.LastIndexByte(s.from.Address, '@'):]
	v := texts.Of(m, time.Now())
	v.Sender, v.Subject = s.from.Name, m.Expand(s.Subject, nil)
	render, code := s.texts.Notice, []byte(nil)
	if m.Notice == "" {
		render = s.texts.Render
		code, err = qr.PNG(ctx, m.CodeContent(), qr.Options{})
		switch {
		case err == nil:
			v.Picture = "qr." + id
		case errors.Is(err, qr.ErrTooLong) && m.Link != "": // the link alone has to do
		default:
			return nil, failure(ctx, "drawing the QR code", dispatchers.ReasonEncoding, err)
		}
	}
	if m.VisualCodePicture != nil {
		v.VisualCodePicture = "code." + id
	}
	t, err := render(s.texts.Language(m), v)
	if err != nil {
		return nil, failure(ctx, "filling in the texts of the mail", reasonTemplate, err)
	}
	pictures := []picture{{"qr.png", v.Picture, code}}
	if v.VisualCodePicture != "" && strings.Contains(t[texts.HTML], v.VisualCodePicture) { // texts of the operator's may do without
		png, err := m.VisualCodePicture.PNG()
		if err != nil {
			return nil, failure(ctx, "drawing the visual code", dispatchers.ReasonEncoding, err)
		}
		pictures = append(pictures, picture{"code.png", v.VisualCodePicture, png})
	}
	content, err := s.encode(to, id, t, pictures)
	if err != nil {
		return nil, failure(ctx, "writing the mail", dispatchers.ReasonEncoding, err)
	}
	if len(content) > maxMail {
		return nil, dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonTooBig, "the mail has %d bytes, more than %d", len(content), maxMail)
	}
	return &mailserver.Mail{From: s.from.Address, To: to, Content: content}, nil
}

// failure classifies an error. The reason is that of a fault that is neither the
// message's nor the time's.
func failure(ctx context.Context, doing, reason string, err error) error {
	class := dispatchers.Broken
	switch {
	case errors.Is(err, qr.ErrTooLong):
		class, reason = dispatchers.Refused, dispatchers.ReasonTooBig
		err = fmt.Errorf("%w; configure base_url, and the mail goes with a link alone", err)
	case errors.Is(err, texts.ErrTooLong):
		class, reason = dispatchers.Refused, dispatchers.ReasonTooBig
	case ctx.Err() != nil:
		class, reason = dispatchers.Temporary, reasonBusy
	}
	return dispatchers.Fail(class, reason, "%s: %w", doing, err)
}

// picture is a PNG that the HTML shows.
type picture struct {
	name, id string // of the file, and the Content-ID
	png      []byte // nil for none
}

// encode writes the mail as RFC 5322 and MIME have it, in ASCII. Automatic answers
// are asked not to come (RFC 3834; the second header is Exchange's), reports of
// failed delivery may.
func (s *Mailer) encode(to, id string, t map[texts.Part]string, pictures []picture) ([]byte, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	msg.FromMailAddress(s.from)
	msg.ToMailAddress(&mail.Address{Address: to})
	msg.SetDate()
	msg.SetMessageIDWithValue(id)
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "OOF, AutoReply")
	setSubject(msg, t[texts.Subject])
	msg.SetBodyString(gomail.TypeTextPlain, t[texts.Text]+"\n")
	if t[texts.HTML] != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, t[texts.HTML])
	}
	for _, p := range pictures {
		if p.png != nil {
			msg.EmbedReadSeeker(p.name, bytes.NewReader(p.png),
				gomail.WithFileContentType("image/png"), gomail.WithFileContentID("<"+p.id+">"))
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

// setSubject writes one line of at most maxSubject characters, in which nothing
// can be taken for an encoded word (RFC 2047) that it does not write itself. The
// first of these is on the line of the header's name: go-mail begins on the next
// one, and some mail programs then show a space.
func setSubject(msg *gomail.Msg, subject string) {
	const wordLength = 9 // characters, as a word at most 60

	runes := []rune(strings.ReplaceAll(subject, "=?", "= ?"))
	if len(runes) > maxSubject {
		runes = append(runes[:maxSubject-1], '…')
	}
	if slices.Max(append(runes, 0)) <= unicode.MaxASCII {
		msg.Subject(string(runes))
		return
	}
	var words []string
	for word := range slices.Chunk(runes, wordLength) {
		words = append(words, "=?UTF-8?B?"+base64.StdEncoding.EncodeToString([]byte(string(word)))+"?=")
	}
	msg.SetGenHeaderPreformatted(gomail.HeaderSubject, strings.Join(words, "\r\n "))
}
