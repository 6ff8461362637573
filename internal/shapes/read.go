package shapes

import (
	"encoding/base64"
	"fmt"
	"mime"
	"net/url"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Types of a message or value. Those of JSON have JSON's names; what a string
// holds has " in text" or " in base64" after it, and constants have "= " before
// them.
const (
	Object    = "object"
	JWK       = "JWK"
	InText    = " in text"
	InBase64  = " in base64"
	Constant  = "= "
	Link      = "link"
	Picture   = "PNG" + InBase64
	JWE       = "JWE"
	JWS       = "JWS"
	Digits    = "digits"
	String    = "string"
	Number    = "number"
	Empty     = "nothing"
	NotJSON   = "not strict JSON"
	TooLarge  = "too large to be read"
	Coded     = "content-coded"
	Header    = "(header)"       // of a JWE or JWS
	Payload   = "(payload)"      // of a JWS
	Media     = "(content type)" // of a message
	Spelling  = "(path)"         // of a request
	Parameter = "dispatchTokenResponse"
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
	Path, Query     string
	DeviceSignature string // the header of that name
	Request         Body
	Status          int // of the answer; 0 for none
	Answer          Body
}

// Body is that of a request or an answer.
type Body struct {
	ContentType, ContentEncoding string
	Text                         []byte
	TooLarge                     bool // Text is its beginning
}

// Add takes in a call and its answer.
func (s *Set) Add(m Message) {
	name := callNames[m.Route.Call]
	r := s.reader(m)
	if n := s.message(name + " request"); n != nil {
		r.body(n, m.Request)
		s.member(n, Spelling).is(spelling(m.Path))
		if m.DeviceSignature != "" {
			c := s.member(n, DeviceSignature)
			if c != nil {
				r.text(c, "", m.DeviceSignature, 1, false)
			}
		}
	}
	s.addAnswer(r, m)
}

// AddAnswer takes in an answer alone, to a request that was made to get it.
func (s *Set) AddAnswer(m Message) { s.addAnswer(s.reader(m), m) }

func (s *Set) addAnswer(r *reader, m Message) {
	if n := s.message(fmt.Sprintf("%s answer %d", callNames[m.Route.Call], m.Status)); m.Status != 0 && n != nil {
		r.body(n, m.Answer)
	}
}

func spelling(path string) string {
	switch {
	case strings.Contains(path, "//"), strings.Contains(path, ";"), strings.Contains(path, "%"):
		return "another spelling"
	case strings.HasSuffix(path, "/"):
		return "with a trailing slash"
	}
	return "plain"
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

// decode decodes base64 of a JSON object in either alphabet; nil for anything
// else.
func decode(text string) []byte {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(decoded) == 0 || decoded[0] != '{' {
		return nil
	}
	return decoded
}

func (r *reader) body(n *Node, b Body) {
	media, _, _ := mime.ParseMediaType(b.ContentType)
	if !mediaTypes[media] && b.ContentType != "" {
		media = "other"
	}
	if media != "" {
		r.set.member(n, Media).is(media)
	}
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

// value takes in a value. Below a member of callers only documented names are
// told, and nothing that is below others.
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
		n.is("null")
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
		n.is("array" + form)
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
		if v.Kind() == '[' {
			r.value(r.set.elements(n), "", child, level+1, theirs)
			continue
		}
		told := name
		if !documented[name] && (theirs || !tellable(name) || r.values[strings.ToLower(name)]) {
			told = masked
		}
		c := r.set.member(n, told)
		switch {
		case c == nil:
		case told == masked && theirs:
			c.is("not looked at")
		default:
			r.value(c, name, child, level+1, theirs || callers[name])
		}
	}
}

func (r *reader) text(n *Node, name, text string, level int, theirs bool) {
	if inside, form := open(text); inside.Exists() {
		r.inside(n, inside, form, level, theirs)
		return
	}
	switch {
	case constants[name][text]:
		n.is(Constant + text)
	case text == "":
		n.is("empty string")
	case strings.HasPrefix(text, "iVBORw0KGgo"):
		n.is(Picture)
	case strings.Contains(text, Parameter+"="):
		r.link(n, text, level)
	case r.compact(n, text, level, theirs):
	case strings.Trim(text, "0123456789") == "":
		n.is(Digits)
	case name == "n":
		n.is(modulus(text))
	default:
		n.is(String)
	}
}

// modulus tells the size of an RSA key.
func modulus(text string) string {
	switch decoded, _ := base64.RawURLEncoding.DecodeString(text); len(decoded) {
	case 256, 384, 512:
		return fmt.Sprintf("string of %d bits", 8*len(decoded))
	}
	return String
}

// link takes in what the parameter of a link holds.
func (r *reader) link(n *Node, text string, level int) {
	n.is(Link)
	_, value, _ := strings.Cut(text, Parameter+"=")
	if i := strings.IndexAny(value, "&#"); i >= 0 {
		value = value[:i]
	}
	c := r.set.member(n, Parameter)
	if c == nil {
		return
	}
	if unescaped, err := url.PathUnescape(value); err == nil {
		value = unescaped
	}
	inside, form := open(value)
	if !inside.Exists() {
		c.is(String)
		return
	}
	r.gather(inside, level)
	r.inside(c, inside, form, level+1, false)
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
