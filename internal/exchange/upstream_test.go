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

// typed plays a nevisFIDO that answers with a body of any media type.
func typed(contentType, body string) Next {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header()["Content-Type"] = []string{contentType}
		_, err := io.WriteString(w, body)
		return err
	}
}

// with sets headers before nevisFIDO's answer.
func with(next Next, headers ...string) Next {
	return func(w http.ResponseWriter, r *http.Request) error {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		return next(w, r)
	}
}

// T23: a nevisFIDO that is broken, or not what it says it is.
func TestUpstreamMatrix(t *testing.T) {
	const badGateway = http.StatusBadGateway
	for name, c := range map[string]struct {
		play   func(good Next, token, link string) Next
		status int
		result nevisfido.DispatchResult // "" where nevisFIDO's own answer is relayed, or none
		body   string                   // of an answer that is relayed
		reason string
	}{
		"good": {
			play:   func(good Next, _, _ string) Next { return good },
			status: 200, result: nevisfido.Dispatched,
		},
		"JSON with a charset": {
			play: func(good Next, _, _ string) Next {
				return func(w http.ResponseWriter, r *http.Request) error {
					w = httptestTyped{w, "application/json; charset=\"UTF-8\""}
					return good(w, r)
				}
			},
			status: 200, result: nevisfido.Dispatched,
		},
		"HTML, 200": {
			play:   func(Next, string, string) Next { return typed("text/html", "<html>maintenance</html>") },
			status: 200, body: "<html>maintenance</html>", reason: "upstream_status",
		},
		"JSON without saying so": {
			play:   func(Next, string, string) Next { return typed("text/plain", `{"dispatchResult":"userNotFound"}`) },
			status: 200, body: `{"dispatchResult":"userNotFound"}`, reason: "upstream_status",
		},
		"JSON in UTF-16": {
			play:   func(Next, string, string) Next { return typed("application/json; charset=utf-16", "{\x00}\x00") },
			status: 200, body: "{\x00}\x00", reason: "upstream_status",
		},
		"401": {
			play: func(Next, string, string) Next {
				return with(respond(401, `{"error":1}`), "WWW-Authenticate", "Bearer")
			},
			status: 401, body: `{"error":1}`, reason: "upstream_status",
		},
		"302": {
			play: func(Next, string, string) Next {
				return with(respond(302, ""), "Location", "https://login.example.com/")
			},
			status: 302, reason: "upstream_status",
		},
		"204": {play: func(Next, string, string) Next { return respond(204, "") }, status: 204, reason: "upstream_status"},
		"500": {play: func(Next, string, string) Next { return respond(500, "oops") }, status: 500, body: "oops", reason: "upstream_status"},
		"500 with an endless body": {
			play:   func(Next, string, string) Next { return respond(500, strings.Repeat("x", 1<<20)) },
			status: 500, body: strings.Repeat("x", 1<<20), reason: "upstream_status",
		},
		"103, then the answer": {
			play: func(good Next, _, _ string) Next {
				return func(w http.ResponseWriter, r *http.Request) error {
					w.Header().Set("Link", "</style.css>")
					w.WriteHeader(103)
					w.Header().Del("Link")
					return good(w, r)
				}
			},
			status: 200, result: nevisfido.Dispatched,
		},
		"101": {
			play: func(Next, string, string) Next {
				return func(w http.ResponseWriter, _ *http.Request) error {
					w.WriteHeader(101)
					if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
						return fmt.Errorf("hijacked: %w", err)
					}
					return nil
				}
			},
			status: badGateway, reason: "upstream_answer",
		},
		"length too short": {
			play:   func(good Next, _, _ string) Next { return with(good, "Content-Length", "10") },
			status: 200, result: nevisfido.Dispatched,
		},
		"length too long": {
			play:   func(good Next, _, _ string) Next { return with(good, "Content-Length", "60000") },
			status: 200, result: nevisfido.Dispatched,
		},
		"length beyond the limit": {
			play:   func(good Next, _, _ string) Next { return with(good, "Content-Length", "99999999") },
			status: badGateway, reason: "upstream_answer",
		},
		"an endless body": {
			play: func(Next, string, string) Next {
				return func(w http.ResponseWriter, _ *http.Request) error {
					w.Header().Set("Content-Type", "application/json")
					chunk := bytes.Repeat([]byte(" "), 32<<10)
					for range 1024 {
						if _, err := w.Write(chunk); err != nil {
							return err
						}
					}
					return nil
				}
			},
			status: badGateway, reason: "upstream_answer",
		},
		"nothing": {
			play:   func(Next, string, string) Next { return func(http.ResponseWriter, *http.Request) error { return nil } },
			status: badGateway, reason: "upstream_answer",
		},
		"an empty body":  {play: func(Next, string, string) Next { return respond(200, "") }, status: 200, reason: "upstream_answer"},
		"truncated JSON": {play: func(Next, string, string) Next { return respond(200, `{"token":"a","dispatchResult":"dispatched"`) }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"an error": {
			play: func(Next, string, string) Next {
				return func(http.ResponseWriter, *http.Request) error { return errors.New("dial: refused") }
			},
			status: 500, reason: "upstream_unavailable",
		},
		"an error that asks for a status": {
			play: func(Next, string, string) Next {
				return func(http.ResponseWriter, *http.Request) error { return statusError(504, "timeout") }
			},
			status: 504, reason: "upstream_unavailable",
		},
		"gzip":                 {play: func(good Next, _, _ string) Next { return with(good, "Content-Encoding", "gzip") }, status: badGateway, reason: "upstream_answer"},
		"identity":             {play: func(good Next, _, _ string) Next { return with(good, "Content-Encoding", "identity") }, status: 200, result: nevisfido.Dispatched},
		"must not be buffered": {play: func(good Next, _, _ string) Next { return with(good, "Incremental", "?1") }, status: badGateway, reason: "upstream_answer"},
		"no token": {play: func(_ Next, _, link string) Next {
			return answerWith(`{"dispatchResult":"dispatched","dispatcherInformation":{"response":%q}}`, link)
		}, status: 200, result: nevisfido.DispatchError, reason: "upstream_token"},
		"a token of null": {play: func(_ Next, _, link string) Next {
			return answerWith(`{"token":null,"dispatchResult":"dispatched","dispatcherInformation":{"response":%q}}`, link)
		}, status: 200, result: nevisfido.DispatchError, reason: "upstream_token"},
		"a token of 1 MiB": {play: func(Next, string, string) Next {
			return respond(200, `{"dispatchResult":"dispatched","token":"`+strings.Repeat("a", 1<<20)+`"}`)
		}, status: badGateway, reason: "upstream_answer"},
		"a token of 257": {play: func(Next, string, string) Next {
			return respond(200, `{"dispatchResult":"dispatched","token":"`+strings.Repeat("a", 257)+`"}`)
		}, status: 200, result: nevisfido.DispatchError, reason: "upstream_token"},
		"a token with a break": {play: func(Next, string, string) Next {
			return respond(200, `{"dispatchResult":"dispatched","token":"a\r\nb"}`)
		}, status: 200, result: nevisfido.DispatchError, reason: "upstream_token"},
		"a token with quotes": {play: func(Next, string, string) Next { return respond(200, `{"dispatchResult":"dispatched","token":"a\"b"}`) }, status: 200, result: nevisfido.DispatchError, reason: "upstream_token"},
		"a token of another": {play: func(_ Next, _, link string) Next {
			return answerWith(`{"token":"another","dispatchResult":"dispatched","dispatcherInformation":{"response":%q}}`, link)
		}, status: 200, result: nevisfido.DispatchError, reason: "token_mismatch"},
		"a number for a token": {play: func(Next, string, string) Next { return respond(200, `{"dispatchResult":"dispatched","token":5}`) }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"a list for a result":  {play: func(Next, string, string) Next { return respond(200, `{"dispatchResult":["dispatched"],"token":"a"}`) }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"text for information": {play: func(Next, string, string) Next {
			return respond(200, `{"dispatchResult":"dispatched","token":"a","dispatcherInformation":"x"}`)
		}, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"duplicate names": {play: func(Next, string, string) Next {
			return respond(200, `{"dispatchResult":"dispatchError","dispatchResult":"dispatched","token":"a"}`)
		}, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"an array":          {play: func(Next, string, string) Next { return respond(200, `[]`) }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"junk after it":     {play: func(Next, string, string) Next { return respond(200, `{"dispatchResult":"dispatched"} x`) }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"a byte order mark": {play: func(Next, string, string) Next { return respond(200, "\xef\xbb\xbf{}") }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"bad UTF-8":         {play: func(Next, string, string) Next { return respond(200, "{\"a\":\"\xff\"}") }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"nested deeply": {play: func(Next, string, string) Next {
			return respond(200, strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 40))
		}, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"no result":       {play: func(_ Next, token, _ string) Next { return answerWith(`{"token":%q}`, token) }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"an empty object": {play: func(Next, string, string) Next { return respond(200, `{}`) }, status: 200, result: nevisfido.DispatchError, reason: "upstream_answer"},
		"response as object": {play: func(_ Next, token, _ string) Next {
			return answerWith(`{"token":%q,"dispatchResult":"dispatched","dispatcherInformation":{"response":{"a":1}}}`, token)
		}, status: 200, result: nevisfido.InternalError, reason: "redeem_url"},
		"no information": {play: func(_ Next, token, _ string) Next {
			return answerWith(`{"token":%q,"dispatchResult":"dispatched"}`, token)
		}, status: 200, result: nevisfido.InternalError, reason: "redeem_url"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			g := h.push()
			h.upstream.answer = c.play(h.upstream.answer, h.token, h.plainLink(h.token))
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
			if c.status == badGateway && len(a.Header()) != 0 {
				t.Errorf("left behind: %v", a.Header())
			}
		})
	}
}

func answerWith(format string, args ...any) Next {
	return respond(http.StatusOK, fmt.Sprintf(format, args...))
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

// httptestTyped answers with another media type than the handler says.
type httptestTyped struct {
	http.ResponseWriter
	contentType string
}

func (w httptestTyped) WriteHeader(status int) {
	w.Header().Set("Content-Type", w.contentType)
	w.ResponseWriter.WriteHeader(status)
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
		`{ "dispatcher" : "link", "n":1.50, "x":[ ] }`: `{ "dispatcher" : "other", "n":1.50, "x":[ ] }`,
		`{"dispatcher":"\u006cink","link":"link"}`:     `{"dispatcher":"other","link":"link"}`,
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
