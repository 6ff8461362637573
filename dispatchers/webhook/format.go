package webhook

import (
	"cmp"
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
	encode func(body string) []byte
}

func formatOf(contentType string) (format, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return format{}, errors.New("it is not a media type, such as application/json")
	}
	f := format{encode: func(body string) []byte { return []byte(body) }}
	switch {
	case media == "application/json", strings.HasSuffix(media, "+json"):
		f.name, f.escape, f.check = "JSON", escapeJSON, checkJSON
	case media == "application/x-www-form-urlencoded":
		f.name, f.escape, f.check = "a form", url.QueryEscape, checkForm
	case media == "application/xml", media == "text/xml", strings.HasSuffix(media, "+xml"):
		f.name, f.escape, f.check = "XML", escapeXML, checkXML
	case media == "text/plain":
		f.name, f.escape, f.check = "text", cleanText, func(string) error { return nil }
	default:
		return f, errors.New("it is none that values can be escaped for: " +
			"application/json, application/x-www-form-urlencoded, application/xml or text/plain")
	}
	questionMark := func(text string) []byte { return latin1(text, func(rune) string { return "?" }) }
	switch charset := strings.ToLower(cmp.Or(params["charset"], "utf-8")); {
	case charset == "utf-8":
	case charset != "iso-8859-1":
		return f, errors.New("a charset is utf-8 or iso-8859-1")
	case f.name == "JSON":
		return f, errors.New("JSON is always in utf-8: remove charset")
	case f.name == "XML":
		f.encode = func(body string) []byte { return latin1(body, func(r rune) string { return fmt.Sprintf("&#%d;", r) }) }
	case f.name == "a form":
		f.escape = func(value string) string { return url.QueryEscape(string(questionMark(value))) }
		fallthrough
	default:
		f.encode = questionMark
	}
	return f, nil
}

// latin1 encodes a text in ISO-8859-1, the beginning of Unicode. Other
// characters become what instead returns.
func latin1(text string, instead func(rune) string) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range text {
		if r <= unicode.MaxLatin1 {
			out = append(out, byte(r)) //nolint:gosec // it fits
		} else {
			out = append(out, instead(r)...)
		}
	}
	return out
}

func escapeJSON(value string) string {
	quoted, _ := json.Marshal(value) // a string can always be encoded
	return string(quoted[1 : len(quoted)-1])
}

func checkJSON(body string) error {
	if !json.Valid([]byte(body)) {
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
