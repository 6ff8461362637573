package java

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// members of a body are JSON texts, and each is written otherwise once. The
// context and what is in it come last, so that the others can be told from it.
type member struct{ name, value string }

// bodies are dispatch requests, to a dispatcher of the sidecar's and to one of
// nevisFIDO's, and requests for a target. Each row asks what Jackson reads.
func bodies() []*row {
	var rows []*row
	add := func(kind string, c call, header, body string) {
		rows = append(rows, &row{kind: kind, method: "POST", target: c.path(), header: header + "Read: 1\r\n", body: body})
	}
	for _, dispatcher := range []string{ours, "link"} {
		outer := []member{
			{"dispatcher", `"` + dispatcher + `"`},
			{"dispatchTargetId", `"4711"`},
			{"dispatchInformation", `{"notification":{"title":"A","body":"B"},"data":{"n":1}}`},
			{"getUafRequest", `{"op":"Auth","context":"{\"username\":\"jeff\"}"}`},
		}
		oddMembers(outer, func(kind, body string) { add(kind, calls[0], jsonHeader, body) })
		notification := []member{{"title", `"A"`}, {"body", `"B"`}}
		oddMembers(notification, func(kind, text string) {
			add(kind, calls[0], jsonHeader, object(with(outer, 2, `{"notification":`+text+`}`)))
		})
		oddMembers([]member{{"context", `"{\"username\":\"jeff\"}"`}}, func(kind, text string) {
			add(kind, calls[0], jsonHeader, object(with(outer, 3, text)))
		})
		inContext := func(kind, text string) {
			add("context: "+kind, calls[0], jsonHeader, object(with(outer, 3, fmt.Sprintf(`{"context":%s}`, quoted(text)))))
		}
		oddMembers([]member{{"username", `"jeff"`}}, inContext)
		oddTexts(`{"username":"jeff"}`, inContext)
		oddTexts(object(outer), func(kind, body string) { add(kind, calls[0], jsonHeader, body) })
		oddTypes(object(outer), func(header, body string) { add("content type", calls[0], header, body) })
	}
	created := []member{
		{"username", `"jeff"`},
		{"deviceId", `"d-1"`},
		{"name", `"Phone"`},
		{"target", `"token-1"`},
		{"dispatcher", `"` + ours + `"`},
		{"encryptionKey", `{"kty":"EC","crv":"P-256","x":"a","y":"b"}`},
		{"signatureKey", `{"kty":"EC","crv":"P-256","x":"c","y":"d"}`},
	}
	oddMembers(created, func(kind, body string) { add("target: "+kind, calls[1], jsonHeader, body) })
	oddTexts(object(created), func(kind, body string) { add("target: "+kind, calls[1], jsonHeader, body) })
	oddTypes(object(created), func(header, body string) { add("target: content type", calls[1], header, body) })
	return rows
}

