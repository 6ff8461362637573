package mail

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strings"
)

// Message is a mail, taken apart.
type Message struct {
	Header   netmail.Header
	Subject  string // decoded
	Text     string
	HTML     string
	Pictures map[string][]byte // by Content-ID, without angle brackets
}

// Read takes a mail apart. What a mail program could not show is an error.
func Read(data []byte) (*Message, error) {
	parsed, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	m := &Message{Header: parsed.Header, Pictures: map[string][]byte{}}
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		return nil, fmt.Errorf("decoding the subject: %w", err)
	}
	return m, m.part(textproto.MIMEHeader(parsed.Header), parsed.Body)
}

func (m *Message) part(header textproto.MIMEHeader, body io.Reader) error {
	kind, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("reading Content-Type: %w", err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		return m.parts(multipart.NewReader(body, parameters["boundary"]))
	}
	content, err := decode(header.Get("Content-Transfer-Encoding"), body)
	if err != nil {
		return fmt.Errorf("decoding %s: %w", kind, err)
	}
	switch {
	case kind == "text/plain" && m.Text == "":
		m.Text = string(content)
	case kind == "text/html" && m.HTML == "":
		m.HTML = string(content)
	case strings.HasPrefix(kind, "image/") && header.Get("Content-Id") != "":
		m.Pictures[strings.Trim(header.Get("Content-Id"), "<>")] = content
	default:
		return errors.New("an unexpected part of type " + kind)
	}
	return nil
}

func (m *Message) parts(reader *multipart.Reader) error {
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a part: %w", err)
		}
		if err := m.part(part.Header, part); err != nil {
			return err
		}
	}
}

func decode(encoding string, body io.Reader) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		return io.ReadAll(quotedprintable.NewReader(body))
	case "base64":
		return io.ReadAll(base64.NewDecoder(base64.StdEncoding, body))
	case "", "7bit", "8bit":
		return io.ReadAll(body)
	}
	return nil, errors.New("unknown encoding " + encoding)
}
