package nevisidm

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

func TestLogin(t *testing.T) {
	path := file(t, "password")
	testservice.Put(t, path, []byte("first\n"))
	for name, test := range map[string]struct {
		auth  Auth
		login func(password string) idm.Login
	}{
		"basic":  {Auth{Username: "sidecar", Password: "{file." + path + "}"}, func(p string) idm.Login { return idm.Login{Username: "sidecar", Password: p} }},
		"bearer": {Auth{Bearer: "{file." + path + "}"}, func(p string) idm.Login { return idm.Login{Bearer: p} }},
	} {
		t.Run(name, func(t *testing.T) {
			testservice.Put(t, path, []byte("first\n"))
			server := start(t, idm.Options{Login: test.login("first")})
			server.SetTarget("u-1", phone("one"))
			s := newSource(t, server, func(s *Source) { s.Auth = &test.auth })
			find := func() {
				t.Helper()
				if _, err := s.Find(of(t, "u-1"), one); err != nil {
					t.Error(err)
				}
			}
			find()
			server.SetLogin(test.login("second"))
			wantFailure(t, s, "check auth")
			testservice.Put(t, path, []byte("second"))
			find()
			testservice.Put(t, path, []byte("\n")) // cannot be used: the last good one stays
			find()
		})
	}
}

func TestClientCertificate(t *testing.T) {
	cert, key, ca := file(t, "cert.pem"), file(t, "key.pem"), file(t, "ca.pem")
	server := start(t, idm.Options{ClientCA: clientCertificate(t, cert, key)})
	server.SetTarget("u-1", phone("one"))
	testservice.Put(t, ca, server.CA())
	s := newSource(t, server, func(s *Source) {
		s.Auth = nil
		s.Options = httpclient.Options{CA: ca, ClientCert: &httpclient.ClientCert{Cert: cert, Key: key}}
	})
	if _, err := s.Find(of(t, "u-1"), one); err != nil {
		t.Error(err)
	}
	if got := server.Requests()[0]; got.Certificate != "sidecar" || got.Header.Get("Authorization") != "" {
		t.Errorf("nevisIDM saw %+v", got)
	}
	wantFailure(t, newSource(t, server, func(s *Source) { s.CA = ca }), "") // how it ends depends on the version of TLS
	wantFailure(t, newSource(t, server, nil), "certificate")
	if n := len(server.Requests()); n != 1 {
		t.Errorf("nevisIDM was asked %d times", n)
	}
}

func TestProxy(t *testing.T) {
	forward, err := proxy.Start(proxy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(forward.Close)
	server := start(t, idm.Options{})
	server.SetTarget("u-1", phone("one"))
	s := newSource(t, server, func(s *Source) { s.Proxy = forward.URL() })
	if _, err := s.Find(of(t, "u-1"), one); err != nil {
		t.Error(err)
	}
	if n := forward.Counts().Requests; n != 1 {
		t.Errorf("the proxy saw %d requests", n)
	}
}
