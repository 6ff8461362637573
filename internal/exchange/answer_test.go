package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// The caller gets nevisFIDO's text, with nothing but the outcome changed.
func TestTheRestOfTheAnswerIsKept(t *testing.T) {
	const text = "{ \"new\" : [1.50, {\"a\":1E2}, 1.50e+02, -0, 12345678901234567890123, \"\\u00e9\\/\"], \"token\":\"%s\",\n \"sessionId\":\"s\",\"dispatcherInformation\":%s, \"dispatchResult\" :%s,\"last\":null }\n"
	for class, want := range map[dispatchers.Class]struct{ information, result string }{
		dispatchers.Delivered: {`{"name":"push","response":"successful dispatch"}`, `"dispatched"`},
		dispatchers.Expired:   {`{"name":"push"}`, `"dispatchTargetExpired"`},
		dispatchers.NoTarget:  {`{"name":"push"}`, `"dispatchTargetNotFound"`},
		dispatchers.NoKey:     {`{"name":"push"}`, `"dispatchError"`},
		dispatchers.Refused:   {`{"name":"push"}`, `"dispatchError"`},
		dispatchers.Temporary: {`{"name":"push"}`, `"dispatchError"`},
		dispatchers.Broken:    {`{"name":"push"}`, `"internalError"`},
	} {
		t.Run(string(class), func(t *testing.T) {
			h := newHarness(t)
			link := fmt.Sprintf(`{"name":"link","response":%q,"extra":1}`, h.plainLink(h.token))
			h.upstream.answer = respond(http.StatusOK, fmt.Sprintf(text, h.token, link, `"dispatched"`))
			g := h.push()
			if class != dispatchers.Delivered {
				g.fails(class)
			}
			a := h.dispatch("push")
			if got := fmt.Sprintf(text, h.token, want.information, want.result); a.err != nil || a.Body.String() != got {
				t.Errorf("got  %s\nwant %s", a.Body, got)
			}
			if a.Code != http.StatusOK || a.Header().Get("Content-Length") != fmt.Sprint(a.Body.Len()) {
				t.Errorf("status %d, length %s for %d bytes", a.Code, a.Header().Get("Content-Length"), a.Body.Len())
			}
		})
	}
}

func TestResponses(t *testing.T) {
	for name, c := range map[string]struct {
		response any
		want     string
	}{
		"text":            {"https://x/?a=1", `"https://x/?a=1"`},
		"object":          {map[string]any{"a": 1}, `{"a":1}`},
		"nothing":         {nil, `null`},
		"cannot be coded": {func() {}, `""`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push().do = func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
				return dispatchers.Receipt{Response: c.response}, nil
			}
			a := h.dispatch("push")
			a.wantResult(t, nevisfido.Dispatched)
			if !strings.Contains(a.Body.String(), `"response":`+c.want+`}`) {
				t.Errorf("got %s", a.Body)
			}
		})
	}
}

func TestVisualCodeIsShownOnSuccessOnly(t *testing.T) {
	h := newHarness(t)
	h.VisualCodeDigits = 6
	g := h.push()
	if got := h.dispatch("push").outcome(t); got.VisualCode != visualcode.Digits(h.token, 6) || got.Picture != "" {
		t.Errorf("got %q, %q", got.VisualCode, got.Picture)
	}
	if p := g.messages()[0].VisualCodePicture; p != nil {
		t.Errorf("the message has a picture: %v", p)
	}
	h.VisualCodePicture = true
	picture := visualcode.New(h.token, 6)
	if got := h.dispatch("push").outcome(t); got.VisualCode != picture.Digits || got.Picture != picture.SVG() {
		t.Errorf("got %q, %q", got.VisualCode, got.Picture)
	}
	if p := g.messages()[1].VisualCodePicture; p == nil || *p != *picture {
		t.Errorf("the message has the picture %v", p)
	}
	g.fails(dispatchers.Temporary)
	h.dispatch("push").wantResult(t, nevisfido.DispatchError)
	h.Channels["push"].Operations = []nevisfido.Operation{nevisfido.Registration}
	h.dispatch("push").wantResult(t, nevisfido.DispatchError)
}

