package exchange

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// wantNotForwarded checks that a request was answered with a status and went
// nowhere.
func (h *harness) wantNotForwarded(t *testing.T, a *answer, status int) {
	t.Helper()
	if a.status() != status || a.err == nil {
		t.Errorf("status %d (%v), want %d", a.status(), a.err, status)
	}
	if len(h.upstream.calls()) != 0 || a.Body.Len() != 0 {
		t.Errorf("forwarded %d times, answered %s", len(h.upstream.calls()), a.Body)
	}
}

// T20: what another parser could read otherwise is not forwarded.
func TestContentTypeMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, encoding []string
		accepted              bool
	}{
		"JSON":                 {contentType: []string{"application/json"}, accepted: true},
		"capitals":             {contentType: []string{"Application/JSON"}, accepted: true},
		"with a charset":       {contentType: []string{"application/json;charset=UTF-8"}, accepted: true},
		"charset in quotes":    {contentType: []string{`application/json; charset="utf-8"`}, accepted: true},
		"identity":             {contentType: []string{"application/json"}, encoding: []string{"identity"}, accepted: true},
		"another parameter":    {contentType: []string{"application/json; profile=x"}, accepted: true},
		"none":                 {},
		"empty":                {contentType: []string{""}},
		"text/json":            {contentType: []string{"text/json"}},
		"problem+json":         {contentType: []string{"application/problem+json"}},
		"a form":               {contentType: []string{"application/x-www-form-urlencoded"}},
		"UTF-16":               {contentType: []string{"application/json; charset=utf-16"}},
		"Latin 1":              {contentType: []string{"application/json; charset=iso-8859-1"}},
		"charset twice":        {contentType: []string{"application/json; charset=utf-8; charset=utf-16"}},
		"two headers":          {contentType: []string{"application/json", "text/plain"}},
		"twice the same":       {contentType: []string{"application/json", "application/json"}},
		"text/plain":           {contentType: []string{"text/plain"}},
		"jose":                 {contentType: []string{"application/jose"}},
		"any":                  {contentType: []string{"*/*"}},
		"two in one":           {contentType: []string{"application/json, text/plain"}},
		"a broken parameter":   {contentType: []string{"application/json; charset"}},
		"gzip":                 {contentType: []string{"application/json"}, encoding: []string{"gzip"}},
		"identity, then gzip":  {contentType: []string{"application/json"}, encoding: []string{"identity, gzip"}},
		"identity beside zstd": {contentType: []string{"application/json"}, encoding: []string{"identity", "zstd"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			r := newRequest(t, http.MethodPost, authentication, h.body("push"))
			r.Header["Content-Type"], r.Header["Content-Encoding"] = c.contentType, c.encoding
			a := h.send(r)
			if c.accepted {
				a.wantResult(t, nevisfido.Dispatched)
				return
			}
			h.wantNotForwarded(t, a, http.StatusUnsupportedMediaType)
		})
	}
}

