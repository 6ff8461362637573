package nevisfido

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func data(t *testing.T, json string) Data {
	t.Helper()
	r, err := ParseDispatchRequest([]byte(`{"dispatchInformation":{"data":` + json + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	return r.Data
}

func TestDataIsMergedFlat(t *testing.T) {
	for in, want := range map[string]string{
		`{"orderNo":"4711","n":{"a":1.0}}`:                      `{"token":"t","redeem_url":"https://r/x","orderNo":"4711","n":{"a":1.0}}`,
		`{"token":"evil","redeem_url":"https://evil"}`:          `{"token":"t","redeem_url":"https://r/x"}`,
		`{"TOKEN":"evil","Redeem_URL":"evil","to\u006ben":"e"}`: `{"token":"t","redeem_url":"https://r/x"}`,
		"{\"to\u212aen\":\"evil\",\"a\":1}":                     `{"token":"t","redeem_url":"https://r/x","a":1}`,
		`{"nested":{"token":"kept"}}`:                           `{"token":"t","redeem_url":"https://r/x","nested":{"token":"kept"}}`,
		`"free text"`:                                           `{"token":"t","redeem_url":"https://r/x","data":"free text"}`,
		`"{\"orderNo\":\"1\"}"`:                                 `{"token":"t","redeem_url":"https://r/x","orderNo":"1"}`,
		`{}`:                                                    `{"token":"t","redeem_url":"https://r/x"}`,
		`null`:                                                  `{"token":"t","redeem_url":"https://r/x"}`,
	} {
		got := string(NewContent("t", "https://r/x").WithData(data(t, in)).JSON())
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", in, got, want)
		}
	}
}

func TestEnvelopeForms(t *testing.T) {
	e := NewContent("t", "https://r/x").Envelope()
	const plain = `{"nma_data":{"token":"t","redeem_url":"https://r/x"},"nma_data_content_type":"application/json","nma_data_version":"1"}`
	if got := string(e.JSON()); got != plain {
		t.Errorf("plain: got %s", got)
	}
	sealed := e.Sealed("a.b.c.d.e")
	if got := string(sealed.JSON()); got != `{"nma_data":"a.b.c.d.e","nma_data_content_type":"application/jose","nma_data_version":"1"}` {
		t.Errorf("sealed: got %s", got)
	}
	if got := sealed.Fields()["nma_data"]; got != "a.b.c.d.e" {
		t.Errorf("sealed field: got %s", got)
	}
	if got := e.Fields()["nma_data"]; got != `{"token":"t","redeem_url":"https://r/x"}` {
		t.Errorf("plain field: got %s", got)
	}
	for _, encoded := range []string{
		sealed.Encoded(),
		sealed.Encoded() + "==",
		base64.StdEncoding.EncodeToString(sealed.JSON()),
	} {
		back, err := DecodeEnvelope(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := back.Text(); !ok || text != "a.b.c.d.e" || back.ContentType != ContentTypeSealed {
			t.Errorf("got %+v", back)
		}
	}
	if strings.ContainsAny(sealed.Encoded(), "=+/") {
		t.Error("the encoded envelope is padded, or not base64url")
	}
}

func TestEnvelopesThatCannotBeRead(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `{}`, `{"nma_data":null}`, `{"nma_data":5}`, `{"nma_data":[]}`,
		`{"nma_data":"a","nma_data_content_type":1}`, `{"nma_data":"a","nma_data":"b"}`,
	} {
		if _, err := ParseEnvelope([]byte(text)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func TestPlainContentAsTextIsRead(t *testing.T) {
	e, err := ParseEnvelope([]byte(`{"nma_data":"{\"token\":\"t\",\"redeem_url\":\"u\"}","nma_data_content_type":"application/json","nma_data_version":1}`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.PlainContent()
	if err != nil || c.Token != "t" || c.RedeemURL != "u" || e.Version != "1" {
		t.Errorf("got %+v, %v, version %q", c, err, e.Version)
	}
}

func TestLinks(t *testing.T) {
	e := NewContent("t", "u").Envelope()
	for base, want := range map[string]string{
		"https://app.example.com/open":              "https://app.example.com/open?dispatchTokenResponse=",
		"https://app.example.com/open?x=1":          "https://app.example.com/open?x=1&dispatchTokenResponse=",
		"https://app.example.com/open?":             "https://app.example.com/open?dispatchTokenResponse=",
		"myaccessapp://x-callback-url/authenticate": "myaccessapp://x-callback-url/authenticate?dispatchTokenResponse=",
	} {
		link := Link(base, e)
		if link != want+e.Encoded() {
			t.Errorf("%s: got %s", base, link)
		}
		gotBase, got, err := ParseLink(link)
		if err != nil || strings.TrimSuffix(base, "?") != gotBase || string(got.JSON()) != string(e.JSON()) {
			t.Errorf("%s: back %s, %s, %v", base, gotBase, got.JSON(), err)
		}
	}
	if got := Link("https://x/#/open", e); got != "https://x/?dispatchTokenResponse="+e.Encoded()+"#/open" {
		t.Errorf("fragment: got %s", got)
	}
}

func TestForeignLinks(t *testing.T) {
	encoded := NewContent("t", "u").Envelope().Encoded()
	for link, wantBase := range map[string]string{
		"https://x/?a=1&dispatchTokenResponse=" + encoded + "&b=2":   "https://x/?a=1&b=2",
		"https://x/?dispatchTokenResponse=" + encoded + "&b=2#f":     "https://x/?b=2#f",
		"https://x/?dispatchTokenResponse=" + encoded + "%3D%3D":     "https://x/",
		"https://x/?dispatchTokenResponse=" + encoded + "==":         "https://x/",
		"https://x/?dispatchTokenResponse=" + encoded + "#/fragment": "https://x/#/fragment",
		"https://x/#/route?dispatchTokenResponse=" + encoded:         "https://x/#/route",
	} {
		base, e, err := ParseLink(link)
		if err != nil || base != wantBase {
			t.Errorf("%s: got %q, %v", link, base, err)
			continue
		}
		if c, err := e.PlainContent(); err != nil || c.Token != "t" {
			t.Errorf("%s: content %+v, %v", link, c, err)
		}
	}
	for _, text := range []string{"", "successful dispatch", "iVBORw0KGgo=", "https://x/", "https://x/?other=1", "dispatchTokenResponse=e30"} {
		if _, _, err := ParseLink(text); !errors.Is(err, ErrNoPayload) {
			t.Errorf("%q: got %v", text, err)
		}
	}
	for _, text := range []string{"https://x/?dispatchTokenResponse=", "https://x/?dispatchTokenResponse=***", "https://x/?dispatchTokenResponse=e30"} {
		if _, _, err := ParseLink(text); err == nil || errors.Is(err, ErrNoPayload) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestValidBaseURL(t *testing.T) {
	for base, ok := range map[string]bool{
		"https://app.example.com/open":        true,
		"myapp://open":                        true,
		"https:///open":                       false,
		"/open":                               false,
		"https://x/\n":                        false,
		"https://x/a b":                       false,
		"":                                    false,
		"https://x/?dispatchTokenResponse=":   false,
		"intent://open#Intent;scheme=app;end": true,
		"javascript:alert(1)//":               false,
		"JavaScript://app/%0aalert(1)":        false,
		"data:text/html,<script>":             false,
		"file:///etc/passwd":                  false,
	} {
		if err := ValidBaseURL(base); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
}

func TestEncodingParameters(t *testing.T) {
	p, err := ParseEncodingParameters([]byte(`{"width":300,"height":"200","foregroundColor":"rgb(4, 125, 130)","margin":1}`))
	if err != nil || p != (EncodingParameters{Width: 300, Height: 200, ForegroundColor: "rgb(4, 125, 130)"}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if p, err := ParseEncodingParameters(nil); err != nil || p != (EncodingParameters{}) {
		t.Errorf("absent: got %+v, %v", p, err)
	}
	for _, bad := range []string{`[]`, `{"width":-1}`, `{"width":1.5}`, `{"width":"x"}`, `{"width":{}}`, `{"foregroundColor":1}`, `{"width":99999999999999999999}`} {
		if _, err := ParseEncodingParameters([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add(NewContent("t", "u").Envelope().Encoded())
	f.Add("e30")
	f.Fuzz(func(t *testing.T, encoded string) {
		e, err := DecodeEnvelope(encoded)
		if err != nil {
			if quotes(err) {
				t.Error(err)
			}
			return
		}
		if _, err := e.PlainContent(); quotes(err) {
			t.Error(err)
		}
		again, err := DecodeEnvelope(e.Encoded())
		if err != nil || string(again.JSON()) != string(e.JSON()) {
			t.Errorf("%q: got %s, %v; want %s", encoded, again.JSON(), err, e.JSON())
		}
	})
}

func FuzzLink(f *testing.F) {
	f.Add("https://x/?dispatchTokenResponse=e30&a=1#b")
	f.Add("a:?dispatchTokenResponse=" + NewContent("t", "u").Envelope().Encoded())
	f.Fuzz(func(t *testing.T, link string) {
		base, e, err := ParseLink(link)
		if err != nil || ValidBaseURL(base) != nil {
			return
		}
		if _, again, err := ParseLink(Link(base, e)); err != nil || string(again.JSON()) != string(e.JSON()) {
			t.Errorf("%q: base %q: %v", link, base, err)
		}
	})
}
