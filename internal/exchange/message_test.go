package exchange

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// withData returns a dispatch request with a text as dispatchInformation.data.
func (h *harness) withData(data string) *http.Request {
	body := `{"dispatcher":"push","dispatchTargetId":"` + h.targetID + `","dispatchInformation":{"data":` + data + `}}`
	return newRequest(h.tb, http.MethodPost, authentication, body)
}

// T14: whatever the caller sends, the app reads nevisFIDO's token and URL.
func TestReservedMembers(t *testing.T) {
	for name, data := range map[string]string{
		"object":           `{"token":"evil","redeem_url":"https://evil.example"}`,
		"text":             `"{\"token\":\"evil\",\"redeem_url\":\"https://evil.example\"}"`,
		"other case":       `{"TOKEN":"evil","Redeem_URL":"https://evil.example","toKen":"evil"}`,
		"escaped":          `{"\u0074oken":"evil","redeem\u005furl":"https://evil.example"}`,
		"Kelvin sign":      "{\"to\u212aen\":\"evil\"}",
		"null and numbers": `{"token":null,"redeem_url":1}`,
		"nested":           `{"nma_data":{"token":"evil"},"data":{"token":"evil"}}`,
	} {
		for from, response := range map[string]func(*harness) string{
			"link":  func(h *harness) string { return h.plainLink(h.token) },
			"built": func(*harness) string { return "" },
		} {
			t.Run(name+"/"+from, func(t *testing.T) {
				h := newHarness(t)
				h.RedeemURL = redeemURL
				h.upstream.answer = h.dispatched(response(h))
				g := h.push()
				h.send(h.withData(data)).wantResult(t, nevisfido.Dispatched)
				content := open(t, h.device, g.one(t))
				if content.Token != h.token || content.RedeemURL != redeemURL+"/authentication" {
					t.Errorf("the device reads %s", content.JSON())
				}
				untouched := nevisfido.NewContent(h.token, redeemURL+"/authentication")
				if name != "nested" && string(content.JSON()) != string(untouched.JSON()) {
					t.Errorf("the device reads %s", content.JSON())
				}
			})
		}
	}
}

func TestNevisFIDOsOwnMembersAreKept(t *testing.T) {
	h := newHarness(t)
	h.upstream.answer = h.dispatched(linkTo(`{"nma_data":{"token":"` + h.token + `","redeem_url":"u","orderNo":"upstream"},"nma_data_content_type":"application/json","nma_data_version":"7"}`))
	g := h.push()
	h.send(h.withData(`{"orderNo":"caller","extra":"x"}`)).wantResult(t, nevisfido.Dispatched)
	m := g.one(t)
	content := open(t, h.device, m)
	if string(content.Member("orderNo")) != `"upstream"` || string(content.Member("extra")) != `"x"` {
		t.Errorf("the device reads %s", content.JSON())
	}
	if m.Envelope.Version != "7" {
		t.Errorf("got version %s", m.Envelope.Version)
	}
}

func TestBuiltMessage(t *testing.T) {
	noURL := func(h *harness) string {
		return linkTo(`{"nma_data":{"token":"` + h.token + `"}}`)
	}
	for name, c := range map[string]struct {
		response func(*harness) string
		path     string
		want     string // redeem URL
		base     string
	}{
		"no response":             {func(*harness) string { return "" }, authentication, redeemURL + "/authentication", ""},
		"a QR code":               {func(*harness) string { return "iVBORw0KGgo=" }, authentication, redeemURL + "/authentication", ""},
		"a link without payload":  {func(*harness) string { return upstreamBase }, authentication, redeemURL + "/authentication", ""},
		"a link without its URL":  {noURL, authentication, redeemURL + "/authentication", upstreamBase},
		"another operation's URL": {func(*harness) string { return "" }, "/nevisfido/token/dispatch/deregistration", redeemURL + "/deregistration", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.RedeemURL = redeemURL
			h.upstream.answer = h.dispatched(c.response(h))
			g := h.push()
			h.send(newRequest(t, http.MethodPost, c.path, h.body("push"))).wantResult(t, nevisfido.Dispatched)
			m := g.one(t)
			content := open(t, h.device, m)
			if content.Token != h.token || content.RedeemURL != c.want {
				t.Errorf("the device reads %s", content.JSON())
			}
			if !strings.HasPrefix(m.Link, c.base) || (m.Link == "") != (c.base == "") {
				t.Errorf("got link %q", m.Link)
			}
			if m.Envelope.Version != nevisfido.EnvelopeVersion {
				t.Errorf("got version %q", m.Envelope.Version)
			}
		})
	}
}

func TestUnusablePayload(t *testing.T) {
	const payload = "upstream_payload"
	for name, c := range map[string]struct {
		response func(*harness) string
		want     nevisfido.DispatchResult
		reason   string
	}{
		"another token":         {func(h *harness) string { return h.plainLink("token-of-somebody-else") }, nevisfido.DispatchError, "token_mismatch"},
		"no token":              {func(*harness) string { return linkTo(`{"nma_data":{"redeem_url":"u"}}`) }, nevisfido.DispatchError, "token_mismatch"},
		"token in another case": {func(h *harness) string { return linkTo(`{"nma_data":{"Token":"` + h.token + `"}}`) }, nevisfido.DispatchError, "token_mismatch"},
		"plain that claims jose": {func(*harness) string {
			return linkTo(`{"nma_data":{"token":"x"},"nma_data_content_type":"application/jose"}`)
		}, nevisfido.DispatchError, payload},
		"text that claims jose": {func(*harness) string {
			return linkTo(`{"nma_data":"a.b.c.d.e","nma_data_content_type":"application/jose"}`)
		}, nevisfido.DispatchError, payload},
		"four parts of a JWE":        {func(*harness) string { return linkTo(`{"nma_data":"eyJhbGciOiJ4IiwiZW5jIjoieSJ9.b.c.d"}`) }, nevisfido.DispatchError, payload},
		"duplicate token":            {func(h *harness) string { return linkTo(`{"nma_data":{"token":"` + h.token + `","token":"x"}}`) }, nevisfido.DispatchError, payload},
		"not base64":                 {func(*harness) string { return upstreamBase + "?dispatchTokenResponse=%%%" }, nevisfido.DispatchError, payload},
		"not JSON":                   {func(*harness) string { return linkTo(`hello`) }, nevisfido.DispatchError, payload},
		"nma_data is a number":       {func(*harness) string { return linkTo(`{"nma_data":1}`) }, nevisfido.DispatchError, payload},
		"no redeem_url known":        {func(*harness) string { return "" }, nevisfido.InternalError, "redeem_url"},
		"no redeem_url in the link":  {func(h *harness) string { return linkTo(`{"nma_data":{"token":"` + h.token + `"}}`) }, nevisfido.InternalError, "redeem_url"},
		"a picture, no redeem_url":   {func(*harness) string { return "iVBORw0KGgo=" }, nevisfido.InternalError, "redeem_url"},
		"redeem_url is not a string": {func(h *harness) string { return linkTo(`{"nma_data":{"token":"` + h.token + `","redeem_url":1}}`) }, nevisfido.DispatchError, payload},
	} {
		for _, policy := range []Policy{Required, Off} {
			t.Run(name+"/"+string(policy), func(t *testing.T) {
				h := newHarness(t)
				h.upstream.answer = h.dispatched(c.response(h))
				g := h.push()
				h.Channels["push"].Encryption = policy
				h.dispatch("push").wantResult(t, c.want)
				if len(g.messages()) != 0 {
					t.Error("the dispatcher was called")
				}
				if got := h.seen.one(t).Reason; got != c.reason {
					t.Errorf("reason %q, want %q", got, c.reason)
				}
			})
		}
	}
}