// A refusal is answered after the body was read, up to a bound: some HTTP/2
// clients never see an answer that comes earlier.
func TestRefusalsAreAnsweredAfterTheBody(t *testing.T) {
	for name, c := range map[string]struct {
		path, contentType string
		size, length      int64
		want, read        int64
		http1             bool
	}{
		"media type":              {path: authentication, contentType: "text/json", size: 900, length: 900, want: 415, read: 900},
		"path":                    {path: "/nevisfido/TOKEN/dispatch/authentication", size: 900, length: 900, want: 400, read: 900},
		"declared as too large":   {path: authentication, size: 900, length: 1 << 40, want: 413, read: 900},
		"too large":               {path: authentication, size: 1001, length: -1, want: 413, read: 1001},
		"too large, without end":  {path: authentication, size: 1 << 20, length: -1, want: 413, read: 2001},
		"media type, without end": {path: authentication, contentType: "text/json", size: 1 << 20, length: -1, want: 415, read: 1000},
		"declared, HTTP/1.1":      {path: authentication, size: 900, length: 1 << 40, want: 413, http1: true},
		"malformed":               {path: authentication, size: 900, length: 900, want: 400, read: 900},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.MaxBody = 1000
			r := newRequest(t, http.MethodPost, c.path, "")
			if !c.http1 {
				r.ProtoMajor = 2
			}
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			body := &countingReader{r: io.LimitReader(zeros{}, c.size)}
			r.Body, r.ContentLength = io.NopCloser(body), c.length
			h.wantNotForwarded(t, h.send(r), int(c.want))
			if body.n != c.read {
				t.Errorf("%d bytes were read, want %d", body.n, c.read)
			}
		})
	}
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestMalformedRequest(t *testing.T) {
	h := newHarness(t)
	h.push()
	for name, body := range map[string]string{
		"empty":              "",
		"not JSON":           "dispatcher=push",
		"truncated":          `{"dispatcher":"push"`,
		"an array":           `[{"dispatcher":"push"}]`,
		"two objects":        `{"dispatcher":"push"}{}`,
		"duplicate names":    `{"dispatcher":"link","dispatcher":"push"}`,
		"another case":       `{"Dispatcher":"push"}`,
		"long s":             `{"diſpatcher":"push"}`,
		"another case too":   `{"DISPATCHER":"link","dispatcher":"push"}`,
		"control character":  "{\"dispatcher\":\"push\",\"x\":\"\x01\"}",
		"NUL after it":       "{\"dispatcher\":\"push\"}\x00",
		"overlong UTF-8":     "{\"dispatcher\":\"push\",\"x\":\"\xc0\xaf\"}",
		"surrogate in UTF-8": "{\"dispatcher\":\"push\",\"x\":\"\xed\xa0\x80\"}",
		"no value":           `{"dispatcher":"push","x"}`,
		"unescaped quote":    `{"dispatcher":"push","x":"a"b"}`,
		"hexadecimal":        `{"dispatcher":"push","x":0x10}`,
		"NaN":                `{"dispatcher":"push","x":NaN}`,
		"twice, within":      `{"dispatcher":"push","dispatchInformation":{"data":"a","data":"b"}}`,
		"BOM":                "\ufeff{\"dispatcher\":\"push\"}",
		"UTF-16":             "{\x00\"\x00d\x00\"\x00:\x001\x00}\x00",
		"bad UTF-8":          "{\"dispatcher\":\"push\",\"x\":\"\xff\"}",
		"lone surrogate":     `{"dispatcher":"push","x":"\ud800"}`,
		"a number":           `{"dispatcher":1}`,
		"an object":          `{"dispatcher":"push","dispatchTargetId":{}}`,
		"nested too deep":    `{"dispatcher":"push","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}",
		"data is a number":   `{"dispatcher":"push","dispatchInformation":{"data":1}}`,
		"not ours, but bad":  `{"dispatcher":"firebase-cloud-messaging",}`,
	} {
		t.Run(name, func(t *testing.T) {
			h.wantNotForwarded(t, h.send(newRequest(t, http.MethodPost, authentication, body)), http.StatusBadRequest)
		})
	}
	t.Run("breaks off", func(t *testing.T) {
		r := newRequest(t, http.MethodPost, authentication, "")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"dispatcher":"push"`), iotest.ErrReader(io.ErrUnexpectedEOF)))
		r.ContentLength = 100
		h.wantNotForwarded(t, h.send(r), http.StatusBadRequest)
	})
	t.Run("ambiguous path", func(t *testing.T) {
		for _, path := range []string{"/nevisfido/token/x/../dispatch/authentication", "/nevisfido/token/dispatch%2fauthentication", "/nevisfido/TOKEN/dispatch/authentication"} {
			h.wantNotForwarded(t, h.send(newRequest(t, http.MethodPost, path, h.body("push"))), http.StatusBadRequest)
		}
	})
	for line := range strings.Lines(h.logs.String()) {
		t.Errorf("logged %s", line)
	}
}

