// Package dispatcherstest has what tests of dispatchers need: a message, a
// dispatcher as a configuration loads it, and a look at why an attempt failed.
package dispatcherstest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

const (
	// Token is the clear token of the exchange, which must not be seen anywhere.
	Token = "canary-token"
	// Sealed is the JWE that a message carries. No key opens it.
	Sealed = "eyJhbGciOiJSU0EtT0FFUC0yNTYifQ.a2V5.aXY.Y2lwaGVydGV4dA.dGFn"
)

// Message returns a sealed message of an authentication that expires in two
// minutes, without a link. The values are those of its placeholders, by their
// names without braces. Change in it what the test is about.
func Message(address string, values map[string]string) *dispatchers.Message {
	content := nevisfido.NewContent(Token, "https://login.example.com/nevisfido/token/redeem/authentication")
	return &dispatchers.Message{
		ID:         "3q2-7wAAAAAAAAAAAAAAAA",
		Operation:  nevisfido.Authentication,
		Dispatcher: "test",
		Address:    address,
		Envelope:   content.Envelope().Sealed(Sealed),
		Expires:    time.Now().Add(2 * time.Minute),
		Lookup: func(placeholder string) (string, bool) {
			v, ok := values[placeholder]
			return v, ok
		},
	}
}

// Load provisions the module oob.dispatchers.<name> with options as a
// configuration in JSON does, and cleans it up when the test ends. D is the
// type that the module's New returns.
func Load[D dispatchers.Dispatcher](t *testing.T, name string, options map[string]any) (D, error) {
	t.Helper()
	var none D
	if options == nil {
		options = map[string]any{}
	}
	raw, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID(dispatchers.Namespace+"."+name, raw)
	if err != nil {
		return none, err
	}
	d, ok := module.(D)
	if !ok {
		t.Fatalf("%s is a %T, want a %T", name, module, none)
	}
	return d, nil
}

// WantFailure ends the test unless err is a *dispatchers.Error of this class
// and reason, and returns a copy. Its text must hold neither Token, Sealed nor
// any of the secrets.
func WantFailure(t *testing.T, err error, class dispatchers.Class, reason string, secrets ...string) dispatchers.Error {
	t.Helper()
	e, ok := errors.AsType[*dispatchers.Error](err)
	if !ok || e == nil {
		t.Fatalf("got %v, want %s/%s", err, class, reason)
	}
	if e.Class != class || e.Reason != reason {
		t.Fatalf("got %s/%s (%v), want %s/%s", e.Class, e.Reason, e.Err, class, reason)
	}
	for _, secret := range append(secrets, Token, Sealed) {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells %q: %v", secret, err)
		}
	}
	return *e
}
