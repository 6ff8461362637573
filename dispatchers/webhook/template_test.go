package webhook

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
)

// hostile are values that try to leave their place.
var hostile = []string{
	`","admin":true,"x":"`, `\`, `\"`, "a\r\nX-Evil: 1\r\n\r\nbody", "&to=+49&x=", "%0d%0aX-Evil:1", "</text><evil/>", "]]>", "{oob.link}{env.PATH}",
	"\x00\x1b[2J", "\u2028\u2029", "\u202e", "\xff\xfe", "+ ;#?/", "Zürich 🇨🇭", "", strings.Repeat("x", 4096),
}

// send dispatches and returns what arrived.
func send(t *testing.T, s *gateway.Server, w *Webhook, m *dispatchers.Message) gateway.Message {
	t.Helper()
	before := len(s.Requests())
	if _, err := w.Dispatch(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return s.Requests()[before]
}

func TestHeaderAndURLInjection(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	w := newDispatcher(t, s.URL()+"/a/{oob.data.x}?q={oob.data.x}&to={webhook.address}", map[string]any{
		"method":  "PUT",
		"headers": map[string]string{"x-title": "<{oob.data.x}>"},
	})
	for _, value := range hostile {
		got := send(t, s, w, message(map[string]string{"oob.data.x": value}))
		u, err := url.ParseRequestURI(got.URI)
		if err != nil || got.Method != http.MethodPut {
			t.Errorf("%q: %s %s: %v", value, got.Method, got.URI, err)
			continue
		}
		if q := u.Query(); u.Path != "/a/"+value || q.Get("q") != value || q.Get("to") != mobile || len(q) != 2 || strings.Count(got.URI, "/") != 2 {
			t.Errorf("%q: URI %s", value, got.URI)
		}
		title := got.Header.Values("X-Title")
		clean := dispatchers.OneLine(value)
		if len(title) != 1 || title[0] != "<"+clean+">" || got.Header.Get("X-Evil") != "" || strings.ContainsAny(clean, "\r\n\x00\x1b\u2028") {
			t.Errorf("%q: header %q", value, title)
		}
	}
}

func TestPlainText(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	w := newDispatcher(t, s.URL(), map[string]any{"content_type": "text/plain", "body": "{webhook.text}", "text": " {oob.data.x}\n"})
	for value, want := range map[string]string{"a\r\nb\tc\x00": "a \nb\tc", "\xff": "\uFFFD", "{oob.link}": "{oob.link}"} {
		if got := send(t, s, w, message(map[string]string{"oob.data.x": value})); string(got.Body) != want {
			t.Errorf("%q: got %q", value, got.Body)
		}
	}
}

func TestLoadTimePlaceholders(t *testing.T) {
	s := startGateway(t, gateway.Options{Authorization: "Basic {oob.link}" + password})
	t.Setenv("OOB_TEST_URL", s.URL()+"/v1")
	t.Setenv("OOB_TEST_QUOTE", `a"b`)
	t.Setenv("OOB_TEST_SECRET", secret)
	path := filepath.Join(t.TempDir(), "basic")
	if err := os.WriteFile(path, []byte("{oob.link}"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newDispatcher(t, "{env.OOB_TEST_URL}/send?x={oob.data.x}", map[string]any{
		"headers": map[string]string{"Authorization": "Basic {file." + path + "}"},
		"body":    `{"q":"{env.OOB_TEST_QUOTE}"}`,
		"secrets": []string{"{env.OOB_TEST_SECRET}"},
	})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	got := send(t, s, w, message(map[string]string{"oob.data.x": "{env.OOB_TEST_QUOTE}"}))
	if got.URI != "/v1/send?x=%7Benv.OOB_TEST_QUOTE%7D" || string(got.Body) != `{"q":"a\"b"}` {
		t.Errorf("got %s %s", got.URI, got.Body)
	}
}

func TestLiteralCredentialsAreWarnedAbout(t *testing.T) {
	for name, c := range map[string]struct {
		header, value string
		warned        bool
	}{
		"literal":     {"Authorization", "Bearer " + password, true},
		"api key":     {"X-Api-Key", password, true},
		"placeholder": {"Authorization", "Bearer {env.PATH}", false},
		"harmless":    {"Accept", "application/json", false},
	} {
		var log bytes.Buffer
		w := &Webhook{Headers: map[string]dispatchers.Template{c.header: dispatchers.Template(c.value)}}
		w.warnLiterals(slog.New(slog.NewTextHandler(&log, nil)))
		if warned := log.Len() > 0; warned != c.warned || strings.Contains(log.String(), password) {
			t.Errorf("%s: logged %s", name, log.String())
		}
	}
}

func TestWithoutAddressOrLink(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	m := message(nil)
	m.Address, m.Link = "", ""
	for name, c := range map[string]struct {
		options map[string]any
		class   dispatchers.Class
		reason  string
	}{
		"address in url":    {map[string]any{"url": s.URL() + "/{webhook.address}"}, dispatchers.NoTarget, dispatchers.ReasonNoAddress},
		"address in header": {map[string]any{"headers": map[string]string{"X-To": "{webhook.address}"}}, dispatchers.NoTarget, dispatchers.ReasonNoAddress},
		"address in body":   {map[string]any{"body": `"{webhook.address}"`}, dispatchers.NoTarget, dispatchers.ReasonNoAddress},
		"address in text":   {map[string]any{"text": "{webhook.address}"}, dispatchers.NoTarget, dispatchers.ReasonNoAddress},
		"link in text":      {map[string]any{"text": "{oob.link}"}, dispatchers.Broken, dispatchers.ReasonNoLink},
	} {
		w := newDispatcher(t, s.URL(), c.options)
		_, err := w.Dispatch(t.Context(), m)
		e := wantFailure(t, err, c.class, c.reason)
		if !strings.Contains(e.Error(), "sms.ch") {
			t.Errorf("%s: %v does not say which dispatcher", name, e)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if traits := new(Webhook).Traits(); !traits.AddressOptional || traits.AnswersCaller {
		t.Errorf("traits %+v", traits)
	}
	if newDispatcher(t, s.URL(), map[string]any{"text": "{webhook.address}"}).Traits().AddressOptional {
		t.Error("a message that holds the address can do without one")
	}
}

func TestSegments(t *testing.T) {
	x := strings.Repeat
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"nothing":                        {"", 1},
		"160 of GSM":                     {x("a", 160), 1},
		"161 of GSM":                     {x("a", 161), 2},
		"306 of GSM":                     {x("ä", 306), 2},
		"307 of GSM":                     {x("ñ", 307), 3},
		"80 of the extension":            {x("€", 80), 1},
		"81 of the extension":            {x("€", 81), 2},
		"none is cut in two":             {x("a", 152) + "€" + x("a", 152), 3},
		"the same, placed well":          {x("a", 151) + "€" + x("a", 153), 2},
		"70 of UCS-2":                    {x("a", 69) + "ç", 1},
		"71 of UCS-2":                    {x("a", 70) + "ç", 2},
		"134 of UCS-2":                   {x("а", 134), 2},
		"135 of UCS-2":                   {x("а", 135), 3},
		"35 outside of the first plane":  {x("😀", 35), 1},
		"36 outside of the first plane":  {x("😀", 36), 2},
		"66 outside, none is cut in two": {x("😀", 66), 2},
		"67 outside, none is cut in two": {x("😀", 67), 3},
		"the GSM alphabet once":          {gsmBasic, 1},
		"its extension":                  {gsmExtension, 1},
		"a backtick is in neither":       {x("a", 70) + "`", 2},
		"a sealed link":                  {"https://app.example.com/open?dispatchTokenResponse=" + x("aZ09-_", 200), 9},
		"bad UTF-8":                      {x("a", 70) + "\xff", 2},
	} {
		if got := segments(c.text); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	if n := len([]rune(gsmBasic)); n != 127 { // 128 without the escape
		t.Errorf("the alphabet has %d characters", n)
	}
}

func TestTooLongTextsAreNotSent(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	w := newDispatcher(t, s.URL(), map[string]any{"text": "{oob.data.x}", "sms_segments": 2, "body": `{"text":"{webhook.text}"}`})
	got := send(t, s, w, message(map[string]string{"oob.data.x": " " + strings.Repeat("a", 306) + "\n"}))
	if want := `{"text":"` + strings.Repeat("a", 306) + `"}`; string(got.Body) != want {
		t.Errorf("got %s", got.Body)
	}
	_, err := w.Dispatch(t.Context(), message(map[string]string{"oob.data.x": strings.Repeat("a", 307)}))
	e := wantFailure(t, err, dispatchers.Refused, reasonTooLong)
	if !strings.Contains(e.Error(), "needs 3 SMS segments") || len(s.Requests()) != 1 {
		t.Errorf("%v, %d requests", e, len(s.Requests()))
	}
}

// The kinds of what is refused are rows of caddymodule.TestRefusedValues; these are
// further ones.
func TestOptionsThatAreRefused(t *testing.T) {
	t.Setenv("OOB_TEST_EMPTY", "")
	t.Setenv("OOB_TEST_BRACES", "https://{oob.target}")
	const good = "https://sms.example.com/send"
	for name, options := range map[string]map[string]any{
		"another scheme":              {"url": "ftp://sms.example.com"},
		"no host":                     {"url": "https:///send"},
		"a user":                      {"url": "https://u:" + password + "@sms.example.com"},
		"a fragment":                  {"url": good + "#x"},
		"host of a request":           {"url": "https://{http.request.header.Host}/send"},
		"part of a host":              {"url": "https://{oob.data.region}.example.com"},
		"port of a request":           {"url": "https://sms.example.com:{oob.data.port}/"},
		"user of a request":           {"url": "https://{oob.data.x}@sms.example.com/"},
		"scheme of a request":         {"url": "{oob.data.x}://sms.example.com/"},
		"end of a host":               {"url": "https://sms.example.com{oob.data.x}/"},
		"whole url of a request":      {"url": "{oob.target}"},
		"braces in the environment":   {"url": "{env.OOB_TEST_BRACES}/send"},
		"empty environment":           {"url": good + "/{env.OOB_TEST_EMPTY}"},
		"unset environment":           {"url": "https://{env.OOB_TEST_UNSET}/send"},
		"backslash":                   {"url": `https://sms.example.com\@evil.example.com/`},
		"dot segment":                 {"url": good + "/../x"},
		"half an escape":              {"url": good + "/%{oob.data.x}"},
		"unknown placeholder":         {"url": good + "/{oob.token}"},
		"GET whose text is not used":  {"url": good, "method": "GET", "text": "x"},
		"no header name":              {"url": good, "headers": map[string]string{"": "z"}},
		"header with a line break":    {"url": good, "headers": map[string]string{"X": "a\r\nb"}},
		"reserved header":             {"url": good, "headers": map[string]string{"content-length": "1"}},
		"signature header":            {"url": good, "headers": map[string]string{"webhook-id": "1"}},
		"idempotency header":          {"url": good, "headers": map[string]string{"Idempotency-Key": "1"}},
		"header twice":                {"url": good, "headers": map[string]string{"X-A": "1", "x-a": "2"}},
		"empty file in header":        {"url": good, "headers": map[string]string{"X-A": "{file./nonexistent}"}},
		"binary content type":         {"url": good, "content_type": "application/pdf", "body": "x"},
		"another charset":             {"url": good, "content_type": "application/json; charset=latin1"},
		"latin1 JSON":                 {"url": good, "content_type": "application/json; charset=iso-8859-1"},
		"content type twice":          {"url": good, "content_type": "text/plain", "headers": map[string]string{"content-type": "text/plain"}, "body": "x"},
		"content type of a request":   {"url": good, "headers": map[string]string{"Content-Type": "{oob.data.x}"}, "body": "x"},
		"header name with a colon":    {"url": good, "headers": map[string]string{"X:Y": "z"}},
		"failure_body":                {"url": good, "failure_body": []map[string]string{{"match": "("}}},
		"empty failure_body":          {"url": good, "failure_body": []map[string]string{{"class": "refused"}}},
		"broken JSON":                 {"url": good, "body": `{"to":`},
		"placeholder outside quotes":  {"url": good, "body": `["a",{webhook.address}]`},
		"broken form":                 {"url": good, "content_type": "application/x-www-form-urlencoded", "body": "a=%zz"},
		"broken XML":                  {"url": good, "content_type": "application/xml", "body": "<a><b></a>"},
		"no XML":                      {"url": good, "content_type": "application/xml", "body": "a"},
		"placeholder as attribute":    {"url": good, "content_type": "application/xml", "body": "<a {oob.data.x}='1'/>"},
		"text that is missing":        {"url": good, "body": `"{webhook.text}"`},
		"text missing for the url":    {"url": good + "?t={webhook.text}"},
		"text in itself":              {"url": good, "text": "{webhook.text}"},
		"secret without prefix":       {"url": good, "secrets": []string{secret[6:]}},
		"secret that is not base64":   {"url": good, "secrets": []string{"whsec_" + password}},
		"long secret":                 {"url": good, "secrets": []string{"whsec_" + strings.Repeat("AAAA", 22)}},
		"secret of an unset variable": {"url": good, "secrets": []string{"{env.OOB_TEST_UNSET}"}},
		"success 500":                 {"url": good, "success": []string{"500"}},
		"success in words":            {"url": good, "success": []string{"ok"}},
	} {
		_, err := load(t, options)
		if err == nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		for _, s := range []string{password, secret[6:]} {
			if strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v quotes a secret", name, err)
			}
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, value := range slices.Concat(hostile, []string{"..", "@evil.example.com", "//evil.example.com"}) {
		f.Add(value)
	}
	p, err := newPlan(&Webhook{URL: "https://sms.example.com/a/{oob.data.x}/b?q={oob.data.x}"}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		u, err := p.expandURL(p.filled(message(map[string]string{"oob.data.x": value}), nil))
		if err != nil {
			return
		}
		again, err := url.Parse(u.String())
		if err != nil || again.Host != "sms.example.com" || again.Scheme != "https" || again.User != nil || again.Fragment != "" ||
			again.Path != "/a/"+value+"/b" || again.Query().Get("q") != value || len(again.Query()) != 1 {
			t.Errorf("%q leads to %v, %v", value, again, err)
		}
	})
}

// FuzzBody puts a value into a body of each media type. Another parser reads the
// same value there, in a body that is otherwise as it was.
func FuzzBody(f *testing.F) {
	var plans []*plan
	for _, form := range []struct {
		contentType string
		body        dispatchers.Template
	}{
		{"application/json", `{"a":"x","v":"{oob.data.x}"}`},
		{"text/plain", "a {oob.data.x}."},
		{"application/x-www-form-urlencoded", "a=x&v={oob.data.x}"},
		{"application/x-www-form-urlencoded; charset=ISO-8859-1", "a=x&v={oob.data.x}"},
		{"application/xml", `<b a="{oob.data.x}"><v>{oob.data.x}</v></b>`},
		{"text/xml; charset=iso-8859-1", `<?xml version="1.0" encoding="ISO-8859-1"?><b a="{oob.data.x}"><v>{oob.data.x}</v></b>`},
	} {
		p, err := newPlan(&Webhook{URL: "https://sms.example.com/", ContentType: form.contentType, Body: &form.body}, nil)
		if err != nil {
			f.Fatal(err)
		}
		for _, value := range hostile {
			f.Add(value, byte(len(plans)))
		}
		plans = append(plans, p)
	}
	f.Fuzz(func(t *testing.T, value string, form byte) {
		text := string([]rune(value)) // what is not UTF-8 becomes U+FFFD
		questionMarks := strings.Map(func(r rune) rune {
			if r > unicode.MaxLatin1 {
				return '?'
			}
			return r
		}, text)
		p := plans[int(form)%len(plans)]
		filled := p.filled(message(map[string]string{"oob.data.x": value}), nil)
		body := p.format.encode(filled.Expand(*p.body, p.format.escape))
		switch p.format.name {
		case "JSON":
			var got map[string]string
			if err := json.Unmarshal(body, &got); err != nil || !maps.Equal(got, map[string]string{"a": "x", "v": text}) {
				t.Errorf("%q is read as %q, %v", value, got, err)
			}
		case "a form":
			want := value
			if strings.Contains(p.contentType, "8859") {
				want = string(latin1(questionMarks, nil))
			}
			if got, err := url.ParseQuery(string(body)); err != nil || len(got) != 2 || got.Get("a") != "x" || got.Get("v") != want {
				t.Errorf("%s: %q is read as %q, %v", p.contentType, value, got, err)
			}
		case "XML":
			var got struct {
				A string   `xml:"a,attr"`
				V []string `xml:"v"`
			}
			d := xml.NewDecoder(bytes.NewReader(body))
			d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) {
				latin, err := io.ReadAll(r)
				runes := make([]rune, len(latin))
				for i, b := range latin {
					runes[i] = rune(b)
				}
				return strings.NewReader(string(runes)), err
			}
			want := strings.Map(func(r rune) rune { // the characters of XML 1.0, section 2.2
				if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\ufffe' || r == '\uffff' {
					return '\ufffd'
				}
				return r
			}, text)
			if err := d.Decode(&got); err != nil || got.A != want || len(got.V) != 1 || got.V[0] != want {
				t.Errorf("%s: %q is read as %+q, %v", p.contentType, value, got, err)
			}
		default:
			if got, found := strings.CutPrefix(string(body), "a "); !found || !strings.HasSuffix(got, ".") || strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
				t.Errorf("%q becomes %q", value, body)
			}
		}
	})
}
