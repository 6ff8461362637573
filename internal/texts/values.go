package texts

import (
	"errors"
	"html/template"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Values are what a text can tell. The clear token is not among them. Control
// characters in them become spaces, and marks that turn the direction of
// writing are taken out.
//
// A template has each field under its name, as {{.Username}}, Member as
// {{.Data "<member>"}}, the picked language as {{.Language}}, and the subject,
// except in itself, as {{.Subject}}.
type Values struct {
	Operation  nevisfido.Operation
	Username   string
	Name       string // the device's, as its owner chose it
	Title      string // of the request's notification
	Body       string // of the request's notification; may have several lines
	VisualCode string
	Notice     string // what a notice tells of, "learned" or "key_changed"; "" in messages
	Link       string // opens the app; a URL of any scheme that runs no script
	Sender     string // who writes, from the configuration
	Subject    string // in place of that of the texts; "" for theirs

	// Picture and VisualCodePicture are the Content-IDs of the QR code and of the
	// visual code's picture in a mail, without angle brackets; templates see
	// their URLs (RFC 2392), such as cid:qr@example.com.
	Picture, VisualCodePicture string

	Date    time.Time // of the message; in the time zone to be shown
	Expires time.Time // when the token dies; zero if that is unknown

	// Member returns a member of dispatchInformation.data, "" for those that
	// there are not.
	Member func(name string) string
}

// Of returns the values of a message to dispatch that is written now. Sender,
// Subject and the pictures are not among them.
func Of(m *dispatchers.Message, now time.Time) Values {
	get := func(name string) string {
		value, _ := m.Lookup("oob." + name)
		return value
	}
	return Values{
		Operation:  m.Operation,
		Username:   get("username"),
		Name:       get("name"),
		Title:      get("notification.title"),
		Body:       get("notification.body"),
		VisualCode: get("visual_code"),
		Notice:     m.Notice,
		Link:       m.Link,
		Date:       now,
		Expires:    m.Expires.In(now.Location()),
		Member:     func(name string) string { return get("data." + name) },
	}
}

// Samples are what every text is tried with before it is used: a value for
// everything, and none at all.
func Samples(operation nevisfido.Operation) []Values {
	full := Values{
		Operation: operation, Username: "amuster", Name: "Phone", Title: "Title", Body: "First line\nSecond line",
		VisualCode: "1234", Notice: "learned", Link: "https://app.example.com/open?dispatchTokenResponse=eyJ9", Sender: "Example Bank",
		Picture: "qr@example.com", VisualCodePicture: "code@example.com", Date: time.Unix(1.8e9, 0).UTC(), Expires: time.Unix(1.8e9, 0).UTC(),
		Member: func(string) string { return "value" },
	}
	return []Values{full, {Operation: operation}}
}

// view is what templates see.
type view struct {
	Values
	Language                         string
	Link, Picture, VisualCodePicture template.URL
	member                           func(string) string
}

// Data returns a member of dispatchInformation.data.
func (v view) Data(name string) string {
	if v.member == nil {
		return ""
	}
	return clean(v.member(name))
}

// The errors of values that no template may get to see.
var (
	ErrLink    = errors.New("the link is not a URL that a message may hold")
	ErrPicture = errors.New("the picture's Content-ID is malformed")
)

var contentID = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,200}@[A-Za-z0-9.-]{1,200}$`)

func (v Values) view(lang string) (view, error) {
	w := view{Values: v, Language: lang, member: v.Member}
	w.Member = nil // templates use Data
	for _, value := range []*string{&w.Username, &w.Body, &w.VisualCode, &w.Sender} {
		*value = clean(*value)
	}
	for _, value := range []*string{&w.Name, &w.Title, &w.Subject} {
		*value = oneLine(clean(*value))
	}
	if v.Link != "" {
		if !harmless(v.Link) {
			return view{}, ErrLink
		}
		w.Link = template.URL(v.Link) //nolint:gosec // its scheme runs no script, and html/template still escapes it for its place
	}
	for id, to := range map[string]*template.URL{v.Picture: &w.Picture, v.VisualCodePicture: &w.VisualCodePicture} {
		if id == "" {
			continue
		}
		if !contentID.MatchString(id) {
			return view{}, ErrPicture
		}
		*to = template.URL("cid:" + id) //nolint:gosec // letters, digits and ._~-@ only
	}
	return w, nil
}

// harmless reports whether a link can stand in HTML. Apps have schemes of
// their own, which html/template alone would not let through.
func harmless(link string) bool {
	u, err := url.Parse(link)
	if err != nil || strings.ContainsFunc(link, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return false
	}
	switch strings.ToLower(u.Scheme) {
	case "", "javascript", "vbscript", "data", "file", "blob", "about":
		return false
	}
	return true
}

// clean makes a value that cannot change anything around it.
func clean(value string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(strings.ReplaceAll(value, "\r\n", "\n"), "\ufffd"))
}

// oneLine makes a single line without spaces around it. No-break spaces stay.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || unicode.IsControl(r) }), " ")
}

var (
	lineEnds   = regexp.MustCompile(`[ \t]+\n`)
	emptyLines = regexp.MustCompile(`\n{3,}`)
)

// tidy takes out what conditions in a template leave behind: spaces at the end
// of lines, and more than one empty line.
func tidy(text string) string {
	text = lineEnds.ReplaceAllString(text+"\n", "\n")
	return strings.Trim(emptyLines.ReplaceAllString(text, "\n\n"), "\n")
}
