package nevisidm

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Keys are made once.
var (
	rsaKey       = must(devicekey.GenerateKey("RSA-2048")).Public()
	ecKey        = must(devicekey.GenerateKey("P-256")).Public()
	signatureKey = must(devicekey.GenerateSigningKey("P-256")).Public()
)

func TestMain(m *testing.M) {
	must(0, os.Setenv(tokenVariable, "token"))
	goleak.VerifyTestMain(m)
}

// tokenVariable holds the bearer token of sources that need no special one.
const tokenVariable = "OOB_TEST_IDM_TOKEN"

func login() *Auth { return &Auth{Bearer: "{env." + tokenVariable + "}"} }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// start runs a nevisIDM with the users jeff (u-1) and mia (u-2).
func start(t *testing.T, o idm.Options) *idm.Server {
	t.Helper()
	server, err := idm.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.SetUser(idm.User{
		ExtID: "u-1", LoginID: "jeff", FirstName: "Jeff", FamilyName: "Muster",
		Email: "jeff@example.com", Mobile: "+41791234567",
		Address: idm.Address{Street: "Weg", HouseNumber: "1a", PostalCode: "8000", City: "Zürich", CountryCode: "ch"},
	})
	server.SetUser(idm.User{ExtID: "u-2", LoginID: "mia"})
	return server
}

// phone is a target as tests use it.
func phone(id string) idm.Target {
	return idm.Target{
		ID: id, DeviceID: "device-1", Name: "Jeff's phone", Address: "push-token", Dispatcher: "fcm",
		EncryptionKey: string(rsaKey.JWK()), SigningKey: string(signatureKey.JWK()),
	}
}

// newSource provisions a source for the server; change may be nil.
func newSource(t *testing.T, server *idm.Server, change func(*Source)) *Source {
	t.Helper()
	s := &Source{URL: server.URL(), Client: "100", Auth: login()}
	if change != nil {
		change(s)
	}
	if err := provision(t, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func provision(t *testing.T, s *Source) error {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	t.Cleanup(func() {
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return s.Provision(ctx)
}

var one = targets.Ref{Namespace: "bank", ID: "one"}

// of is a request's context that names a user.
func of(t *testing.T, user string) context.Context {
	return targets.WithUsername(t.Context(), user)
}

func api(name string) func(*Source) { return func(s *Source) { s.API = name } }

// clientCertificate writes a certificate and its key to files, and returns
// what vouches for it.
func clientCertificate(t *testing.T, cert, key string) (ca []byte) {
	t.Helper()
	pair, ca, err := double.NewCertificate(double.Certificate{CommonName: "sidecar"})
	if err != nil {
		t.Fatal(err)
	}
	testservice.Put(t, cert, ca)
	testservice.Put(t, key, double.KeyPEM(pair))
	return ca
}

func file(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }
