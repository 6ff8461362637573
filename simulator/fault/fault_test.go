package fault

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const regularBody = `{"answer":"regular"}`

// site serves requests with a script, and counts those that are carried out.
type site struct {
	*httptest.Server
	script Script[Fault]
	served atomic.Int32
}

func start(t *testing.T) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(Handler(&s.script, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.served.Add(1)
		w.Header().Set("Content-Length", strconv.Itoa(len(regularBody)))
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, regularBody)
	}), "here", "there"))
	t.Cleanup(func() {
		_ = s.Config.Close()
		s.Close()
	})
	return s
}

// wire posts "canary" over a connection of its own and returns all bytes of
// the answer, up to a limit.
func (s *site) wire(t *testing.T, limit int64) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\ncanary"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.LimitReader(conn, limit))
	return string(got), err
}

func TestFaults(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	for name, test := range map[string]struct {
		fault  Fault
		served int32
		status int    // 0: no answer
		whole  bool   // the body comes to its end
		body   string // part of it
	}{
		"none":                 {None, 1, 202, true, regularBody},
		"answer":               {Answer(503, http.Header{"Retry-After": {"7"}}, "text"), 0, 503, true, "text"},
		"echo":                 {Echo(400, nil), 0, 400, true, "/path\ncanary"},
		"JSON":                 {JSON(`{}`), 0, 200, true, `{}`},
		"HTML":                 {HTML(200), 0, 200, true, "canary"},
		"redirect":             {Redirect("/elsewhere"), 0, 302, true, ""},
		"edit":                 {Edit(func(_ http.Header, b []byte) []byte { return bytes.ToUpper(b[:9]) }), 1, 202, true, `{"ANSWER"`},
		"header":               {Header("X-A", "b"), 1, 202, true, regularBody},
		"hold":                 {Hold(closed), 1, 202, true, regularBody},
		"close after":          {CloseAfter, 1, 202, true, regularBody},
		"truncated":            {Truncated, 1, 202, false, regularBody[:9]},
		"long length":          {WrongLength(7), 1, 202, false, regularBody},
		"short length":         {WrongLength(-7), 1, 202, true, regularBody[:13]},
		"reset":                {Reset, 0, 0, false, ""},
		"reset after delivery": {ResetAfterDelivery, 1, 0, false, ""},
	} {
		s := start(t)
		s.script.Add("here", test.fault)
		text, _ := s.wire(t, 1<<20) // a reset is an error of the connection
		if test.status == 0 {
			if text != "" || s.served.Load() != test.served {
				t.Errorf("%s: got %q, served %d", name, text, s.served.Load())
			}
			continue
		}
		answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(answer.Body)
		if answer.StatusCode != test.status || (err == nil) != test.whole || !strings.Contains(string(body), test.body) || s.served.Load() != test.served {
			t.Errorf("%s: got %d %q, %v, served %d", name, answer.StatusCode, body, err, s.served.Load())
		}
	}
}

func TestScript(t *testing.T) {
	var s Script[string]
	next := func(places ...string) string {
		fault, ok := s.Next(places...)
		if !ok {
			return "-"
		}
		return fault
	}
	s.Add("a", slices.Repeat([]string{"twice"}, 2)...)
	s.Add("b", "once")
	s.Always("b", "always")
	var got []string
	for _, places := range [][]string{{"b"}, {"a", "b"}, {"c", "a", "b"}, {"a", "b"}, {"b"}, {"a"}, {"c"}, {}} {
		got = append(got, next(places...))
	}
	s.Mend("b")
	got = append(got, next("b"))
	if want := "once twice twice always always - - - -"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
