package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// with sets headers before nevisFIDO's answer.
func with(next Next, headers ...string) Next {
	return func(w http.ResponseWriter, r *http.Request) error {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		return next(w, r)
	}
}

// An upstreamCase is what nevisFIDO answers, and what comes of it.
type upstreamCase struct {
	next   Next
	status int
	result nevisfido.DispatchResult // "" where nevisFIDO's own answer is relayed, or none
	body   string                   // of an answer that is relayed
	reason string
}

// upstreamCases are a nevisFIDO that is broken, or not what it says it is.
func upstreamCases(h *harness) map[string]upstreamCase {
	good, link := h.upstream.answer, h.plainLink(h.token)
	as := func(contentType string, next Next) Next {
		return func(w http.ResponseWriter, r *http.Request) error { return next(typed{w, contentType}, r) }
	}
	delivered := func(next Next) upstreamCase {
		return upstreamCase{next: next, status: 200, result: nevisfido.Dispatched}
	}
	relayed := func(status int, body string, next Next) upstreamCase {
		return upstreamCase{next: next, status: status, body: body, reason: "upstream_status"}
	}
	refused := func(next Next) upstreamCase {
		return upstreamCase{next: next, status: http.StatusBadGateway, reason: "upstream_answer"}
	}
	failed := func(result nevisfido.DispatchResult, reason, format string, args ...any) upstreamCase {
		return upstreamCase{next: respond(200, fmt.Sprintf(format, args...)), status: 200, result: result, reason: reason}
	}
	padded := func(size int) string {
		text := string(toJSON(h.tb, map[string]any{"token": h.token, "dispatchResult": "dispatched", "dispatcherInformation": map[string]any{"response": link}}))
		return text + strings.Repeat(" ", size-len(text))
	}
	cases := map[string]upstreamCase{
		"good":                delivered(good),
		"JSON with a charset": delivered(as("application/json; charset=\"UTF-8\"", good)),
		"103, then the answer": delivered(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(103)
			w.Header().Del("Link")
			return good(w, r)
		}),
		"length too short":     delivered(with(good, "Content-Length", "10")),
		"length too long":      delivered(with(good, "Content-Length", "60000")),
		"identity":             delivered(with(good, "Content-Encoding", "Identity")),
		"may be buffered":      delivered(with(good, "Incremental", "?0")),
		"of the largest size":  delivered(respond(200, padded(64<<10))),
		"HTML, 200":            relayed(200, "<html>", as("text/html", respond(200, "<html>"))),
		"JSON without a type":  relayed(200, `{"dispatchResult":"userNotFound"}`, as("text/plain", respond(200, `{"dispatchResult":"userNotFound"}`))),
		"JSON in UTF-16":       relayed(200, "{\x00}\x00", as("application/json; charset=utf-16", respond(200, "{\x00}\x00"))),
		"401":                  relayed(401, `{"error":1}`, with(respond(401, `{"error":1}`), "WWW-Authenticate", "Bearer")),
		"302":                  relayed(302, "", with(respond(302, ""), "Location", "https://login.example.com/")),
		"204":                  relayed(204, "", respond(204, "")),
		"500":                  relayed(500, "oops", respond(500, "oops")),
		"500, endless":         relayed(500, strings.Repeat("x", 1<<20), respond(500, strings.Repeat("x", 1<<20))),
		"an empty body":        {next: respond(200, ""), status: 200, reason: "upstream_answer"},
		"gzip":                 refused(with(good, "Content-Encoding", "gzip")),
		"identity, then gzip":  refused(with(good, "Content-Encoding", "identity", "Content-Encoding", "gzip")),
		"must not be buffered": refused(with(good, "Incremental", "?1;x=1")),
		"length of too much":   refused(with(good, "Content-Length", "99999999")),
		"a byte too much":      refused(respond(200, padded(64<<10+1))),
		"nothing":              refused(func(http.ResponseWriter, *http.Request) error { return nil }),
		"an endless body": refused(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "application/json")
			for range 1024 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 32<<10)); err != nil {
					return err
				}
			}
			return nil
		}),
		"101": refused(func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(101)
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				return fmt.Errorf("hijacked: %w", err)
			}
			return nil
		}),
		"an error": {
			next: func(http.ResponseWriter, *http.Request) error { return errors.New("dial: refused") }, status: 500, reason: "upstream_unavailable",
		},
		"an error that asks for a status": {
			next: func(http.ResponseWriter, *http.Request) error { return statusError(504, "timeout") }, status: 504, reason: "upstream_unavailable",
		},
		"no token":           failed(nevisfido.DispatchError, "upstream_token", `{"dispatchResult":"dispatched","dispatcherInformation":{"response":%q}}`, link),
		"a token of another": failed(nevisfido.DispatchError, "token_mismatch", `{"token":"another","dispatchResult":"dispatched","dispatcherInformation":{"response":%q}}`, link),
	}
	for name, token := range map[string]string{
		"null": "null", "257 letters": `"` + strings.Repeat("a", 257) + `"`, "with a break": `"a\r\nb"`, "with quotes": `"a\"b"`,
	} {
		cases["a token, "+name] = failed(nevisfido.DispatchError, "upstream_token", `{"token":%s,"dispatchResult":"dispatched","dispatcherInformation":{"response":%q}}`, token, link)
	}
	for name, information := range map[string]string{"none": `{}`, "null": `null`, "of an object": `{"response":{"a":1}}`} {
		cases["information, "+name] = failed(nevisfido.InternalError, "redeem_url", `{"token":%q,"dispatchResult":"dispatched","dispatcherInformation":%s}`, h.token, information)
	}
	for name, body := range map[string]string{
		"truncated":            `{"token":"a","dispatchResult":"dispatched"`,
		"a number for a token": `{"dispatchResult":"dispatched","token":5}`,
		"a list for a result":  `{"dispatchResult":["dispatched"],"token":"a"}`,
		"text for information": `{"dispatchResult":"dispatched","token":"a","dispatcherInformation":"x"}`,
		"duplicate names":      `{"dispatchResult":"dispatchError","dispatchResult":"dispatched","token":"a"}`,
		"an array":             `[]`,
		"junk after it":        `{"dispatchResult":"dispatched"} x`,
		"a byte order mark":    "\xef\xbb\xbf{}",
		"bad UTF-8":            "{\"a\":\"\xff\"}",
		"nested deeply":        strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
		"no result":            `{"token":"a"}`,
		"an empty object":      `{}`,
	} {
		cases["JSON, "+name] = failed(nevisfido.DispatchError, "upstream_answer", "%s", body)
	}
	return cases
}

