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
		return nil, dispatchers.Fail(dispatchers.NoTarget, reasonNoAddress, "the target has no mail address: check address")
	}
	to, err := parseAddress(m.Address)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonBadAddress, "the mail address cannot be used: %w", err)
	}
	if !validID.MatchString(m.DeliveryID()) {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonID, "the message's ID cannot be a Message-ID")
	}
	code, err := drawCode(ctx, m)
	if err != nil {
		return nil, err
	}
	t, err := s.render(m, code != nil)
	if errors.Is(err, texts.ErrTooLong) {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooBig, "filling in the texts of the mail: %w", err)
	}
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonTemplate, "filling in the texts of the mail: %w", err)
	}
	content, err := s.encode(m, to, t, code)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonEncoding, "writing the mail: %w", err)
	}
	if len(content) > maxMail {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooBig, "the mail has %d bytes, more than %d", len(content), maxMail)
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
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooBig,
			"drawing the QR code: %w; configure base_url, and the mail goes with a link alone", err)
	case err != nil && ctx.Err() != nil:
		return nil, dispatchers.Fail(dispatchers.Temporary, reasonBusy, "drawing the QR code: %w", err)
	case err != nil:
		return nil, dispatchers.Fail(dispatchers.Broken, reasonEncoding, "drawing the QR code: %w", err)
	}
	return picture, nil
}

func (s *Mailer) render(m *dispatchers.Message, picture bool) (map[texts.Part]string, error) {
	v := texts.Of(m, s.now())
	v.Sender = s.from.name
	if s.Subject != "" {
		v.Subject = oneLine(m.Expand(s.Subject, nil))
	}
	if picture {
		v.Picture = s.pictureID(m)
	}
	return s.texts.Render(s.texts.Language(m), v)
}

func (s *Mailer) pictureID(m *dispatchers.Message) string {
	return "qr." + s.messageID(m)
}

func (s *Mailer) messageID(m *dispatchers.Message) string {
	return m.DeliveryID() + "@" + s.from.domain
}

// oneLine makes a text for a header: control characters become
// spaces, marks that turn the direction of writing go, and nothing in it can
// be taken for an encoded word (RFC 2047).
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "=?", "= ?")
	if runes := []rune(text); len(runes) > maxSubject {
		text = string(runes[:maxSubject-1]) + "…"
	}
	return text
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
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
func (s *Mailer) encode(m *dispatchers.Message, to string, t map[texts.Part]string, code []byte) ([]byte, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	msg.FromMailAddress(&mail.Address{Name: s.from.name, Address: s.from.address})
	msg.ToMailAddress(&mail.Address{Address: to})
	msg.SetDateWithValue(s.now())
	msg.SetMessageIDWithValue(s.messageID(m))
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "OOF, AutoReply")
	if subject := oneLine(t[texts.Subject]); isASCII(subject) {
		msg.Subject(subject)
	} else {
		msg.SetGenHeaderPreformatted(gomail.HeaderSubject, encodedWords(subject))
	}
	msg.SetBodyString(gomail.TypeTextPlain, t[texts.Text]+"\n")
	msg.AddAlternativeString(gomail.TypeTextHTML, t[texts.HTML])
	if code != nil {
		err := msg.EmbedReader(codeName, bytes.NewReader(code),
			gomail.WithFileContentType("image/png"), gomail.WithFileContentID("<"+s.pictureID(m)+">"))
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
