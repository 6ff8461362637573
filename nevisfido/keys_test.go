package nevisfido

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

// Keys as devices may send them; none is a real one.
const (
	rsaJWK    = `{"kty":"RSA","n":"AQAB","e":"AQAB"}`
	rsaJWK2   = `{"kty":"RSA","n":"AQAC","e":"AQAB"}`
	ecJWK     = `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`
	ecJWK2    = `{"kty":"EC","crv":"P-256","x":"AB","y":"AB"}`
	edJWK     = `{"kty":"OKP","crv":"Ed25519","x":"AA"}`
	encJWK    = `{"kty":"EC","crv":"P-256","x":"AC","y":"AC","use":"enc"}`
	sigJWK    = `{"kty":"EC","crv":"P-256","x":"AD","y":"AD","use":"sig"}`
	verifyJWK = `{"kty":"RSA","n":"AQAD","e":"AQAB","key_ops":["verify"]}`
)

func TestParseJWKByShape(t *testing.T) {
	standard := base64.StdEncoding.EncodeToString([]byte(rsaJWK))
	for value, want := range map[string]string{
		rsaJWK:               rsaJWK,
		quoted(rsaJWK):       rsaJWK,
		quoted(" " + rsaJWK): rsaJWK,
		quoted(standard):     rsaJWK,
		quoted(base64.RawURLEncoding.EncodeToString([]byte(rsaJWK))): rsaJWK,
		quoted(standard[:20] + "\r\n" + standard[20:]):               rsaJWK,
		`{"kty":"oct","k":"AA"}`:                                     `{"kty":"oct","k":"AA"}`,
		quoted(`{"kty":"RSA","kty":"EC"}`):                           `{"kty":"RSA","kty":"EC"}`,
		`{"KTY":"RSA"}`:                                              `{"KTY":"RSA"}`,
		`{"kty":"RSA","use":7}`:                                      `{"kty":"RSA","use":7}`,
	} {
		if text, ok := ParseJWK([]byte(value)); !ok || string(text) != want {
			t.Errorf("%s: got %s, %v", value, text, ok)
		}
	}
	for _, value := range []string{
		``, `null`, `7`, `{}`, `{"kty":7}`, `{"kty":""}`, `[` + rsaJWK + `]`, `"RSA"`, `"bm8gSldL"`, quoted(quoted(rsaJWK)),
		`{"keys":[` + rsaJWK + `]}`, quoted(strings.Repeat(`{"kty":`, 64)),
	} {
		if text, ok := ParseJWK([]byte(value)); ok {
			t.Errorf("%s passes for the key %s", value, text)
		}
	}
}

func quoted(text string) string { return string(strictjson.Quote(text)) }

func TestKeysOfATarget(t *testing.T) {
	for name, c := range map[string]struct{ members, encryption, signature string }{
		"documented":                       {`"encryptionKey":` + ecJWK + `,"signatureKey":` + rsaJWK, ecJWK, rsaJWK},
		"documented, as text":              {`"encryptionKey":` + quoted(rsaJWK), rsaJWK, ""},
		"documented, in base64":            {`"encryptionKey":` + quoted(base64.StdEncoding.EncodeToString([]byte(rsaJWK))), rsaJWK, ""},
		"documented, wrapped":              {`"encryptionKey":{"jwk":` + rsaJWK + `}`, rsaJWK, ""},
		"documented, no key":               {`"encryptionKey":"garbage"`, `"garbage"`, ""},
		"documented, empty":                {`"encryptionKey":"","publicKey":` + rsaJWK, rsaJWK, ""},
		"documented wins":                  {`"encryptionKey":` + ecJWK + `,"encKey":` + encJWK + `,"jwks":[` + rsaJWK + `,` + rsaJWK2 + `]`, ecJWK, ""},
		"documented garbage wins":          {`"encryptionKey":"garbage","encKey":` + encJWK + `,"signatureKey":` + ecJWK, `"garbage"`, ecJWK},
		"publicKey":                        {`"publicKey":` + rsaJWK + `,"signatureKey":` + ecJWK, rsaJWK, ecJWK},
		"publicKey, EC":                    {`"publicKey":` + ecJWK + `,"signatureKey":` + edJWK, ecJWK, edJWK},
		"publicKey alone":                  {`"publicKey":` + ecJWK, ecJWK, ""},
		"encKey":                           {`"encKey":` + ecJWK + `,"signatureKey":` + edJWK, ecJWK, edJWK},
		"encryptionPublicKey":              {`"encryptionPublicKey":` + ecJWK + `,"signaturePublicKey":` + ecJWK2, ecJWK, ecJWK2},
		"encryption_key":                   {`"encryption_key":` + ecJWK + `,"signature_key":` + ecJWK2, ecJWK, ecJWK2},
		"encryptionKeyJwk":                 {`"encryptionKeyJwk":` + quoted(ecJWK), ecJWK, ""},
		"below names that speak":           {`"keys":{"encryption":` + ecJWK + `,"signing":` + ecJWK2 + `}`, ecJWK, ecJWK2},
		"below names that speak, in text":  {`"keys":` + quoted(`{"encryption":`+ecJWK+`,"signing":`+ecJWK2+`}`), ecJWK, ecJWK2},
		"the outer name speaks":            {`"encryption":{"key":` + ecJWK + `},"other":` + ecJWK2, ecJWK, ecJWK2},
		"use tells":                        {`"a":` + sigJWK + `,"b":` + encJWK, encJWK, sigJWK},
		"use tells in a set":               {`"jwks":{"keys":[` + sigJWK + `,` + encJWK + `]}`, encJWK, sigJWK},
		"key_ops tells":                    {`"a":` + verifyJWK + `,"b":` + rsaJWK, rsaJWK, verifyJWK},
		"type tells":                       {`"a":` + ecJWK + `,"b":` + rsaJWK, rsaJWK, ecJWK},
		"curve tells":                      {`"a":` + edJWK + `,"b":` + ecJWK, ecJWK, edJWK},
		"key before name":                  {`"signature":` + encJWK, encJWK, ""},
		"refused for its use, not skipped": {`"encKey":` + sigJWK, sigJWK, ""},
		"the same key twice":               {`"publicKey":` + ecJWK + `,"jwk":` + ecJWK + `,"signatureKey":` + edJWK, ecJWK, edJWK},
		"no JWK, but called a key":         {`"encryption_key":"MIIBIjANBgkqhkiG"`, `"MIIBIjANBgkqhkiG"`, ""},
		"no JWK below keys":                {`"keys":{"encryption":"-----BEGIN PUBLIC KEY-----"}`, `"-----BEGIN PUBLIC KEY-----"`, ""},
		"no key":                           {`"encryptionKeyId":"7","encryptionEnabled":true,"encKey":"","reference":"x"`, "", ""},
		"address and name are none":        {`"name":` + quoted(rsaJWK) + `,"target":` + quoted(rsaJWK2), "", ""},
		"two that nothing tells apart":     {`"a":` + ecJWK + `,"b":` + ecJWK2, string(unclearKey), ""},
		"two that encrypt":                 {`"encKey":` + ecJWK + `,"b":` + encJWK, string(unclearKey), ""},
		"one too many":                     {`"encKey":` + ecJWK + `,"sigKey":` + ecJWK2 + `,"b":` + edJWK, string(unclearKey), ""},
		"unreadable":                       {`"keys":` + quoted(`{"a":`+rsaJWK+`,"a":1}`), string(unclearKey), ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := ParseTarget([]byte(`{"deviceId":"d",` + c.members + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if string(d.EncryptionKey) != c.encryption || string(d.SignatureKey) != c.signature {
				t.Errorf("got %s and %s", d.EncryptionKey, d.SignatureKey)
			}
		})
	}
}

func TestKeysOfAModification(t *testing.T) {
	for name, c := range map[string]struct {
		members, encryption, signature string
		unclear                        bool
	}{
		"documented":        {`"encryptionKey":` + ecJWK, ecJWK, "", false},
		"encryption_key":    {`"encryption_key":` + ecJWK, ecJWK, "", false},
		"nested":            {`"dispatchTarget":{"encryptionKey":` + ecJWK + `}`, ecJWK, "", false},
		"RSA":               {`"publicKey":` + rsaJWK, rsaJWK, "", false},
		"signature":         {`"publicKey":` + edJWK, "", edJWK, false},
		"either":            {`"publicKey":` + ecJWK, "", "", true},
		"a second one":      {`"encryptionKey":` + encJWK + `,"publicKey":` + ecJWK, encJWK, "", true},
		"the other one":     {`"signatureKey":` + edJWK + `,"publicKey":` + ecJWK, ecJWK, edJWK, false},
		"several":           {`"jwks":[` + rsaJWK + `,` + rsaJWK2 + `]`, "", "", true},
		"one too many":      {`"encryptionKey":` + encJWK + `,"jwks":[` + ecJWK + `,` + ecJWK2 + `]`, encJWK, "", true},
		"unreadable":        {`"x":` + quoted(`{"kty":"RSA"`), "", "", true},
		"no JWK at all":     {`"encKey":"MIIBIjAN"`, `"MIIBIjAN"`, "", false},
		"no key":            {`"name":"phone"`, "", "", false},
		"a null is no key":  {`"encryptionKey":null`, "", "", false},
		"nothing but a key": {`"signing_key":` + quoted(ecJWK), "", ecJWK, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := ParseModification([]byte(`{"requestId":"r","dispatcher":"push",` + c.members + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if string(m.EncryptionKey) != c.encryption || string(m.SignatureKey) != c.signature || m.UnclearKeys != c.unclear {
				t.Errorf("got %s and %s, unclear: %v", m.EncryptionKey, m.SignatureKey, m.UnclearKeys)
			}
			if only := c.encryption+c.signature == "" && !c.unclear && m.Name == nil; m.OnlyDispatcher() != only {
				t.Errorf("passes for a change of the dispatcher: %v", m.OnlyDispatcher())
			}
		})
	}
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"encryptionPublicKey": "encryption public key", "encryption_key": "encryption key", "JWKForEncryption": "jwk for encryption",
		"encKeyJWK": "enc key jwk", "--a..b ": "a b", "": "", "Éa_ü": "éa ü",
	} {
		if got := strings.Join(words(name), " "); got != want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// The search ends in time, whatever a request is stuffed with.
func TestStuffedTarget(t *testing.T) {
	var keys, objects strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&keys, `{"kty":"%d"},`, i)
		fmt.Fprintf(&objects, `{"id":"%d"},`, i)
	}
	d, err := ParseTarget([]byte(`{"keys":[` + keys.String() + `null]}`))
	if err != nil || string(d.EncryptionKey) != string(unclearKey) {
		t.Errorf("got %s, %v", d.EncryptionKey, err)
	}
	if _, err := ParseRegistration([]byte(`{"context":{"dispatchTargets":[` + objects.String() + `null]}}`)); !errors.Is(err, ErrUnreadableTarget) {
		t.Errorf("got %v", err)
	}
	if _, err := ParseRegistered([]byte(`{"statusCode":1200,"description":[` + objects.String() + `null]}`)); !errors.Is(err, ErrSeveralIDs) {
		t.Errorf("got %v", err)
	}
}

// A generic credential has a signature key before it has any other.
func TestKeysOfACredential(t *testing.T) {
	for name, c := range map[string]struct {
		properties map[string]string
		want       Keys
	}{
		"RSA alone": {map[string]string{"a": rsaJWK}, Keys{Encryption: []byte(rsaJWK)}},
		"EC alone":  {map[string]string{"a": ecJWK}, Keys{Signature: []byte(ecJWK)}},
		"two":       {map[string]string{"a": ecJWK, "b": ecJWK2}, Keys{Unclear: true}},
	} {
		got := FindKeys(raw(c.properties))
		if string(got.Encryption) != string(c.want.Encryption) || string(got.Signature) != string(c.want.Signature) || got.Unclear != c.want.Unclear {
			t.Errorf("%s: got %s and %s, unclear: %v", name, got.Encryption, got.Signature, got.Unclear)
		}
	}
}

func raw(texts map[string]string) map[string][]byte {
	all := make(map[string][]byte)
	for name, text := range texts {
		all[name] = []byte(text)
	}
	return all
}

func TestParseRegistration(t *testing.T) {
	const target = `{"target":"a","encKey":` + rsaJWK + `}`
	for name, context := range map[string]string{
		"as assumed":                 `{"asmStatusCode":0,"dispatchTarget":` + target + `}`,
		"in text":                    `{"dispatchTarget":` + quoted(target) + `}`,
		"deeper":                     `{"x":[{"y":{"dispatchTarget":` + target + `}}]}`,
		"another spelling":           `{"dispatch_target":` + target + `}`,
		"in capitals":                `{"DispatchTarget":` + target + `}`,
		"in a list":                  `{"dispatchTargets":[` + target + `]}`,
		"another name":               `{"device":` + target + `}`,
		"another name, in text":      `{"device":` + quoted(target) + `}`,
		"the context itself":         target,
		"a list":                     `[` + target + `]`,
		"named by its dispatcher":    `{"x":{"dispatcher":"fcm","target":"a","keys":[` + rsaJWK + `]}}`,
		"twice the same":             `{"a":` + target + `,"b":` + target + `}`,
		"beside a key of a session":  `{"session":{"key":` + ecJWK + `},"dispatchTarget":` + target + `}`,
		"beside a key of no purpose": `{"session":{"key":` + ecJWK + `},"device":` + target + `}`,
	} {
		for _, body := range []string{`{"context":` + quoted(context) + `}`, `{"uafResponse":"[]","context":` + context + `}`} {
			d, err := ParseRegistration([]byte(body))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if d.Target != "a" || string(d.EncryptionKey) != rsaJWK {
				t.Errorf("%s: got %+v", name, d)
			}
		}
	}
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"no context":                {`{}`, ErrNoTarget},
		"an empty context":          {`{"context":"{}"}`, ErrNoTarget},
		"a context of free text":    {`{"context":"plain"}`, ErrNoTarget},
		"null":                      {`{"context":"{\"dispatchTarget\":null}"}`, ErrNoTarget},
		"a key of an authenticator": {`{"uafResponse":` + quoted(`[{"assertions":[{"target":"a","key":`+rsaJWK+`}]}]`) + `,"context":"{}"}`, ErrNoTarget},
		"a key of a session":        {`{"context":{"session":{"jwk":` + rsaJWK + `}}}`, ErrNoTarget},
		"an address without a key":  {`{"context":{"target":"a"}}`, ErrNoTarget},
		"beside the context":        {`{"dispatchTarget":` + target + `}`, ErrNoTarget},
		"several":                   {`{"context":{"a":` + target + `,"b":{"target":"b","key":` + rsaJWK2 + `}}}`, ErrUnreadableTarget},
		"several by name":           {`{"context":{"dispatchTarget":` + target + `,"b":{"dispatchTarget":{"target":"b"}}}}`, ErrUnreadableTarget},
		"a wrong type":              {`{"context":{"dispatchTarget":{"target":7}}}`, ErrUnreadableTarget},
	} {
		if d, err := ParseRegistration([]byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %+v, %v", name, d, err)
		}
	}
	for _, body := range []string{`x`, `{"context":1,"context":2}`} {
		if _, err := ParseRegistration([]byte(body)); err == nil || errors.Is(err, ErrNoTarget) {
			t.Errorf("%s: got %v", body, err)
		}
	}
}