// typed is an answer with another media type than its handler says.
type typed struct {
	http.ResponseWriter
	contentType string
}

func (w typed) WriteHeader(status int) {
	w.Header().Set("Content-Type", w.contentType)
	w.ResponseWriter.WriteHeader(status)
}

// T23: a nevisFIDO that is broken, or not what it says it is.
func TestUpstreamMatrix(t *testing.T) {
	for name := range upstreamCases(newHarness(t)) {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			c := upstreamCases(h)[name]
			g := h.push()
			h.upstream.answer = c.next
			a := h.dispatch("push")
			if a.status() != c.status {
				t.Fatalf("status %d, want %d (%v)", a.status(), c.status, a.err)
			}
			if c.result != "" {
				a.wantResult(t, c.result)
			} else if a.Body.String() != c.body {
				t.Errorf("the caller got %.200s", a.Body)
			}
			if delivered := len(g.messages()) == 1; delivered != (c.result == nevisfido.Dispatched) {
				t.Errorf("delivered: %v", delivered)
			}
			if record := h.seen.one(t); record.Reason != c.reason {
				t.Errorf("the observer was told %q, want %q", record.Reason, c.reason)
			}
			if c.status == http.StatusBadGateway && len(a.Header()) != 0 {
				t.Errorf("left behind: %v", a.Header())
			}
		})
	}
}

