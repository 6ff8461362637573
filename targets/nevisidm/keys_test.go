package nevisidm

import (
	"encoding/base64"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
)

// Which of several keys encrypts is found as package nevisfido finds it for a
// device; where nothing tells, there is an error.
func TestKeysThatNothingTellsApart(t *testing.T) {
	server := start(t, idm.Options{})
	server.Script(fault.JSON(`{"items":[{"identification":"dispatch_target_one","stateName":"active","properties":{
		"a":"{\"kty\":\"RSA\",\"n\":\"AQAB\"}","b":"{\"kty\":\"RSA\",\"n\":\"AQAC\"}"}}]}`))
	wantFailure(t, newSource(t, server, api(apiCredentials)), "which one encrypts")
}

// A key that cannot be read is found all the same, so that it is refused and
// the target does not pass for one without a key.
func TestUnreadableKeysAreFound(t *testing.T) {
	for name, credential := range map[string]bool{"entity": false, "credential": true} {
		for key, want := range map[string]string{
			"garbage":            `"garbage"`,
			string(rsaKey.JWK()): string(rsaKey.JWK()),
			base64.RawURLEncoding.EncodeToString(rsaKey.JWK()): string(rsaKey.JWK()),
		} {
			server := start(t, idm.Options{})
			target := phone("one")
			target.EncryptionKey, target.Credential = key, credential
			server.SetTarget("u-1", target)
			found, err := newSource(t, server, nil).Find(of(t, "u-1"), one)
			if err != nil || string(found.EncryptionKey) != want {
				t.Errorf("%s: found %+v, %v", name, found, err)
			}
		}
	}
}
