package dispatchers

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Template is a one-line text with placeholders in braces: Caddy's own, such
// as {http.request.header.Accept-Language}, and those of the message:
//
//	{oob.operation} {oob.dispatcher} {oob.username} {oob.target}
//	{oob.target_id} {oob.device_id} {oob.name} {oob.notification.title}
//	{oob.notification.body} {oob.data.<member>} {oob.visual_code}
//	{oob.link} {oob.message} {oob.user.email} {oob.user.mobile} {oob.user.address}
//	{oob.event}
//
// {oob.event} is what a notice tells of, see Message.Notice.
// {oob.message} is the out-of-band payload in base64url, as a link carries it.
//
// Braces around anything else stay as they are, so that a JSON text can be a
// template. A value is never expanded again.
type Template string

const oobPrefix = "oob."

var placeholders = []string{
	"operation", "dispatcher", "username", "target", "target_id", "device_id", "name",
	"notification.title", "notification.body", "visual_code", "link", "message",
	"user.email", "user.mobile", "user.address", "event",
}

// Check fails for a placeholder that begins with "oob." and does not exist, and
// for one whose brace is not closed.
func (t Template) Check() error {
	var unclosed error
	text := ""
	t.scan(func(part string) {
		// The brace of what scan does not take for a placeholder ends a part.
		for _, prefix := range []string{oobPrefix, "http."} {
			if unclosed == nil && strings.HasSuffix(text, "{") && strings.HasPrefix(part, prefix) {
				unclosed = fmt.Errorf("a placeholder {%s… is not closed: put a } after its name", prefix)
			}
		}
		text = part
	}, func(string) { text = "" })
	if unclosed != nil {
		return unclosed
	}
	for _, name := range t.Placeholders() {
		rest, ours := strings.CutPrefix(name, oobPrefix)
		if !ours || slices.Contains(placeholders, rest) {
			continue
		}
		if member, ok := strings.CutPrefix(rest, "data."); ok && member != "" {
			continue
		}
		return fmt.Errorf("unknown placeholder {%s}; there are {oob.%s} and {oob.data.<member>}",
			name, strings.Join(placeholders, "}, {oob."))
	}
	return nil
}

// Placeholders returns what looks like a placeholder, in order.
func (t Template) Placeholders() []string {
	var names []string
	t.scan(func(string) {}, func(name string) { names = append(names, name) })
	return names
}

// Uses reports whether the template holds a placeholder with this prefix.
func (t Template) Uses(prefix string) bool {
	return slices.ContainsFunc(t.Placeholders(), func(name string) bool { return strings.HasPrefix(name, prefix) })
}

func (t Template) expand(lookup func(string) (string, bool), escape func(string) string) string {
	var out strings.Builder
	t.scan(func(text string) { out.WriteString(text) }, func(name string) {
		value, ok := "", false
		if lookup != nil {
			value, ok = lookup(name)
		}
		switch {
		case !ok && strings.HasPrefix(name, oobPrefix):
			// known to Check, but without a value in this exchange
		case !ok:
			out.WriteString("{" + name + "}")
		case escape != nil:
			out.WriteString(escape(value))
		default:
			out.WriteString(value)
		}
	})
	return out.String()
}

// scan cuts the template into literal text and placeholder names. A name has
// no spaces, quotes or braces; other braces are text.
func (t Template) scan(text, placeholder func(string)) {
	rest := string(t)
	for {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			text(rest)
			return
		}
		end := strings.IndexAny(rest[open+1:], "{} \t\r\n\"'")
		if end <= 0 || rest[open+1+end] != '}' {
			text(rest[:open+1])
			rest = rest[open+1:]
			continue
		}
		text(rest[:open])
		placeholder(rest[open+1 : open+1+end])
		rest = rest[open+1+end+1:]
	}
}

// OneLine returns a text with spaces in place of control characters and line
// separators, for media that have one line or print what they get.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// CheckTemplate is Template.Check for the option of a Caddyfile.
func CheckTemplate(text string) error { return Template(text).Check() }