// A relayed answer keeps its header.
func TestRelayedHeaders(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.upstream.answer = with(respond(401, "x"), "WWW-Authenticate", "Bearer", "ETag", `"1"`, "Cache-Control", "private", "Content-Length", "1")
	a := h.dispatch("push")
	for name, want := range map[string]string{"WWW-Authenticate": "Bearer", "ETag": `"1"`, "Cache-Control": "private", "Content-Length": "1"} {
		if got := a.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The proxy panics when an answer breaks off. The server has to see that, and
// the observer hears of it.
func TestAbortedAnswer(t *testing.T) {
	for name, written := range map[string]string{"before": "", "in the middle": `{"token":"a","dispatchResult":"dispatched"`, "at the end": `{"token":"a","dispatchResult":"dispatched"}`} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			g := h.push()
			h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
				if written != "" {
					_ = respond(http.StatusOK, written)(w, r)
				}
				panic(http.ErrAbortHandler)
			}
			w := httptest.NewRecorder()
			var cause any
			func() {
				defer func() { cause = recover() }()
				_ = h.ServeHTTP(w, newRequest(t, http.MethodPost, authentication, h.body("push")), h.upstream.next)
			}()
			if err, ok := cause.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("the server sees %v", cause)
			}
			if w.Body.Len() != 0 || len(w.Header()) != 0 || len(g.messages()) != 0 {
				t.Errorf("something was sent: %s, %v", w.Body, w.Header())
			}
			if len(h.Channels["push"].Slots) != 0 {
				t.Error("the place was not given back")
			}
			if record := h.seen.one(t); record.Reason != "upstream_aborted" || record.Result != nevisfido.DispatchError {
				t.Errorf("the observer was told %+v", record)
			}
		})
	}
}

// A nevisFIDO that hangs is given up, wherever it hangs.
func TestUpstreamTimeout(t *testing.T) {
	hang := func(written string, end func(error) error) Next {
		return func(w http.ResponseWriter, r *http.Request) error {
			if written != "" {
				_ = respond(http.StatusOK, written)(w, r)
			}
			<-r.Context().Done()
			return end(r.Context().Err())
		}
	}
	asError := func(err error) error { return err }
	asPanic := func(error) error { panic(http.ErrAbortHandler) }
	for name, next := range map[string]Next{
		"before its answer":  hang("", asError),
		"within its answer":  hang(`{"token":"a","dispatchResult":"dispatched"`, asPanic),
		"without an answer":  hang("", asPanic),
		"and tells an error": hang(`{"token":"a","dispatchResult":"dispatched"}`, asError),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.UpstreamTimeout = 3 * time.Second
				g := h.push()
				h.upstream.answer = next
				a := h.dispatch("push")
				if a.status() != http.StatusGatewayTimeout || a.Body.Len() != 0 || len(g.messages()) != 0 {
					t.Errorf("status %d (%v), %d messages, answer %s", a.status(), a.err, len(g.messages()), a.Body)
				}
				if r := h.seen.one(t); r.Reason != "upstream_timeout" || r.Result != nevisfido.DispatchError || r.Took != 3*time.Second {
					t.Errorf("on record: %+v", r)
				}
				if len(h.Channels["push"].Slots) != 0 {
					t.Error("the slot was not given back")
				}
			})
		})
	}
}

