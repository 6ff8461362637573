package webhook

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"
	"unicode"
)

// format is how values go into a body of some media type, and how to tell
// whether a body is one.
type format struct {
	name   string
	escape func(string) string
	check  func(body string) error
	encode func(body string) []byte // nil: it stays in UTF-8
}

func formatOf(contentType string) (format, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return format{}, errors.New("it is not a media type, such as application/json")
	}
	f, err := formatOfMedia(media)
	if charset, ok := params["charset"]; err == nil && ok && !strings.EqualFold(charset, "utf-8") {
		err = f.setCharset(charset)
	}
	return f, err
}

func formatOfMedia(media string) (format, error) {
	switch {
	case media == "application/json", strings.HasSuffix(media, "+json"):
		return format{"JSON", escapeJSON, checkJSON, nil}, nil
	case media == "application/x-www-form-urlencoded":
		return format{"a form", url.QueryEscape, checkForm, nil}, nil
	case media == "application/xml", media == "text/xml", strings.HasSuffix(media, "+xml"):
		return format{"XML", escapeXML, checkXML, nil}, nil
	case media == "text/plain":
		return format{"text", cleanText, func(string) error { return nil }, nil}, nil
	}
	return format{}, errors.New("it is none that values can be escaped for: " +
		"application/json, application/x-www-form-urlencoded, application/xml or text/plain")
}

// setCharset makes the body one in ISO-8859-1.
func (f *format) setCharset(charset string) error {
	switch {
	case !strings.EqualFold(charset, "iso-8859-1"):
		return errors.New("a charset is utf-8 or iso-8859-1")
	case f.name == "JSON":
		return errors.New("JSON is always in utf-8: remove charset")
	case f.name == "a form":
		f.escape = func(value string) string { return url.QueryEscape(string(encodeLatin1(value))) }
	}
	f.encode = encodeLatin1
	if f.name == "XML" {
		f.encode = encodeLatin1XML
	}
	return nil
}

// encodeLatin1 writes a question mark for characters that ISO-8859-1 lacks.
func encodeLatin1(text string) []byte {
	return latin1(text, func(out []byte, _ rune) []byte { return append(out, '?') })
}

// encodeLatin1XML writes a character reference for them.
func encodeLatin1XML(text string) []byte {
	return latin1(text, func(out []byte, r rune) []byte { return fmt.Appendf(out, "&#%d;", r) })
}

func latin1(text string, other func(out []byte, r rune) []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range text {
		if r > unicode.MaxLatin1 {
			out = other(out, r)
			continue
		}
		out = append(out, byte(r)) //nolint:gosec // it is one of Latin-1, which Unicode begins with
	}
	return out
}

func escapeJSON(value string) string {
	quoted, _ := json.Marshal(value) // a string can always be encoded
	return string(quoted[1 : len(quoted)-1])
}

func checkJSON(body string) error {
	var value any
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		return errors.New("placeholders belong inside of strings")
	}
	return nil
}

func checkForm(body string) error {
	if _, err := url.ParseQuery(body); err != nil {
		return errors.New("a percent sign or semicolon is not encoded")
	}
	return nil
}

func escapeXML(value string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(value)) // a Builder does not fail
	return out.String()
}

func checkXML(body string) error {
	d := xml.NewDecoder(strings.NewReader(body))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // it is not encoded yet
	elements := 0
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && elements > 0:
			return nil
		case err != nil:
			return errors.New("placeholders belong inside of elements or quoted attributes")
		}
		if _, ok := token.(xml.StartElement); ok {
			elements++
		}
	}
}

// cleanText leaves line breaks and tabs as the only control characters.
func cleanText(value string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(value, "\uFFFD"))
}

// cleanHeader leaves no control characters, nor the other line separators.
func cleanHeader(value string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(value, "\uFFFD"))
}

// escapeURL encodes everything that has a meaning in a path or a query.
func escapeURL(value string) string {
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}
