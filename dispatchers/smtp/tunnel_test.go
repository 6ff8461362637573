package smtp

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice/squidtest"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

// Mails go through a real proxy, which is reached by https as well.
func TestThroughSquid(t *testing.T) {
	s := startServer(t, mail.Options{})
	for _, secure := range []bool{false, true} {
		p := squidtest.Start(t, squidtest.Options{User: "oob", Password: "pass:word", TLS: secure})
		ca := testservice.File(t, "both.pem", slices.Concat(s.CA(), p.CA(t)))
		d := newMailer(t, s, map[string]any{"proxy": p.URL(), "ca": ca})
		before := len(s.Mails())
		dispatch(t, d, plain())
		dispatch(t, d, plain())
		if n := len(s.Mails()) - before; n != 2 {
			t.Errorf("%d mails, want 2", n)
		}
		wrong := newMailer(t, s, map[string]any{"proxy": p.URLAs("oob", "canary"), "ca": ca})
		if text := fails(t, wrong, plain(), dispatchers.Broken, "proxy"); !strings.Contains(text, "check user and password in proxy") {
			t.Errorf("a wrong password: %v", text)
		}
		if err := d.Cleanup(); err != nil {
			t.Fatal(err)
		}
		got := p.Requests(t, 2)
		for _, status := range []int{http.StatusOK, http.StatusProxyAuthRequired} {
			if !slices.Contains(got, squidtest.Request{Method: "CONNECT", URL: s.Addr(), User: "oob", Status: status}) {
				t.Errorf("no %d among %v", status, got)
			}
		}
		down := newMailer(t, s, map[string]any{"proxy": p.URL(), "ca": ca})
		p.Stop()
		if text := fails(t, down, plain(), dispatchers.Temporary, "connection"); !strings.Contains(text, "connecting to the proxy") {
			t.Errorf("a proxy that is down: %v", text)
		}
	}
}

func TestProxyThatIsNotTrusted(t *testing.T) {
	s := startServer(t, mail.Options{})
	p := squidtest.Start(t, squidtest.Options{TLS: true})
	text := fails(t, newMailer(t, s, map[string]any{"proxy": p.URL()}), plain(), dispatchers.Broken, "tls")
	if !strings.Contains(text, "connecting to the proxy") || s.Connections() != 0 {
		t.Errorf("%v, %d connections", text, s.Connections())
	}
}

func TestProxyThatHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, d := serve(t, mail.Options{}, map[string]any{"proxy": "http://" + listener.Addr().String()})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := listener.Accept()
		cancel()
		if err == nil {
			<-t.Context().Done()
			_ = c.Close()
		}
	}()
	_, err = d.Dispatch(ctx, plain())
	wantFailure(t, err, dispatchers.Temporary, "canceled")
}