// What nevisFIDO is sent: the request with our dispatcher's name replaced.
func TestForwardedRequest(t *testing.T) {
	for body, want := range map[string]string{
		`{ "dispatcher" : "link", "n":1.50e+02, "x":[ 12345678901234567890123, "\u00e9\/" ] }`: `{ "dispatcher" : "other", "n":1.50e+02, "x":[ 12345678901234567890123, "\u00e9\/" ] }`,
		`{"dispatcher":"\u006cink","link":"link"}`:                                             `{"dispatcher":"other","link":"link"}`,
	} {
		h := newHarness(t)
		h.UpstreamDispatcher = "other"
		h.link(Off)
		r := newRequest(t, http.MethodPost, authentication, body)
		r.Header.Set("Accept-Encoding", "gzip, br")
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
		r.Header.Set("Authorization", "Basic abc")
		r.TransferEncoding, r.ContentLength = []string{"chunked"}, -1
		h.send(r).wantResult(t, nevisfido.Dispatched)
		got := h.upstream.one(t)
		if got.body != want || got.length != int64(len(want)) || got.coding != nil || got.header.Get("Content-Length") != fmt.Sprint(len(want)) {
			t.Errorf("forwarded %s, %d bytes (%s)", got.body, got.length, got.header.Get("Content-Length"))
		}
		if got.header.Get("Accept-Encoding") != "identity" || got.header.Get("Authorization") != "Basic abc" {
			t.Errorf("forwarded header %v", got.header)
		}
		if r.Header.Get("Accept-Encoding") != "gzip, br" {
			t.Error("the caller's request was changed")
		}
	}
}

func TestDefaultDispatcherOfTheTarget(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	body := `{"dispatchTargetId":"` + h.targetID + `"}`
	a := h.send(newRequest(t, http.MethodPost, authentication, body))
	a.wantResult(t, nevisfido.Dispatched)
	if g.one(t); a.outcome(t).Information.Name != "push" {
		t.Errorf("got %s", a.Body)
	}
	if want := strings.TrimSuffix(body, "}") + `,"dispatcher":"link"}`; h.upstream.one(t).body != want {
		t.Errorf("forwarded %s", h.upstream.one(t).body)
	}
}

// FuzzUpstreamAnswer feeds any answer through: nothing panics, and the caller
// is told "dispatched" if and only if a message was delivered, which the
// device can open where nevisFIDO did not seal it.
func FuzzUpstreamAnswer(f *testing.F) {
	h := newHarness(f)
	for _, seed := range []string{
		string(toJSON(f, map[string]any{"token": h.token, "dispatchResult": "dispatched", "dispatcherInformation": map[string]any{"response": h.plainLink(h.token)}})),
		`{"token":"a","dispatchResult":"dispatched"}`, `{"dispatchResult":"dispatchError"}`, `{"dispatchResult":"dispatched","dispatchResult":"x"}`,
		`{"token":"a","dispatcherInformation":{"response":"x://?dispatchTokenResponse=e30"},"dispatchResult":"dispatched"}`,
		`{"DispatchResult":"dispatched","dispatchResult":"dispatched "}`, `[]`, `{`, "\xff", "",
	} {
		f.Add([]byte(seed), 200, "", "")
	}
	f.Add([]byte(`{}`), 103, "Content-Length", "5")
	f.Add([]byte(`{}`), 500, "Content-Encoding", "gzip")
	f.Fuzz(func(t *testing.T, body []byte, status int, header, value string) {
		if status < 100 || status > 999 || !validHeader(header, value) {
			return
		}
		h := newHarness(t)
		h.RedeemURL = redeemURL
		g := h.push()
		h.upstream.answer = with(respond(status, string(body)), header, value)
		a := h.dispatch("push")
		if a.err != nil || a.Code != http.StatusOK || !strings.HasPrefix(a.Header().Get("Content-Type"), "application/json") {
			if len(g.messages()) != 0 {
				t.Errorf("status %d after a delivery", a.status())
			}
			return
		}
		var o struct {
			Result string `json:"dispatchResult"`
		}
		if err := json.Unmarshal(a.Body.Bytes(), &o); err != nil {
			if len(g.messages()) != 0 || !bytes.Equal(a.Body.Bytes(), body) {
				t.Errorf("after %d messages the caller got %q", len(g.messages()), a.Body)
			}
			return
		}
		if strings.EqualFold(o.Result, "dispatched") != (len(g.messages()) == 1) {
			t.Errorf("%q after %d messages, for %q", o.Result, len(g.messages()), body)
		}
	})
}

func validHeader(name, value string) bool {
	r := &http.Request{Method: http.MethodGet, URL: nil, Header: http.Header{name: {value}}}
	return name == "" || r.Header.Write(io.Discard) == nil && !strings.ContainsAny(name+value, "\r\n\x00")
}
