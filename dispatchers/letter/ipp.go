package letter

import (
	"encoding/binary"
	"errors"
)

// The parts of the Internet Printing Protocol that printing a file takes (RFC
// 8010, encoding; RFC 8011, semantics).

// Operations (RFC 8011, section 4.2).
const (
	opPrintJob             = 0x0002
	opGetPrinterAttributes = 0x000b
)

// Tags (RFC 8010, section 3.5).
const (
	tagOperation = 0x01
	tagJob       = 0x02
	tagEnd       = 0x03
	lastGroupTag = 0x0f

	tagInteger  = 0x21
	tagBoolean  = 0x22
	tagEnum     = 0x23
	tagName     = 0x42
	tagKeyword  = 0x44
	tagURI      = 0x45
	tagCharset  = 0x47
	tagLanguage = 0x48
	tagMIME     = 0x49
)

const (
	ippVersion = 0x0200 // 2.0
	requestID  = 1      // one request a connection
)

// ippRequest writes a request.
type ippRequest struct{ b []byte }

// newRequest begins a request with the attributes that every one has, in the
// order of RFC 8011, section 4.1.4.
func newRequest(operation uint16, printerURI string) *ippRequest {
	r := &ippRequest{}
	r.b = binary.BigEndian.AppendUint16(r.b, ippVersion)
	r.b = binary.BigEndian.AppendUint16(r.b, operation)
	r.b = binary.BigEndian.AppendUint32(r.b, requestID)
	r.group(tagOperation)
	r.text(tagCharset, "attributes-charset", "utf-8")
	r.text(tagLanguage, "attributes-natural-language", "en")
	r.text(tagURI, "printer-uri", printerURI)
	r.text(tagName, "requesting-user-name", "oob-dispatch")
	return r
}

func (r *ippRequest) group(tag byte) { r.b = append(r.b, tag) }

// text adds an attribute; further values have no name of their own.
func (r *ippRequest) text(tag byte, name string, values ...string) {
	for i, value := range values {
		if i > 0 {
			name = ""
		}
		r.value(tag, name, []byte(value))
	}
}

func (r *ippRequest) integer(name string, n uint32) {
	r.value(tagInteger, name, binary.BigEndian.AppendUint32(nil, n))
}

func (r *ippRequest) boolean(name string, v bool) {
	b := []byte{0}
	if v {
		b[0] = 1
	}
	r.value(tagBoolean, name, b)
}

func (r *ippRequest) value(tag byte, name string, value []byte) {
	r.b = append(r.b, tag)
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(len(name))) //nolint:gosec // all names and values are ours and short
	r.b = append(r.b, name...)
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(len(value))) //nolint:gosec // as above
	r.b = append(r.b, value...)
}

// bytes ends the request; a document may follow.
func (r *ippRequest) bytes() []byte { return append(r.b, tagEnd) }

// ippAnswer is what a printer says.
type ippAnswer struct {
	status     uint16
	attributes map[string][]ippValue // of all groups
}

type ippValue struct {
	tag   byte
	value []byte
}

var errNotIPP = errors.New("the answer is not IPP")

// parseAnswer reads an answer.
func parseAnswer(b []byte) (*ippAnswer, error) {
	if len(b) < 8 || binary.BigEndian.Uint32(b[4:]) != requestID {
		return nil, errNotIPP
	}
	a := &ippAnswer{status: binary.BigEndian.Uint16(b[2:]), attributes: make(map[string][]ippValue)}
	name := ""
	for b = b[8:]; len(b) > 0; {
		tag := b[0]
		b = b[1:]
		if tag == tagEnd {
			return a, nil
		}
		if tag <= lastGroupTag {
			name = ""
			continue
		}
		var ownName, value []byte
		var ok bool
		if ownName, b, ok = counted(b); !ok {
			return nil, errNotIPP
		}
		if value, b, ok = counted(b); !ok {
			return nil, errNotIPP
		}
		if len(ownName) > 0 {
			name = string(ownName)
		}
		a.attributes[name] = append(a.attributes[name], ippValue{tag, value})
	}
	return nil, errNotIPP
}

// counted takes a text with its length before it.
func counted(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}

// enum returns the value of an attribute that is an enum; 0 if it is none.
func (a *ippAnswer) enum(name string) uint32 {
	values := a.attributes[name]
	if len(values) == 0 || values[0].tag != tagEnum || len(values[0].value) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(values[0].value)
}

// has reports whether a text is among the values of an attribute.
func (a *ippAnswer) has(name, text string) bool {
	for _, v := range a.attributes[name] {
		if string(v.value) == text {
			return true
		}
	}
	return false
}

// refuses reports whether a boolean attribute is there and false.
func (a *ippAnswer) refuses(name string) bool {
	values := a.attributes[name]
	return len(values) > 0 && values[0].tag == tagBoolean && len(values[0].value) == 1 && values[0].value[0] == 0
}