func TestMessageForTemplates(t *testing.T) {
	h := newHarness(t)
	h.VisualCodeDigits = 4
	h.Lookup = func(r *http.Request, name string) (string, bool) {
		return r.Header.Get("X-" + name), name == "lang"
	}
	g := h.push()
	r := newRequest(t, http.MethodPost, authentication, `{"dispatcher":"push","dispatchTargetId":"`+h.targetID+`","dispatchInformation":{
		"notification":{"title":"T {oob.username}","body":"B"},"data":{"orderNo":"4711"},"encodingParameters":{"width": 300}}}`)
	r.Header.Set("X-Lang", "de")
	o := h.send(r).outcome(t)
	m := g.one(t)
	for template, want := range map[dispatchers.Template]string{
		"{oob.operation}/{oob.dispatcher}":                    "authentication/push",
		"{oob.username}":                                      h.username,
		"{oob.target}":                                        h.pushToken,
		"{oob.target_id}":                                     h.targetID,
		"{oob.device_id} {oob.name}":                          "device-1 phone",
		"{oob.notification.title} {oob.notification.body}":    "T {oob.username} B", // never expanded again
		"{oob.data.orderNo} {oob.data.none}":                  "4711 ",
		"{oob.visual_code}":                                   visualcode.Digits(h.token, 4),
		"{oob.link}":                                          m.Link,
		"{lang} {other}":                                      "de {other}",
		"{oob.token} {oob.redeem_url} {oob.nma_data}":         "  ",
		`{"text": "{oob.operation}", "list": [{"a":{}}], {}}`: `{"text": "authentication", "list": [{"a":{}}], {}}`,
	} {
		if got := m.Expand(template, nil); got != want {
			t.Errorf("%s: got %q, want %q", template, got, want)
		}
	}
	if string(m.EncodingParameters) != `{"width": 300}` {
		t.Errorf("encodingParameters: got %s", m.EncodingParameters)
	}
	if o.VisualCode != visualcode.Digits(h.token, 4) {
		t.Errorf("the caller is shown %q", o.VisualCode)
	}
	if m.Operation != nevisfido.Authentication || m.Dispatcher != "push" || m.Address != h.pushToken {
		t.Errorf("got %+v", m)
	}
	if record := h.seen.one(t); !m.Expires.Equal(record.Time.Add(h.Lifetimes[nevisfido.Authentication])) {
		t.Errorf("expires %s after a request at %s", m.Expires, record.Time)
	}
}

// The username of the record wins over the caller's word.
func TestUsernameOfTheRecord(t *testing.T) {
	h := newHarness(t)
	g := h.link(Off)
	h.send(newRequest(t, http.MethodPost, authentication, `{"dispatcher":"link","dispatchTargetId":"`+h.targetID+`","getUafRequest":{"context":"{\"username\":\"mallory\"}"}}`)).wantResult(t, nevisfido.Dispatched)
	h.send(newRequest(t, http.MethodPost, authentication, `{"dispatcher":"link","getUafRequest":{"context":"{\"username\":\"mallory\"}"}}`)).wantResult(t, nevisfido.Dispatched)
	got := g.messages()
	if name := got[0].Expand("{oob.username}", nil); name != h.username {
		t.Errorf("with a record: %q", name)
	}
	if name := got[1].Expand("{oob.username}", nil); name != "mallory" {
		t.Errorf("without: %q", name)
	}
	if record := h.seen.records[0]; record.User != h.Hash.Of("user", h.username) {
		t.Error("the record names the user whom the caller named")
	}
}

func TestMessageID(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	h.dispatch("push")
	h.dispatch("push")
	h.token = "token-another"
	h.upstream.answer = h.dispatched(h.plainLink(h.token))
	h.dispatch("push")
	got := g.messages()
	if got[0].ID == "" || got[0].ID != got[1].ID || got[0].ID == got[2].ID {
		t.Errorf("message ids %q, %q and, for another token, %q", got[0].ID, got[1].ID, got[2].ID)
	}
}
