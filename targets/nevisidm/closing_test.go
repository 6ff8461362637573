package nevisidm

import (
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// A reload does not wait for the lookups of the old configuration. Their
// connections end with the last of them.
func TestConnectionsEndWithTheLastLookup(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			arrived, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if (r.ProtoMajor == 2) != http2 {
					t.Errorf("the protocol is %s", r.Proto)
				}
				arrived <- struct{}{}
				<-release
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"items":[]}`))
			}))
			server.EnableHTTP2 = http2
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					close(closed)
				}
			}
			server.StartTLS()
			defer server.Close()
			ca := file(t, "ca.pem")
			testservice.Put(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
			s := &Source{URL: server.URL, Client: "100", Auth: login(), API: apiEntities, Timeout: caddy.Duration(time.Minute)}
			s.CA = ca
			if err := provision(t, s); err != nil {
				t.Fatal(err)
			}
			var lookup sync.WaitGroup
			lookup.Go(func() {
				if _, err := s.Find(of(t, "u-1"), one); !errors.Is(err, targets.ErrNotFound) {
					t.Errorf("got error %v, want ErrNotFound", err)
				}
			})
			<-arrived
			if err := s.Cleanup(); err != nil {
				t.Error(err)
			}
			close(release)
			lookup.Wait()
			select {
			case <-closed:
			case <-time.After(10 * time.Second):
				t.Error("the connection is still open")
			}
		})
	}
}
