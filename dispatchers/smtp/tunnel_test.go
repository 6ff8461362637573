package smtp

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

func TestThroughAProxy(t *testing.T) {
	p, err := proxy.Start(proxy.Options{User: "oob", Password: "pass:word"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	s := startServer(t, mail.Options{})
	d := newDispatcher(t, s, map[string]any{"proxy": p.URL()})
	dispatch(t, d)
	dispatch(t, d)
	if counts := p.Counts(); counts.Connects != 1 || len(s.Mails()) != 2 {
		t.Errorf("%+v, %d mails", counts, len(s.Mails()))
	}

	for status, class := range map[int]dispatchers.Class{
		http.StatusForbidden: dispatchers.Broken, http.StatusBadGateway: dispatchers.Temporary,
	} {
		d := newDispatcher(t, s, map[string]any{"proxy": p.URL()})
		p.Refuse(status)
		_, err := d.Dispatch(t.Context(), plain())
		wantFailure(t, err, class, "proxy")
		p.Refuse(0)
	}
	wrong := newDispatcher(t, s, map[string]any{"proxy": strings.Replace(p.URL(), "oob:", "eve:", 1)})
	_, err = wrong.Dispatch(t.Context(), plain())
	wantFailure(t, err, dispatchers.Broken, "proxy")
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestProxyThatHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := startServer(t, mail.Options{})
	d := newDispatcher(t, s, map[string]any{"proxy": "http://" + listener.Addr().String()})
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
