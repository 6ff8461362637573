package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// edited answers with the regular body changed, under the regular headers.
func edited(old, repl string) fault.Fault {
	return fault.Edit(func(_ http.Header, body []byte) []byte { return bytes.Replace(body, []byte(old), []byte(repl), 1) })
}

func answersJSON(body string) fault.Fault {
	return fault.Answer(http.StatusOK, http.Header{"Content-Type": {jsonType}}, body)
}

// A badAnswer is what a nevisFIDO, or what stands before it, may answer to a
// dispatch request, and what the caller gets then. Where there is a result, the
// status is 200; status 0 stands for a connection that is closed.
type badAnswer struct {
	name   string
	fault  fault.Fault
	status int
	result nevisfido.DispatchResult
}

var badAnswers = []badAnswer{
	// Not a token at all: handed back as it is.
	{"a page", fault.HTML(200), 200, ""},
	{"401", fault.Answer(401, http.Header{"WWW-Authenticate": {"Basic"}}, ""), 401, ""},
	{"302", fault.Redirect("https://login.example.com/"), 302, ""},
	{"400 with JSON", fault.Answer(400, http.Header{"Content-Type": {jsonType}}, `{"status":400}`), 400, ""},
	{"500", fault.Answer(500, nil, "oops"), 500, ""},
	{"503", fault.Answer(503, http.Header{"Retry-After": {"1"}}, ""), 503, ""},
	{"204", fault.Answer(204, nil, ""), 204, ""},

	// Half a token, or one that cannot be read: nothing was dispatched.
	{"nothing", fault.ResetAfterDelivery, 502, ""},
	{"empty", answersJSON(""), 200, ""},
	{"fewer bytes declared", fault.WrongLength(-10), 200, ""},
	{"more bytes declared", fault.WrongLength(100), 0, ""},
	{"broken chunks", fault.Truncated, 0, ""},
	{"endless", fault.Flood, 502, ""},
	{"a token of a megabyte", nevis.Members(map[string]string{"token": `"` + strings.Repeat("a", 1<<20) + `"`}), 502, ""},
	{"gzip", fault.Header("Content-Encoding", "gzip"), 502, ""},
	{"not to be buffered", fault.Header("Incremental", "?1"), 502, ""},
	{"wrong types", nevis.Members(map[string]string{"token": `4711`, "sessionId": `{}`, "dispatcherInformation": `[]`, "dispatchResult": `true`}), 200, nevisfido.DispatchError},
	{"an array", answersJSON("[]"), 200, nevisfido.DispatchError},
	{"a duplicate member", edited(`{`, `{"dispatchResult":"dispatchError",`), 200, nevisfido.DispatchError},
	{"junk after it", edited(`"dispatched"}`, `"dispatched"}x`), 200, nevisfido.DispatchError},
	{"BOM", edited(`{`, "\uFEFF{"), 200, nevisfido.DispatchError},
	{"bad UTF-8", edited(`{`, "{\"x\":\"\xff\","), 200, nevisfido.DispatchError},
	{"nested deeply", edited(`{`, `{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,`), 200, nevisfido.DispatchError},

	// A token that cannot be sent.
	{"no token", nevis.Members(map[string]string{"token": ""}), 200, nevisfido.DispatchError},
	{"a long token", nevis.Members(map[string]string{"token": `"` + strings.Repeat("a", 257) + `"`}), 200, nevisfido.DispatchError},
	{"a token with a line end", nevis.Members(map[string]string{"token": `"a\r\nb"`}), 200, nevisfido.DispatchError},
	{"another token than in the link", nevis.Members(map[string]string{"token": `"another-token"`}), 200, nevisfido.DispatchError},
	{"no link", nevis.Members(map[string]string{"dispatcherInformation": `{"name":"link"}`}), 200, nevisfido.InternalError},
	{"a link to nothing", nevis.Members(map[string]string{"dispatcherInformation": `{"name":"link","response":"https://a.example/?dispatchTokenResponse=!"}`}), 200, nevisfido.DispatchError},

	// No token, for a reason.
	{"dispatcherNotFound", nevis.Result(nevisfido.DispatcherNotFound), 200, nevisfido.InternalError},
	{"dispatchTargetExpired", nevis.Result(nevisfido.DispatchTargetExpired), 200, nevisfido.DispatchTargetExpired},
	{"userNotFound", nevis.Result(nevisfido.UserNotFound), 200, nevisfido.UserNotFound},
	{"internalError", nevis.Result(nevisfido.InternalError), 200, nevisfido.InternalError},
	{"dispatchError", nevis.Result(nevisfido.DispatchError), 200, nevisfido.DispatchError},
	{"no result", answersJSON(`{"token":"t"}`), 200, nevisfido.DispatchError},
}

// Whatever nevisFIDO answers, the caller gets a clear answer, nothing is sent,
// and nothing of nevisFIDO's own message gets out. No other answer on the same
// connection is spoilt.
func TestBadAnswers(t *testing.T) {
	s := start(t, options{nevis: nevis.Options{Mode: nevis.LTS21}})
	p := s.register("P-256")
	body := request(nevisfido.Authentication, "push", p.TargetID())
	pipelined := http1("POST", authentication, contentType(jsonType), body) +
		http1("POST", authentication, contentType(jsonType), request(nevisfido.Authentication, "app-link", p.TargetID()))
	pipelined = strings.Replace(pipelined, "Connection: close\r\n", "", 1)
	for _, tt := range badAnswers {
		t.Run(tt.name, func(t *testing.T) {
			s.nevis.Script(tt.fault)
			r, err := s.overHTTP2(http.MethodPost, authentication, jsonType, body)
			s.wantBadAnswer(tt, r, err)

			s.nevis.Script(tt.fault)
			conn, err := net.Dial("tcp", s.address)
			must(t, err)
			defer conn.Close()
			must(t, conn.SetDeadline(time.Now().Add(patience)))
			if _, err := io.WriteString(conn, pipelined); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewReader(conn)
			r, err = nextAnswer(answers)
			s.wantBadAnswer(tt, r, err)
			if tt.status == 0 {
				return
			}
			if r, err := nextAnswer(answers); err != nil || r.status != http.StatusOK || !bytes.Contains(r.body, []byte(`"dispatched"`)) {
				t.Errorf("a good answer afterwards: %v, %s", err, r)
			}
		})
	}
	if n := s.google.Sends(); n != 0 {
		t.Errorf("%d push messages were sent", n)
	}
	if len(logged.lines("configure one of its dispatchers of type link as upstream_dispatcher")) == 0 {
		t.Error("the log does not say what to configure where nevisFIDO does not know the dispatcher")
	}
	s.wantAlive(p)
}

// nextAnswer reads the next of the answers on a connection of HTTP/1.1.
func nextAnswer(answers *bufio.Reader) (reply, error) {
	response, err := http.ReadResponse(answers, &http.Request{Method: http.MethodPost})
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, body, response.Trailer}, err
}

// wantBadAnswer checks what a caller of the dispatcher push gets.
func (s *stack) wantBadAnswer(want badAnswer, r reply, err error) {
	s.t.Helper()
	if want.status == 0 {
		if err == nil {
			s.t.Errorf("%s: the caller got %s", want.name, r)
		}
	} else if err != nil || r.status != want.status {
		s.t.Errorf("%s: the caller got %v %s, want status %d", want.name, err, r, want.status)
	}
	if want.result != "" && (!bytes.Contains(r.body, fmt.Appendf(nil, `"dispatchResult":%q`, want.result)) || !bytes.Contains(r.body, []byte(`{"name":"push"}`))) {
		s.t.Errorf("%s: the caller got %s, want %s", want.name, r.body, want.result)
	}
	if want.status == http.StatusBadGateway && (len(r.body) != 0 || r.header.Get("Content-Type") != "") {
		s.t.Errorf("%s: the caller got %s of an answer that is refused", want.name, r)
	}
	s.wantNoMessage(r.body)
}

// nevisFIDO has created the token: the message goes out although the caller
// is gone.
func TestCallerGoesAwayDuringDelivery(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	sending, gone := make(chan struct{}), make(chan struct{})
	s.google.ScriptFor(p.pushToken, fault.Fault(func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		close(sending)
		<-gone
		regular.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url()+authentication, strings.NewReader(request("authentication", "push", p.TargetID())))
	must(t, err)
	r.Header.Set("Content-Type", jsonType)
	ended := make(chan error)
	go func() {
		_, err := s.exchange(r)
		ended <- err
	}()
	<-sending
	cancel()
	if err := <-ended; err == nil {
		t.Error("the caller got an answer")
	}
	close(gone)
	_, m := s.receive(p, answer{Result: nevisfido.Dispatched, Info: info{Name: "push"}})
	_, err = p.Redeem(t.Context(), m)
	must(t, err)
	// Google has taken the message before the module has its answer.
	waitFor(t, "the end of the exchange", func() bool {
		return len(logged.lines(`"msg":"dispatched"`, `"dispatcher":"push"`)) == 1
	})
}
