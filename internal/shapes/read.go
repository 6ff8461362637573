package shapes

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/anybase64"
	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Types of a message or value. Those of JSON have JSON's names; what a string
// holds has " in text" or " in base64" after it, and constants have "= " before
// them.
const (
	Object      = "object"
	Array       = "array"
	JWK         = "JWK"
	InText      = " in text"
	InBase64    = " in base64"
	Constant    = "= "
	Link        = "link"
	Picture     = "PNG" + InBase64
	JWE         = "JWE"
	JWS         = "JWS"
	Digits      = "digits"
	String      = "string"
	Number      = "number"
	Null        = "null"
	EmptyString = "empty string"
	Empty       = "nothing"
	NotJSON     = "not strict JSON"
	TooLarge    = "too large to be read"
	Coded       = "content-coded"
)

// Members that are not those of an object.
const (
	Elements  = "[]"                    // of an array
	Header    = "(header)"              // of a JWE or JWS
	Payload   = "(payload)"             // of a JWS
	Parameter = "dispatchTokenResponse" // of a link
)

// DeviceSignature is the header of the device service that counts as a member.
const DeviceSignature = "Device-Signature"

var callNames = map[nevisfido.Call]string{
	nevisfido.Dispatch: "dispatch", nevisfido.CreateTarget: "create_target", nevisfido.QueryTargets: "query_targets",
	nevisfido.ModifyTarget: "modify_target", nevisfido.DeleteTarget: "delete_target", nevisfido.RegisterResponse: "registration",
	nevisfido.ModifyDevice: "modify_device", nevisfido.DeleteDevice: "delete_device",
}

// Message is a call and its answer.
type Message struct {
	Route           nevisfido.Route
	Query           string
	DeviceSignature string // the header of that name
	Asked           bool   // it was made to get the answer, which alone counts
	Request         Body
	Status          int // of the answer; 0 for none
	Answer          Body
}

// Body is that of a request or an answer.
type Body struct {
	ContentEncoding string
	Text            []byte
	TooLarge        bool // Text is its beginning
}

// Add takes in a call and its answer.
func (s *Set) Add(m Message) {
	r, name := s.reader(m), callNames[m.Route.Call]
	if n := s.message(name + " request"); n != nil && !m.Asked {
		r.body(n, m.Request)
		if m.DeviceSignature != "" {
			r.text(s.member(n, DeviceSignature), "", m.DeviceSignature, 1, false)
		}
	}
	if n := s.message(fmt.Sprintf("%s answer %d", name, m.Status)); n != nil {
		r.body(n, m.Answer)
	}
}

// A reader takes in one call. A name that is a value somewhere in the same call,
// such as that of the user, is not told.
type reader struct {
	set    *Set
	values map[string]bool
}

func (s *Set) reader(m Message) *reader {
	r := &reader{set: s, values: map[string]bool{strings.ToLower(m.Route.ID): true}}
	for _, value := range strings.FieldsFunc(m.Query, func(c rune) bool { return strings.ContainsRune("&=", c) }) {
		r.values[strings.ToLower(value)] = true
	}
	for _, body := range []Body{m.Request, m.Answer} {
		if value, err := strictjson.Parse(body.Text); err == nil {
			r.gather(value, 0)
		}
	}
	return r
}

func (r *reader) gather(v strictjson.Value, level int) {
	if text := v.Text(); text != "" && len(text) <= maxName {
		r.values[strings.ToLower(text)] = true
	}
	if inside, _ := open(v.Text()); inside.Exists() {
		v = inside
	}
	if level < maxLevels {
		for _, child := range v.Children() {
			r.gather(child, level+1)
		}
	}
}

// open returns the object or array that a string holds, and in which form.
func open(text string) (inside strictjson.Value, form string) {
	text, form = strings.TrimSpace(text), InText
	if decoded := decode(text); decoded != nil {
		text, form = string(decoded), InBase64
	}
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		if value, err := strictjson.Parse([]byte(text)); err == nil {
			return value, form
		}
	}
	return strictjson.Value{}, ""
}

// decode decodes base64 of a JSON object; nil for anything else.
func decode(text string) []byte {
	decoded, err := anybase64.Decode(text)
	if err != nil || len(decoded) == 0 || decoded[0] != '{' {
		return nil
	}
	return decoded
}