func object(members []member) string {
	var texts []string
	for _, m := range members {
		texts = append(texts, `"`+m.name+`":`+m.value)
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// with returns the members with another value of one.
func with(members []member, at int, value string) []member {
	others := append([]member(nil), members...)
	others[at].value = value
	return others
}

func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\x00", `\u0000`, "\x01", `\u0001`).Replace(text) + `"`
}

// oddMembers writes each member of an object otherwise: twice, under other names
// and with other values.
func oddMembers(members []member, add func(kind, text string)) {
	for i, m := range members {
		text := object(members)
		this := `"` + m.name + `":` + m.value
		replaced := func(by string) string { return strings.Replace(text, this, by, 1) }
		other := `"link"`
		if strings.HasPrefix(m.value, "{") {
			other = `{"kty":"EC","crv":"P-256","x":"e","y":"f","op":"Reg","context":"{}","notification":{"title":"C"}}`
		}
		first, escaped := m.name[:1], fmt.Sprintf(`\u%04x`, m.name[0])
		upper := strings.ToUpper(m.name)
		names := []string{
			m.name, escaped + m.name[1:], strings.ToUpper(escaped)[:1] + `\u` + strings.ToUpper(escaped)[2:] + m.name[1:], upper, strings.ToUpper(first) + m.name[1:], strings.ToLower(m.name), " " + m.name, m.name + " ", m.name + `\u0000`, m.name + `\t`,
			"\ufeff" + m.name, m.name + "\u200b", m.name + `\ufeff`, strings.Replace(m.name, "s", "\u017f", 1), strings.Replace(m.name, "k", "\u212a", 1), strings.Replace(m.name, "i", "\u0131", 1), strings.Replace(upper, "I", "\u0130", 1), m.name + "\xff", m.name + "\xc0\x80",
			strings.Replace(m.name, first, string([]byte{0xc0 | m.name[0]>>6, 0x80 | m.name[0]&0x3f}), 1), m.name + `\ud800`, m.name + `\udc00\ud800`, "_" + m.name, strings.Replace(m.name, "I", "_i", 1), m.name + "/", `\/` + m.name, m.name + `\`, m.name + "\x00", m.name + "\n", `\x64`, `\` + m.name,
		}
		for _, name := range names {
			twin := `"` + name + `":` + other
			if name == m.name {
				add("member twice", replaced(this+","+twin))
				add("member twice", replaced(twin+","+this))
				add("member twice", replaced(this+","+`"`+name+`":null`))
				add("member twice", replaced(`"`+name+`":null,`+this))
				add("member twice", replaced(this+","+this))
				continue
			}
			add("other name", replaced(twin))
			add("other name beside", replaced(this+","+twin))
			add("other name beside", replaced(twin+","+this))
		}
		for _, odd := range []string{"'" + m.name + "':" + m.value, m.name + ":" + m.value, `"` + m.name + `"=` + m.value, `"` + m.name + `" ` + m.value, this + "," + m.name + ":" + other, this + ",'" + m.name + "':" + other, `"` + m.name + `":`, this + ",", "," + this, this + `,"x"`, `"x":{` + this + `}`, `"x":[{` + this + `}]`, `"":1,` + this, this + `,"":1`} {
			add("no JSON, or elsewhere", replaced(odd))
		}
		for _, value := range oddValues {
			add("other value", object(with(members, i, value)))
		}
		if strings.HasPrefix(m.value, `"`) && !strings.Contains(m.value, `\`) {
			plain := strings.Trim(m.value, `"`)
			for _, value := range []string{
				fmt.Sprintf(`\u%04x`, plain[0]) + plain[1:], fmt.Sprintf(`\u%04X`, plain[0]) + plain[1:], " " + plain, plain + " ", plain + `\n`, plain + `\u0000`, plain + `\/`, plain + "\u200b", strings.ToUpper(plain), plain + `\ud83d\ude00`, plain + "\U0001f600", plain + `\ud83d`, plain + `\ude00`, plain + `\ude00\ud83d`,
				plain + "\xff", plain + "\xc0\xaf", plain + "\xed\xa0\x80", plain + "\xed\xa0\xbd\xed\xb8\x80", plain + "\xf5\x80\x80\x80", plain + "\xc2", plain + "\xe2\x82", plain + "\x00", plain + "\x01", plain + "\n", plain + "\t", plain + "\x7f", plain + "\u0085", plain + "\u2028", plain + "\u00e4", plain + "a\u0308", `\x41`, `\'`, `\U0041`, `\u00`, `\u{41}`, `\0`, `\a`, `\` + plain, plain + "\ufffe", plain + "\uffff", strings.Repeat(plain, 500),
			} {
				add("other string", object(with(members, i, `"`+value+`"`)))
			}
		}
	}
}

var oddValues = []string{
	"null", "true", "false", "0", "-0", "1", "4711", "1.0", "1.50", "1e2", "1E400", "-1e-400", "1" + strings.Repeat("0", 400), "0." + strings.Repeat("3", 400), "01", "+1", ".5", "1.", "0x10", "1_000", "NaN", "Infinity", "-Infinity", "-", "True", "NULL", "undefined", "nul",
	`""`, `" "`, `"null"`, "[]", "{}", `["link"]`, `[["link"]]`, `["link","probe"]`, `{"value":"link"}`, `{"":"link"}`, `[null]`, `[{}]`, `'link'`, "link", `"link`, `"li" "nk"`, `"li"+"nk"`, "`link`", "/*x*/\"link\"", "\"link\"//x\n", "#x\n\"link\"", "\"link\",", `["@class","link"]`, `{"@type":"x"}`,
	`{"title":"C","title":"D"}`, `{"a":1,"a":2}`, `{"A":1,"a":2}`, `{"context":"{\"username\":\"other\"}"}`, `{"Context":"{\"username\":\"other\"}"}`, `"{}"`, `"{\"notification\":{\"title\":\"C\"}}"`, `"{\"username\":\"other\"}"`, strings.Repeat("[", 31) + strings.Repeat("]", 31), strings.Repeat("[", 900) + strings.Repeat("]", 900), "\f1", "\v1", "\u00a01", "\u20281",
}

// oddTexts write a whole text otherwise.
func oddTexts(text string, add func(kind, text string)) {
	for _, before := range []string{
		"\ufeff", "\ufeff\ufeff", "\xff\xfe", "\xfe\xff", "\xef\xbb", "\x00", "\x00\x00\x00", "\x1e", "\v", "\f", "\u00a0", "\u2028", " ", "\t\r\n", "//x\n", "/*x*/", "/**/ ", "#x\n", ")]}'\n", "while(1);", "[", "(", `"x"`, "{}", "null", "1", "1 ", ",", ";", "<!-- -->", "{", "--x\n", "\x1f\x8b", "\xef\xbb\xbf ", " \ufeff", "json=", "+/v8-",
	} {
		add("before the text", before+text)
	}
	for _, after := range []string{" ", "\n", "\x00", "\x00\x00\x00\x00", "\v", "\u00a0", "\ufeff", "//x", "/*x*/", "#x", "{}", text, "x", ",", ";", "]", "}", ")", `"`, "null", "\x1e", "\x1a", "\xff", "\n\n--x", "\r\n0\r\n\r\n", "&a=b"} {
		add("after the text", text+after)
	}
	for _, inside := range []string{
		strings.Replace(text, ":", ": /*x*/", 1), strings.Replace(text, ",", ",//x\n", 1), strings.Replace(text, "{", "{#x\n", 1), strings.Replace(text, "{", "{,", 1), strings.TrimSuffix(text, "}") + ",}", strings.Replace(text, ",", ";", 1), strings.Replace(text, ",", " ", 1), strings.Replace(text, ",", ",,", 1), strings.ReplaceAll(text, `"`, "'"),
		strings.Replace(text, ":", "\u00a0:", 1), strings.Replace(text, ":", "=>", 1), "[" + text + "]", "[" + text + "," + text + "]", `{"x":` + text + "}", quoted(text), text[:len(text)-1], text[:len(text)/2], "", " ", "{}", "[]", "null", strings.Replace(text, "{", `{"x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+",", 1),
		strings.ReplaceAll(text, ",", " ,\r\n\t"), strings.Replace(text, "{", `{"x":1e99999999,`, 1), strings.Replace(text, "{", `{"x":{"dispatcher":"link","target":"x"},`, 1), strings.Replace(text, "{", `{"x":"\"dispatcher\":\"link\"",`, 1), strings.Replace(text, "{", `{"x\":\"":"y",`, 1), strings.Replace(text, "{", `{"x":"y\\","z":"`+`\\\"",`, 1),
	} {
		add("within the text", inside)
	}
	for _, encoded := range encodings(text) {
		add("another encoding", encoded)
	}
}

// encodings writes a text in UTF-16 and UTF-32, with a mark and without.
func encodings(text string) []string {
	var all []string
	for _, mark := range []string{"", "\ufeff", "\ufffe"} {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			var two, four []byte
			for _, unit := range utf16.Encode([]rune(mark + text)) {
				two = order.AppendUint16(two, unit)
			}
			for _, char := range mark + text {
				four = order.AppendUint32(four, uint32(char))
			}
			all = append(all, string(two), string(four), string(two[1:]), string(four[1:]))
		}
	}
	return append(all, strings.ReplaceAll(text, `"`, "+ACI-"), text[:1]+"\x00"+text[1:], text[:1]+"\x00\x00\x00"+text[1:])
}

// oddTypes declare a text otherwise, and send it in what is declared.
func oddTypes(text string, add func(header, body string)) {
	encoded := encodings(text)
	latin1 := strings.Replace(text, `4711`, "4711\xe4", 1)
	for _, value := range []string{
		"application/json", "Application/JSON", "application/json;charset=UTF-8", "application/json; charset=\"utf-8\"", "application/json;charset=utf8", "application/json;charset=UTF-16", "application/json;charset=utf-16le", "application/json;charset=UTF-32", "application/json;charset=ISO-8859-1", "application/json;charset=us-ascii",
		"application/json;charset=utf-7", "application/json;charset=cp037", "application/json;charset=x", "application/json;charset=", "application/json;charset", "application/json;", "application/json;;charset=utf-16", "application/json;charset=utf-8;charset=utf-16", "application/json;charset*=utf-8''utf-16", "application/json;charset*0=utf-;charset*1=16", "application/json; CHARSET=utf-16", "application/json;a=\"b;charset=utf-16\"",
		"application/json, text/plain", "application/json,application/json;charset=utf-16", "text/json", "text/plain", "application/*", "*/*", "application/*+json", "application/vnd.api+json", "application/problem+json", "application/x-json", "application/json5", "json", "", "application/json\r\nContent-Type: application/json;charset=utf-16", "application/json;charset=utf-16\r\nContent-Type: application/json", "application/json\r\n ;charset=utf-16",
		"application/json;charset='utf-16'", "application/json;charset=utf-8 utf-16", "application/json charset=utf-16", "application/json;boundary=x", "application/jose", "application/x-www-form-urlencoded", "multipart/form-data;boundary=x", "application/json\t;charset=utf-16", "application/json;charset=\"utf\\-16\"", "application/json;charset=\u0075tf-16", "application/json;q=0.5",
	} {
		header := "Content-Type: " + value + "\r\n"
		for _, body := range []string{text, latin1, encoded[0], encoded[1], encoded[4], encoded[8]} {
			add(header, body)
		}
	}
	add("", text)
	for _, coding := range []string{"gzip", "x-gzip", "deflate", "br", "identity", "identity, gzip", "", "gzip\r\nContent-Encoding: identity", "GZIP", "utf-16"} {
		add(jsonHeader+"Content-Encoding: "+coding+"\r\n", text)
		add(jsonHeader+"Content-Encoding: "+coding+"\r\n", gzipped(text))
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}
