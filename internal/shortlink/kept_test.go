package shortlink

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// FuzzKept reads what a store holds of a short link. A browser can hand what is read
// to an app, and to nothing else; it is written as the same record; an error quotes
// nothing.
func FuzzKept(f *testing.F) {
	const secret = "Zx7Q-canary"
	link := nevisfido.Link("myapp://open", nevisfido.NewContent(secret, "https://fido.example.com/redeem").Envelope())
	for _, seed := range []string{
		`{"schema":1,"message":"id","expires":1800000000,"link":"` + link + `"}`, `{"schema":1,"message":"id","expires":-1,"link":"javascript:` + secret + `?dispatchTokenResponse=e30"}`,
		`{"schema":1,"link":"` + secret + `"}`, `{"schema":2,"` + secret + `":1}`, `{"schema":1,"expires":1e400}`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		k, err := parseKept(content)
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the record: %v", err)
			}
			return
		}
		u, err := url.Parse(k.Link)
		if err != nil || u.Scheme == "" || strings.EqualFold(u.Scheme, "javascript") || strings.EqualFold(u.Scheme, "data") {
			t.Errorf("the link is %q", k.Link)
		}
		text, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseKept(text); err != nil || *again != *k {
			t.Errorf("%+v becomes %+v, %v", k, again, err)
		}
	})
}

// FuzzHandle asks for short links by paths that anybody may try. A path leads to a
// link only in the one form that a short link has, and its page is then covered.
func FuzzHandle(f *testing.F) {
	for _, path := range []string{
		"/oob/AAAAAAAAAAAAAAAAAAAAAAAA", "/oob/", "/OOB/AAAAAAAAAAAAAAAAAAAAAAAA", "/oob//AAAAAAAAAAAAAAAAAAAAAAAA", "/x/../oob/AAAAAAAAAAAAAAAAAAAAAAAA", "/oob;a/AAAAAAAAAAAAAAAAAAAAAAAA",
		"/oob/AAAAAAAAAAAAAAAAAAAAAAA%41", "/oob/AAAAAAAAAAAAAAAAAAAAAA\n\n", "/%6fob/AAAAAAAAAAAAAAAAAAAAAAA_", "\\oob\\x", "/oob./x",
	} {
		f.Add(path)
	}
	l := &Links{Paths: []string{"/oob"}, Namespace: "bank"}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r := &http.Request{URL: u}
		id, ok := l.id(r)
		if !ok {
			return
		}
		handle, found := strings.CutPrefix(u.EscapedPath(), "/oob/")
		if !l.Covers(r) || !found || !ValidID(id) || strings.Trim(handle, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("%q leads to %s", path, id)
		}
	})
}