// What is not ours reaches nevisFIDO as it came, and comes back through the
// caller's own ResponseWriter.
func TestStraightThrough(t *testing.T) {
	for name, c := range map[string]struct{ method, path, body string }{
		"nevisFIDO's own dispatcher":    {http.MethodPost, authentication, `{ "dispatcher":"firebase-cloud-messaging", "n":1.0 }`},
		"the same, with a BOM":          {http.MethodPost, authentication, "\ufeff{\"dispatcher\":\"firebase-cloud-messaging\"}"},
		"no dispatcher, no target":      {http.MethodPost, authentication, ` { } `},
		"no dispatcher, unknown target": {http.MethodPost, authentication, `{"dispatchTargetId":"x"}`},
		"status":                        {http.MethodPost, "/nevisfido/status", `{"sessionId":1,"sessionId":2}`},
		"redeem":                        {http.MethodPost, "/nevisfido/token/redeem/authentication", `{`},
		"another method":                {http.MethodPut, authentication, `x`},
		"another path":                  {http.MethodPost, "/token/dispatch/authentication", `x`},
		"one target, GET":               {http.MethodGet, targetsPath + "/x", ``},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			r := newRequest(t, c.method, c.path, c.body)
			r.Header.Set("Accept-Encoding", "gzip")
			r.Header.Set("X-Odd", "1")
			w := httptest.NewRecorder()
			called := false
			err := h.ServeHTTP(w, r, func(inner http.ResponseWriter, r *http.Request) error {
				called = true
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != c.body || r.ContentLength != int64(len(c.body)) {
					t.Errorf("forwarded %q (%d bytes), %v", body, r.ContentLength, err)
				}
				if inner != http.ResponseWriter(w) {
					t.Errorf("the answer goes through a %T", inner)
				}
				if r.Header.Get("Accept-Encoding") != "gzip" || r.Header.Get("X-Odd") != "1" || r.Method != c.method || r.URL.Path != c.path {
					t.Errorf("forwarded %s %s %v", r.Method, r.URL, r.Header)
				}
				return nil
			})
			if err != nil || !called {
				t.Errorf("called %v, %v", called, err)
			}
			if len(h.seen.records) != 0 {
				t.Error("the observer was told of an exchange that is not ours")
			}
		})
	}
}

// A stored dispatcher that is not ours leaves the call to nevisFIDO.
func TestTargetOfAnotherDispatcher(t *testing.T) {
	h := newHarness(t)
	h.register(nevisfido.BuiltInFCM, h.device)
	h.push()
	body := `{"dispatchTargetId":"` + h.targetID + `"}`
	h.upstream.answer = respond(http.StatusOK, `{"dispatchResult":"dispatched","x":"nevisFIDO's own"}`)
	a := h.send(newRequest(t, http.MethodPost, authentication, body))
	if h.upstream.one(t).body != body || !strings.Contains(a.Body.String(), "nevisFIDO's own") {
		t.Errorf("forwarded %s, answered %s", h.upstream.one(t).body, a.Body)
	}
}

// With the store down nobody knows whether the call is ours.
func TestNoDispatcherAndNoStore(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.store.SetFault(failAt(kvtest.Load))
	a := h.send(newRequest(t, http.MethodPost, authentication, `{"dispatchTargetId":"`+h.targetID+`"}`))
	a.wantResult(t, nevisfido.InternalError)
	if len(h.upstream.calls()) != 0 {
		t.Error("forwarded")
	}
}

