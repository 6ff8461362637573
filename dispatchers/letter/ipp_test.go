package letter

import (
	"encoding/binary"
	"testing"
)

// ippBytes is an answer with some attributes.
func ippBytes(status uint16, attributes ...func(*ippRequest)) []byte {
	r := &ippRequest{}
	r.b = binary.BigEndian.AppendUint16(r.b, ippVersion)
	r.b = binary.BigEndian.AppendUint16(r.b, status)
	r.b = binary.BigEndian.AppendUint32(r.b, requestID)
	r.group(tagOperation)
	r.text(tagCharset, "attributes-charset", "utf-8")
	r.group(tagJob)
	for _, add := range attributes {
		add(r)
	}
	return r.bytes()
}

func jobState(n uint32) func(*ippRequest) {
	return func(r *ippRequest) { r.value(tagEnum, "job-state", binary.BigEndian.AppendUint32(nil, n)) }
}

func formats(values ...string) func(*ippRequest) {
	return func(r *ippRequest) { r.text(tagMIME, "document-format-supported", values...) }
}

func accepting(v bool) func(*ippRequest) {
	return func(r *ippRequest) { r.boolean("printer-is-accepting-jobs", v) }
}

func TestParseAnswer(t *testing.T) {
	whole := ippBytes(0x0001, jobState(3), formats("image/png", mimePDF), accepting(false))
	a, err := parseAnswer(append(whole, "data"...))
	if err != nil {
		t.Fatal(err)
	}
	if a.status != 1 || a.enum("job-state") != 3 || !a.has("document-format-supported", mimePDF) ||
		!a.has("document-format-supported", "image/png") || !a.refuses("printer-is-accepting-jobs") {
		t.Errorf("answer = %+v", a)
	}
	if a.enum("document-format-supported") != 0 || a.enum("none") != 0 || a.refuses("job-state") || a.refuses("none") || a.has("none", "") {
		t.Error("attributes are taken for others")
	}
	for n := range whole {
		if _, err := parseAnswer(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are an answer", n, len(whole))
		}
	}
	other := append([]byte(nil), whole...)
	other[7]++
	if _, err := parseAnswer(other); err == nil {
		t.Error("the answer to another request is taken")
	}
}

// TestRequestBytes compares with the encoding written out by hand (RFC 8010,
// section 3.1).
func TestRequestBytes(t *testing.T) {
	r := newRequest(opPrintJob, "ipp://h/p")
	r.boolean("x", true)
	r.group(tagJob)
	r.integer("copies", 1)
	r.text(tagKeyword, "k", "a", "bc")
	want := "\x02\x00\x00\x02\x00\x00\x00\x01\x01" +
		"\x47\x00\x12attributes-charset\x00\x05utf-8" +
		"\x48\x00\x1battributes-natural-language\x00\x02en" +
		"\x45\x00\x0bprinter-uri\x00\x09ipp://h/p" +
		"\x42\x00\x14requesting-user-name\x00\x0coob-dispatch" +
		"\x22\x00\x01x\x00\x01\x01" +
		"\x02" +
		"\x21\x00\x06copies\x00\x04\x00\x00\x00\x01" +
		"\x44\x00\x01k\x00\x01a\x44\x00\x00\x00\x02bc" +
		"\x03"
	if got := string(r.bytes()); got != want {
		t.Errorf("request = %q, want %q", got, want)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(ippBytes(0, jobState(3)))
	f.Add(ippBytes(0x0507, formats("a", "b"), accepting(true)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b)
		if (a == nil) == (err == nil) {
			t.Errorf("answer = %v, err = %v", a, err)
		}
	})
}