// nevisFIDO's link holds the token in clear: whatever happens, the caller is
// not handed it in place of our answer.
func TestNevisFIDOsLinkNeverReachesTheCaller(t *testing.T) {
	for name, fail := range map[string]func(*harness){
		"delivered":  func(*harness) {},
		"refused":    func(h *harness) { h.Channels["push"].Dispatcher.(*guest).fails(dispatchers.Refused) },
		"panic":      func(h *harness) { h.Channels["push"].Dispatcher = nil },
		"no key":     func(h *harness) { h.register("push", nil) },
		"declined":   func(h *harness) { h.scriptResult("dispatchError") },
		"odd result": func(h *harness) { h.scriptResult("odd") },
		"no result":  func(h *harness) { h.scriptResult("") },
		"malformed": func(h *harness) {
			h.scriptText(`{"dispatchResult":"dispatched","token":1,"dispatcherInformation":{"response":%q}}`)
		},
		"duplicate name": func(h *harness) {
			h.scriptText(`{"dispatchResult":"dispatched","dispatchResult":"dispatched","response":%q}`)
		},
		"object": func(h *harness) {
			h.scriptText(`{"dispatchResult":"dispatched","dispatcherInformation":{"response":{"url":%q}}}`)
		},
		"bad token": func(h *harness) { h.token = "no token"; h.upstream.answer = h.dispatched(h.plainLink(h.token)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			fail(h)
			a := h.dispatch("push")
			if strings.Contains(a.Body.String(), upstreamBase) {
				t.Errorf("the caller got %s", a.Body)
			}
			if name != "delivered" && strings.Contains(a.Body.String(), `"dispatched"`) {
				t.Errorf("the caller is told %s", a.Body)
			}
		})
	}
}

func (h *harness) scriptText(format string) {
	h.upstream.answer = respond(http.StatusOK, fmt.Sprintf(format, h.plainLink(h.token)))
}

// scriptResult plays a nevisFIDO that answers with another result.
func (h *harness) scriptResult(result string) {
	h.upstream.answer = respond(http.StatusOK, string(toJSON(h.tb, map[string]any{
		"token": h.token, "dispatchResult": result,
		"dispatcherInformation": map[string]any{"name": "link", "response": h.plainLink(h.token)},
	})))
}

// T22: nothing that described nevisFIDO's bytes is said of ours.
func TestHeaders(t *testing.T) {
	h := newHarness(t)
	h.push()
	gone := []string{"Etag", "Last-Modified", "Accept-Ranges", "Digest", "Content-Digest", "Repr-Digest", "Content-Md5", "Transfer-Encoding"}
	good := h.upstream.answer
	h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Length", "3")
		for _, name := range gone {
			w.Header().Set(name, "x")
		}
		w.Header().Set("Trailer", "X-Late")
		w.Header().Set("Cache-Control", "public, max-age=600")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Del("X-Dropped-Upstream")
		if err := good(w, r); err != nil {
			return err
		}
		w.Header().Set("X-Late", "1")
		return nil
	}
	a := &answer{ResponseRecorder: httptest.NewRecorder()}
	a.Header().Set("Alt-Svc", "h3")
	a.Header().Set("X-Dropped-Upstream", "1")
	a.err = h.ServeHTTP(a, newRequest(t, http.MethodPost, authentication, h.body("push")), h.upstream.next)
	a.wantResult(t, nevisfido.Dispatched)
	header := a.Result().Header
	for _, name := range append(gone, "Trailer", "X-Late", "X-Dropped-Upstream") {
		if got, ok := header[name]; ok {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := header.Get("Cache-Control"); got != "no-store" || header.Get("Content-Length") != fmt.Sprint(a.Body.Len()) {
		t.Errorf("Cache-Control %q, Content-Length %q", got, header.Get("Content-Length"))
	}
	if header.Get("Alt-Svc") != "h3" || header.Get("Content-Type") != "application/json;charset=UTF-8" || len(header.Values("Set-Cookie")) != 2 {
		t.Errorf("got %v", header)
	}
}

// What is dropped of nevisFIDO's leaves nothing behind, and what stood in the
// header before stays.
func TestHeadersOfADroppedAnswer(t *testing.T) {
	for name, next := range map[string]Next{
		"too long": respond(http.StatusOK, strings.Repeat("x", 100<<10)),
		"an error": func(w http.ResponseWriter, r *http.Request) error {
			_ = respond(http.StatusOK, `{"dispatchResult":"dispatched"}`)(w, r)
			return errors.New("dial")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
				w.Header().Set("X-Upstream", "1")
				w.Header().Set("Alt-Svc", "upstream")
				return next(w, r)
			}
			a := &answer{ResponseRecorder: httptest.NewRecorder()}
			a.Header().Set("Alt-Svc", "h3")
			a.err = h.ServeHTTP(a, newRequest(t, http.MethodPost, authentication, h.body("push")), h.upstream.next)
			if a.err == nil || a.Body.Len() != 0 || len(a.Header()) != 1 || a.Header().Get("Alt-Svc") != "h3" {
				t.Errorf("got %v, %v, %s", a.err, a.Header(), a.Body)
			}
		})
	}
}