func (r *reader) body(n *Node, b Body) {
	switch text := strings.TrimSpace(string(b.Text)); {
	case b.TooLarge:
		n.is(TooLarge)
	case b.ContentEncoding != "" && b.ContentEncoding != "identity":
		n.is(Coded)
	case text == "":
		n.is(Empty)
	default:
		value, err := strictjson.Parse([]byte(text))
		if err == nil {
			r.value(n, "", value, 0, false)
			return
		}
		if !r.compact(n, text, 0, false) {
			n.is(NotJSON)
		}
	}
}

// value takes in a value. theirs tells that it is below a member of callers, or
// below a name that is not told: documented names alone are told there, and
// nothing of what is below others.
func (r *reader) value(n *Node, name string, v strictjson.Value, level int, theirs bool) {
	if n == nil {
		return
	}
	switch v.Kind() {
	case '"':
		r.text(n, name, v.Text(), level, theirs)
	case '0':
		if constants[name][string(v.Raw())] {
			n.is(Constant + string(v.Raw()))
		} else {
			n.is(Number)
		}
	case 'n':
		n.is(Null)
	case 't', 'f':
		n.is("boolean")
	default:
		r.inside(n, v, "", level, theirs)
	}
}

// inside takes in an object or array, which may have been in a string.
func (r *reader) inside(n *Node, v strictjson.Value, form string, level int, theirs bool) {
	switch {
	case v.Kind() == '[':
		n.is(Array + form)
	case v.Member("kty").Kind() == '"':
		n.is(JWK + form)
	default:
		n.is(Object + form)
	}
	if level == maxLevels {
		n.Cut = true
		return
	}
	for name, child := range v.Children() {
		told := name
		switch {
		case v.Kind() == '[':
			told = Elements
		case !documented[name] && (theirs || len(name) > maxName || !tellable.MatchString(name) || r.values[strings.ToLower(name)]):
			told = masked
		}
		if c := r.set.member(n, told); told == masked && theirs {
			c.is("not looked at")
		} else {
			r.value(c, name, child, level+1, theirs || told == masked || callers[name])
		}
	}
}

func (r *reader) text(n *Node, name, text string, level int, theirs bool) {
	if n == nil {
		return
	}
	if inside, form := open(text); inside.Exists() {
		r.inside(n, inside, form, level, theirs)
		return
	}
	switch {
	case constants[name][text]:
		n.is(Constant + text)
	case text == "":
		n.is(EmptyString)
	case strings.HasPrefix(text, "iVBORw0KGgo"):
		n.is(Picture)
	case strings.Contains(text, Parameter+"="):
		r.link(n, text, level, theirs)
	case r.compact(n, text, level, theirs):
	case strings.Trim(text, "0123456789") == "":
		n.is(Digits)
	default:
		n.is(String)
	}
}

// link takes in what the parameter of a link holds.
func (r *reader) link(n *Node, text string, level int, theirs bool) {
	n.is(Link)
	_, value, _ := strings.Cut(text, Parameter+"=")
	value, _, _ = strings.Cut(value, "&")
	value, _, _ = strings.Cut(value, "#")
	if unescaped, err := url.PathUnescape(value); err == nil {
		value = unescaped
	}
	c := r.set.member(n, Parameter)
	if inside, form := open(value); c == nil || !inside.Exists() {
		c.is(String)
	} else {
		r.gather(inside, level)
		r.inside(c, inside, form, level+1, theirs)
	}
}

// compact takes in a compact JWE or JWS, and reports whether a text is one (RFC
// 7515, RFC 7516).
func (r *reader) compact(n *Node, text string, level int, theirs bool) bool {
	parts := strings.Split(text, ".")
	header := decode(parts[0])
	kind := map[int]string{3: JWS, 5: JWE}[len(parts)]
	if header == nil || kind == "" || level >= maxLevels {
		return false
	}
	n.is(kind)
	r.part(r.set.member(n, Header), header, level, theirs)
	if kind == JWS {
		r.part(r.set.member(n, Payload), decode(parts[1]), level, theirs)
	}
	return true
}

func (r *reader) part(n *Node, text []byte, level int, theirs bool) {
	value, err := strictjson.Parse(text)
	switch {
	case n == nil:
	case err != nil:
		n.is(NotJSON)
	default:
		r.gather(value, level)
		r.value(n, "", value, level+1, theirs)
	}
}