// T33: once nevisFIDO has made the token, the dispatch is finished.
func TestClientGone(t *testing.T) {
	for name, c := range map[string]struct {
		leave func(h *harness, g *guest, cancel context.CancelFunc)
		want  bool // delivered
	}{
		"before the request": {
			leave: func(_ *harness, _ *guest, cancel context.CancelFunc) { cancel() },
		},
		"while nevisFIDO works": {
			leave: func(h *harness, _ *guest, cancel context.CancelFunc) {
				h.upstream.answer = func(_ http.ResponseWriter, r *http.Request) error {
					cancel()
					return r.Context().Err()
				}
			},
		},
		"when nevisFIDO has answered": {
			leave: func(h *harness, _ *guest, cancel context.CancelFunc) {
				good := h.upstream.answer
				h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
					defer cancel()
					return good(w, r)
				}
			},
			want: true,
		},
		"during the delivery": {
			leave: func(_ *harness, g *guest, cancel context.CancelFunc) {
				g.do = func(ctx context.Context, _ *dispatchers.Message) (dispatchers.Receipt, error) {
					cancel()
					return dispatchers.Receipt{}, ctx.Err()
				}
			},
			want: true,
		},
		"between two attempts": {
			leave: func(h *harness, g *guest, cancel context.CancelFunc) {
				h.Channels["push"].Retries = 1
				next := script(dispatchers.Fail(dispatchers.Temporary, "busy", "busy"))
				g.do = func(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
					cancel()
					return next(ctx, m)
				}
			},
			want: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			g := h.push()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c.leave(h, g, cancel)
			a := h.send(newRequest(t, http.MethodPost, authentication, h.body("push")).WithContext(ctx))
			if !c.want {
				if len(g.messages()) != 0 {
					t.Error("a message was sent without a token of nevisFIDO's")
				}
				return
			}
			a.wantResult(t, nevisfido.Dispatched)
			if record := h.seen.one(t); record.Result != nevisfido.Dispatched || ctx.Err() == nil {
				t.Errorf("the observer was told %+v", record)
			}
		})
	}
}

// T12: side by side, each device gets its own token and no other.
func TestParallel(t *testing.T) {
	const devices, rounds = 64, 8
	h := newHarness(t)
	g := h.push()
	h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
		request, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		parsed, err := nevisfido.ParseDispatchRequest(request)
		if err != nil {
			return err
		}
		round, _ := parsed.Data.Value("round")
		token := "token-of-" + parsed.TargetID + "-" + round
		return respond(http.StatusOK, string(toJSON(t, map[string]any{
			"token": token, "dispatchResult": "dispatched", "dispatcherInformation": map[string]any{"response": h.plainLink(token)},
		})))(w, r)
	}
	keys := make(map[string]*devicekey.PrivateKey)
	for i := range devices {
		id := "device-" + string(rune('A'+i/26)) + string(rune('A'+i%26))
		keys[id] = must[*devicekey.PrivateKey](t)(devicekey.GenerateKey("P-256"))
		d := &nevisfido.TargetDescription{Target: "address-of-" + id, Dispatcher: "push", EncryptionKey: keys[id].Public().JWK()}
		if err := h.Targets.Learn(t.Context(), d, nevisfido.CreatedTarget{ID: id}, targets.SourceCreate); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := make(map[string]string) // token by the answer that has it
	for id := range keys {
		wg.Go(func() {
			for round := range rounds {
				body := `{"dispatcher":"push","dispatchTargetId":"` + id + `","dispatchInformation":{"data":{"round":` + string(rune('0'+round)) + `}}}`
				a := h.send(newRequest(t, http.MethodPost, authentication, body))
				mu.Lock()
				answers["token-of-"+id+"-"+string(rune('0'+round))] = a.Body.String()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for token, text := range answers {
		if !strings.Contains(text, `"`+token+`"`) || !strings.Contains(text, `"dispatchResult":"dispatched"`) {
			t.Errorf("%s: the caller got %s", token, text)
		}
	}
	seen := make(map[string]bool)
	for _, m := range g.messages() {
		id := strings.TrimPrefix(m.Address, "address-of-")
		content := open(t, keys[id], m)
		if !strings.HasPrefix(content.Token, "token-of-"+id+"-") || seen[content.Token] {
			t.Errorf("the device %s reads %s", id, content.Token)
		}
		seen[content.Token] = true
	}
	if len(seen) != devices*rounds || len(answers) != devices*rounds {
		t.Errorf("%d messages, %d answers", len(seen), len(answers))
	}
}
