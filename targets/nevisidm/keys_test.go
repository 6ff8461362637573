package nevisidm

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
)

func TestKeysByShape(t *testing.T) {
	const (
		rsa1   = `{"kty":"RSA","n":"AQAB","e":"AQAB"}`
		rsa2   = `{"kty":"RSA","n":"AQAC","e":"AQAB"}`
		ec1    = `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`
		ec2    = `{"kty":"EC","crv":"P-256","x":"AB","y":"AB"}`
		okp    = `{"kty":"OKP","crv":"Ed25519","x":"AA"}`
		rsaEnc = `{"kty":"RSA","n":"AQAD","e":"AQAB","use":"enc"}`
		rsaSig = `{"kty":"RSA","n":"AQAE","e":"AQAB","alg":"PS256"}`
		ecEnc  = `{"kty":"EC","crv":"P-256","x":"AC","y":"AC","alg":"ECDH-ES+A256KW"}`
		ecDer  = `{"kty":"EC","crv":"P-256","x":"AD","y":"AD","key_ops":["deriveKey"]}`
		ecVer  = `{"kty":"EC","crv":"P-256","x":"AE","y":"AE","key_ops":["verify"]}`
		odd    = `{"kty":"RSA","use":7}`
	)
	for name, test := range map[string]struct {
		properties            map[string]any
		encryption, signature string
	}{
		"none":                  {map[string]any{"fidouaf_name": "phone", "n": 1, "o": map[string]any{"a": 1}}, "", ""},
		"RSA and EC":            {map[string]any{"a": ec1, "b": rsa1}, rsa1, ec1},
		"RSA and OKP":           {map[string]any{"a": rsa1, "b": okp}, rsa1, okp},
		"objects":               {map[string]any{"a": json.RawMessage(ec1), "b": json.RawMessage(rsa1)}, rsa1, ec1},
		"RSA alone":             {map[string]any{"a": rsa1}, rsa1, ""},
		"EC alone":              {map[string]any{"a": ec1}, "", ec1},
		"names tell":            {map[string]any{"fidouaf_signature_key": rsa1, "fidouaf_encryption_key": rsa2}, rsa2, rsa1},
		"names before keys":     {map[string]any{"signingKey": ecEnc, "EncryptionKey": ecVer}, ecVer, ecEnc},
		"use and alg tell":      {map[string]any{"a": rsaSig, "b": rsaEnc}, rsaEnc, rsaSig},
		"alg and key_ops tell":  {map[string]any{"a": ecEnc, "b": ecVer}, ecEnc, ecVer},
		"key_ops tell":          {map[string]any{"a": ecDer, "b": ec1}, ecDer, ec1},
		"one tells, EC is left": {map[string]any{"sign": okp, "b": ec1}, ec1, okp},
		"RSA is left":           {map[string]any{"b": rsa1, "c": rsaEnc}, rsaEnc, rsa1},
		"reference is no hint":  {map[string]any{"reference": ec1}, "", ec1},
		"key that is refused":   {map[string]any{"a": odd}, odd, ""},
		"text that is no key":   {map[string]any{"fidouaf_encryption_key": "garbage"}, `"garbage"`, ""},
		"base64":                {map[string]any{"a": base64.StdEncoding.EncodeToString([]byte(rsa1))}, rsa1, ""},
		"address is no key":     {map[string]any{"fidouaf_target": rsa1}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			encryption, signature, err := keysOf(properties(t, test.properties))
			if err != nil || string(encryption) != test.encryption || string(signature) != test.signature {
				t.Errorf("got %s and %s, error %v", encryption, signature, err)
			}
		})
	}
	for name, ambiguous := range map[string]map[string]any{
		"two RSA":              {"a": rsa1, "b": rsa2},
		"two EC":               {"a": ec1, "b": ec2},
		"two that encrypt":     {"a": rsaEnc, "b": ecEnc},
		"two that sign":        {"a": ecVer, "b": rsaSig},
		"nothing is left over": {"a": rsaEnc, "b": ecVer, "c": ec1},
	} {
		if encryption, signature, err := keysOf(properties(t, ambiguous)); err == nil {
			t.Errorf("%s: got %s and %s", name, encryption, signature)
		}
	}
}

func properties(t *testing.T, values map[string]any) map[string]json.RawMessage {
	t.Helper()
	raw := make(map[string]json.RawMessage)
	for name, value := range values {
		raw[name] = must(json.Marshal(value))
	}
	return raw
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
