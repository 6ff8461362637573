package nevisfido

import (
	"strings"
	"testing"
)

const requestBody = `{ "dispatchTargetId":"t-1",
  "dispatcher" : "push", "unknown": [1.0e3, {"a":1}], "big": 12345678901234567890,
  "dispatchInformation": {"notification": {"title": "Confirm", "body":"b", "sound":"x"}, "data": {"orderNo":"4711","n":1.50}},
  "getUafRequest": {"op":"Auth","context":"{\"username\":\"jeff\"}"} } `

func TestParseDispatchRequest(t *testing.T) {
	r, err := ParseDispatchRequest([]byte(requestBody))
	if err != nil {
		t.Fatal(err)
	}
	if r.Dispatcher != "push" || r.TargetID != "t-1" || r.Username != "jeff" {
		t.Errorf("got %q %q %q", r.Dispatcher, r.TargetID, r.Username)
	}
	if r.Notification != (Notification{Title: "Confirm", Body: "b"}) {
		t.Errorf("got %+v", r.Notification)
	}
	for member, want := range map[string]string{"orderNo": "4711", "n": "1.50"} {
		if got, ok := r.Data.Value(member); !ok || got != want {
			t.Errorf("data member %s: got %q, %v", member, got, ok)
		}
	}
}

func TestOnlyTheDispatcherChanges(t *testing.T) {
	for body, want := range map[string]string{
		requestBody:                         strings.Replace(requestBody, `"push"`, `"link"`, 1),
		`{"a":1}`:                           `{"a":1,"dispatcher":"link"}`,
		`{}`:                                `{"dispatcher":"link"}`,
		` { } `:                             ` { "dispatcher":"link"} `,
		`{"dispatcher":null,"a":"}"}`:       `{"dispatcher":"link","a":"}"}`,
		`{"a":{"dispatcher":"x"},"b":"\\"}`: `{"a":{"dispatcher":"x"},"b":"\\","dispatcher":"link"}`,
		`{"dispatcher":"x"}`:                `{"dispatcher":"link"}`,
		`{"dispatchInformation":null,"getUafRequest":null,"dispatchTargetId":null}`: `{"dispatchInformation":null,"getUafRequest":null,"dispatchTargetId":null,"dispatcher":"link"}`,
	} {
		r, err := ParseDispatchRequest([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if got := string(r.WithDispatcher("link")); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", body, got, want)
		}
	}
}

// What is no strict JSON is for the tests of strictjson.
func TestMalformedDispatchRequests(t *testing.T) {
	for name, body := range map[string]string{
		"not JSON":                        "dispatcher=push",
		"array":                           `[]`,
		"two BOMs":                        "\ufeff\ufeff{}",
		"BOM in UTF-16":                   "\xfe\xff\x00{\x00}",
		"duplicate":                       `{"dispatcher":"a","dispatcher":"b"}`,
		"wrong case":                      `{"Dispatcher":"a"}`,
		"wrong case beside":               `{"dispatcher":"a","DISPATCHER":"b"}`,
		"Kelvin sign":                     "{\"dispatchTargetId\":\"a\",\"di\u017fpatcher\":\"b\"}",
		"number for string":               `{"dispatcher":5}`,
		"object for string":               `{"dispatchTargetId":{}}`,
		"bool for string":                 `{"dispatchTargetId":true}`,
		"data is a number":                `{"dispatchInformation":{"data":1}}`,
		"information is an array":         `{"dispatchInformation":[]}`,
		"title is a number":               `{"dispatchInformation":{"notification":{"title":1}}}`,
		"title in wrong case":             `{"dispatchInformation":{"notification":{"Title":"A"}}}`,
		"body in wrong case beside title": `{"dispatchInformation":{"notification":{"title":"A","BODY":"B"}}}`,
		"getUafRequest is a string":       `{"getUafRequest":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseDispatchRequest([]byte(body)); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestByteOrderMarkIsTold(t *testing.T) {
	r, err := ParseDispatchRequest([]byte("\ufeff{\"dispatcher\":\"push\"}"))
	if err != nil || r.Dispatcher != "push" || r.Doubt == nil {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := ParseDispatchRequest([]byte(`{}`)); err != nil || r.Doubt != nil {
		t.Errorf("got %+v, %v", r, err)
	}
}

// Jackson reads a user name out of each of these, or another one than we would.
func TestAmbiguousUserNamesAreDoubted(t *testing.T) {
	for _, context := range []string{
		`"{\"username\":\"jeff\",\"username\":\"joe\"}"`, `"{\"username\":\"jeff\"} x"`, `"/**/{\"username\":\"jeff\"}"`, `"{'username':'jeff'}"`,
		`"{\"Username\":\"jeff\"}"`, `"{\"username\":true}"`, `"{\"username\":\"jeff\\ud800\"}"`, `"{"`, `["{\"username\":\"jeff\"}"]`,
		`"{}","Context":"{\"username\":\"jeff\"}"`,
	} {
		r, err := ParseDispatchRequest([]byte(`{"getUafRequest":{"op":"Auth","context":` + context + `}}`))
		if err != nil || r.Doubt == nil {
			t.Errorf("%s: the user is %q, %v", context, r.Username, err)
		}
	}
	for context, want := range map[string]string{
		`"{\"username\":\"jeff\"}"`: "jeff", `{"username":"jeff"}`: "jeff", `"{\"username\":4711}"`: "4711", `"hello"`: "", `"{}"`: "", `null`: "",
	} {
		r, err := ParseDispatchRequest([]byte(`{"getUafRequest":{"op":"Auth","context":` + context + `}}`))
		if err != nil || r.Doubt != nil || r.Username != want {
			t.Errorf("%s: the user is %q, %v, %v", context, r.Username, r.Doubt, err)
		}
	}
}

func TestDispatchAnswer(t *testing.T) {
	const body = `{"token":"tok-1","sessionId":"s","dispatcherInformation":{"name":"link","response":"https://x/?dispatchTokenResponse=e30"},"dispatchResult":"dispatched","n":1.00,"x":[1]}`
	a, err := ParseDispatchAnswer([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if a.Token != "tok-1" || a.SessionID != "s" || a.Result != Dispatched || !strings.HasPrefix(a.Response, "https://x/") {
		t.Errorf("got %+v", a)
	}
	got := string(a.WithOutcome(Outcome{Result: DispatchError, Dispatcher: "push"}))
	want := `{"token":"tok-1","sessionId":"s","dispatcherInformation":{"name":"push"},"dispatchResult":"dispatchError","n":1.00,"x":[1]}`
	if got != want {
		t.Errorf("failure:\ngot  %s\nwant %s", got, want)
	}
	got = string(a.WithOutcome(Outcome{Result: Dispatched, Dispatcher: "push", Response: []byte(`"ok"`), VisualCode: "0042", VisualCodePicture: `<svg a="b"/>`}))
	want = `{"token":"tok-1","sessionId":"s","dispatcherInformation":{"name":"push","response":"ok"},"dispatchResult":"dispatched","n":1.00,"x":[1],"visualCode":"0042","visualCodePicture":"<svg a=\"b\"/>"}`
	if got != want {
		t.Errorf("success:\ngot  %s\nwant %s", got, want)
	}
	if got := string(RefusalAnswer(Outcome{Result: DispatchError, Dispatcher: "push"})); got != `{"dispatcherInformation":{"name":"push"},"dispatchResult":"dispatchError"}` {
		t.Errorf("refusal: got %s", got)
	}
}

func TestValidToken(t *testing.T) {
	for token, want := range map[string]bool{
		"5c1fe0a2-7f1d-4f0e-9f5e-000000000000": true,
		"aZ09-._~+/=":                          true,
		strings.Repeat("a", 256):               true,
		strings.Repeat("a", 257):               false,
		"":                                     false,
		"a b":                                  false,
		"a\r\nb":                               false,
		"a\"b":                                 false,
		"é":                                    false,
	} {
		if got := ValidToken(token); got != want {
			t.Errorf("%q: got %v", token, got)
		}
	}
}

func FuzzDispatchRequest(f *testing.F) {
	f.Add([]byte(requestBody))
	for _, seed := range []string{
		`{}`, `{"dispatcher":null}`, `{"dispatchInformation":{"data":"x","encodingParameters":{"width":1}}}`, `{"a":"\ud83d\ude00"}`,
		`{"width":"300","height":200,"foregroundColor":"` + secret + `"}`, `{"dispatcher":["` + secret + `"]}`, `{"getUafRequest":{"context":"{\"username\":\"` + secret + `\"}"},"` + secret + `":{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if p, err := ParseEncodingParameters(body); quotes(err) || err == nil && (p.Width < 0 || p.Height < 0) {
			t.Errorf("%+v, %v", p, err)
		}
		r, err := ParseDispatchRequest(body)
		if err != nil {
			if quotes(err) {
				t.Error(err)
			}
			return
		}
		again, err := ParseDispatchRequest(r.WithDispatcher("link"))
		if err != nil {
			t.Fatalf("the rewritten request is malformed: %v", err)
		}
		if again.Dispatcher != "link" || again.TargetID != r.TargetID || again.Username != r.Username {
			t.Errorf("got %+v from %+v", again, r)
		}
		if back := again.WithDispatcher(r.Dispatcher); r.Dispatcher != "" && len(back) > len(body)+6*len(r.Dispatcher) {
			t.Errorf("the request grew: %q to %q", body, back)
		}
	})
}

func FuzzDispatchAnswer(f *testing.F) {
	f.Add([]byte(`{"token":"t","dispatchResult":"dispatched","dispatcherInformation":{"name":"link","response":{"a":1}}}`))
	f.Add([]byte(`{"dispatcherInformation":null}`))
	f.Add([]byte(`{"token":["` + secret + `"],"` + secret + `":1`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := ParseDispatchAnswer(body)
		if err != nil {
			if quotes(err) {
				t.Error(err)
			}
			return
		}
		again, err := ParseDispatchAnswer(a.WithOutcome(Outcome{Result: InternalError, Dispatcher: "x"}))
		if err != nil || again.Result != InternalError || again.Response != "" || again.Token != a.Token {
			t.Errorf("got %+v, %v", again, err)
		}
	})
}