// A result of nevisFIDO's that is not "dispatched" is the caller's to see,
// under the name that it asked for.
func TestDeclined(t *testing.T) {
	for result, want := range map[string]struct {
		result string
		class  dispatchers.Class
		record nevisfido.DispatchResult
	}{
		"dispatchError":          {"dispatchError", dispatchers.Refused, nevisfido.DispatchError},
		"dispatchTargetExpired":  {"dispatchTargetExpired", dispatchers.Refused, nevisfido.DispatchTargetExpired},
		"dispatchTargetNotFound": {"dispatchTargetNotFound", dispatchers.Refused, nevisfido.DispatchTargetNotFound},
		"userNotFound":           {"userNotFound", dispatchers.Refused, nevisfido.UserNotFound},
		"internalError":          {"internalError", dispatchers.Refused, nevisfido.InternalError},
		"dispatcherNotFound":     {"internalError", dispatchers.Broken, nevisfido.InternalError},
		"Dispatched":             {"dispatchError", dispatchers.Refused, nevisfido.DispatchError}, // no caller takes it for a message
		"dispatched ":            {"dispatchError", dispatchers.Refused, nevisfido.DispatchError},
		"of a later release":     {"of a later release", dispatchers.Refused, nevisfido.DispatchError}, // a label knows closed sets only
		"":                       {"dispatchError", dispatchers.Refused, nevisfido.DispatchError},
	} {
		t.Run(result, func(t *testing.T) {
			h := newHarness(t)
			g := h.push()
			h.scriptResult(result)
			a := h.dispatch("push")
			a.wantResult(t, nevisfido.DispatchResult(want.result))
			if o := a.outcome(t); o.Information.Name != "push" || o.Token != h.token {
				t.Errorf("got %s", a.Body)
			}
			if len(g.messages()) != 0 {
				t.Error("a message was sent")
			}
			if record := h.seen.one(t); record.Result != want.record || record.Class != want.class {
				t.Errorf("the observer was told %s, %s", record.Result, record.Class)
			}
			if strings.Contains(h.logs.String(), "of a later release") {
				t.Error("the log shows text that nevisFIDO made up")
			}
			if (h.record() == nil) != (result == "dispatchTargetNotFound") {
				t.Errorf("the target's record: %v", h.record() != nil)
			}
		})
	}
}

func TestUnknownToNevisFIDOWithoutATarget(t *testing.T) {
	h := newHarness(t)
	h.link(Off)
	h.scriptResult("dispatchTargetNotFound")
	h.store.SetFault(failAt(kvtest.Update))
	h.send(newRequest(t, http.MethodPost, authentication, `{"dispatcher":"link"}`)).wantResult(t, nevisfido.DispatchTargetNotFound)
	if strings.Contains(h.logs.String(), "forgetting") {
		t.Error("the store was asked to forget nothing")
	}
}

// What a refused request is answered has the form of nevisFIDO's own answers.
func TestRefusal(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.Channels["push"].Operations = []nevisfido.Operation{nevisfido.Registration}
	a := &answer{ResponseRecorder: httptest.NewRecorder()}
	a.Header().Set("Alt-Svc", "h3")
	a.err = h.ServeHTTP(a, newRequest(t, http.MethodPost, authentication, h.body("push")), h.upstream.next)
	if got := a.Body.String(); got != `{"dispatcherInformation":{"name":"push"},"dispatchResult":"dispatchError"}` {
		t.Errorf("got %s", got)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Content-Length": fmt.Sprint(a.Body.Len()), "Cache-Control": "no-store", "Alt-Svc": "h3",
	} {
		if got := a.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
