package double

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, config *tls.Config) *Server {
	t.Helper()
	s, err := Listen("", config)
	if err != nil {
		t.Fatal(err)
	}
	Serve(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(append(Body(r), Body(r)...)) }))
	t.Cleanup(s.Close)
	return s
}

func TestRequestsAreKeptByteForByte(t *testing.T) {
	s := start(t, nil)
	s.Script(fault.None, fault.Reset)
	const body = " {\"a\" : 1.0,\r\n\t\"a\":\"\\u00e9\xff\"} "
	for _, want := range []string{body + body, "", body + body} {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "PUT /%%74oken//x/;x=1?q=%%41&r HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nX-Two: 2\r\n"+
			"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(conn); !strings.HasSuffix(string(got), want) || (len(got) == 0) != (want == "") {
			t.Errorf("answered %q", got)
		}
	}
	got := s.Requests()
	if len(got) != 3 {
		t.Fatalf("%d requests", len(got))
	}
	for _, r := range got {
		if r.Method != "PUT" || r.URI != "/%74oken//x/;x=1?q=%41&r" || string(r.Body) != body || r.Host != "h" ||
			!slices.Equal(r.Header["X-Two"], []string{"1", "2"}) || !slices.Equal(r.TransferEncoding, []string{"chunked"}) {
			t.Errorf("got %+v", r)
		}
	}
}

func TestInbox(t *testing.T) {
	var b Inbox[int]
	even := func(n int) bool { return n%2 == 0 }
	got := make(chan int)
	go func() {
		n, _ := b.Wait(t.Context(), even)
		got <- n
	}()
	for n := range 3 {
		b.Put(2*n + 1)
	}
	b.Put(8)
	if n := <-got; n != 8 {
		t.Errorf("got %d", n)
	}
	b.Drop(func(n int) bool { return n == 3 })
	if n, err := b.Wait(t.Context(), nil); err != nil || n != 1 || !slices.Equal(b.Waiting(), []int{5}) {
		t.Errorf("got %d, %v; %v wait", n, err, b.Waiting())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Wait(ctx, even); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting in vain: %v", err)
	}
}
