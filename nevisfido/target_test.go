package nevisfido

import (
	"errors"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	const body = `{ "username":"jeff","deviceId":"d","name":"phone","target":"push-1", "dispatcher":"push",
		"signatureKey":{"kty":"EC"},"encryptionKey":"{\"kty\":\"RSA\"}","other":1}`
	d, err := ParseTarget([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if d.Username != "jeff" || d.DeviceID != "d" || d.Name != "phone" || d.Target != "push-1" || d.Dispatcher != "push" {
		t.Errorf("got %+v", d)
	}
	if string(d.SignatureKey) != `{"kty":"EC"}` || string(d.EncryptionKey) != `{"kty":"RSA"}` {
		t.Errorf("keys: %s, %s", d.SignatureKey, d.EncryptionKey)
	}
	if got := string(d.WithDispatcher("link")); got != strings.Replace(body, `"push",`, `"link",`, 1) {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{`{"Target":"x"}`, `{"target":1}`, `{"name":"a","name":"b"}`, `x`} {
		if _, err := ParseTarget([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestParseCreated(t *testing.T) {
	if c, err := ParseCreated([]byte(`{"id":"1","extId":"2"}`)); err != nil || c != (CreatedTarget{ID: "1", ExtID: "2"}) {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, bad := range []string{`{}`, `{"id":""}`, `{"id":1}`, ``, `<html>`} {
		if _, err := ParseCreated([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestParseModification(t *testing.T) {
	m, err := ParseModification([]byte(`{"requestId":"r","creationTimeInEpochMillis":1700000000000,"dispatchTargetId":"1","dispatcher":"push"}`))
	if err != nil || m.TargetID != "1" || m.RequestID != "r" || m.CreatedAt != 1700000000000 || *m.Dispatcher != "push" || !m.OnlyDispatcher() {
		t.Errorf("got %+v, %v", m, err)
	}
	m, err = ParseModification([]byte(`{"dispatcher":"push","encryptionKey":{"kty":"RSA"}}`))
	if err != nil || m.OnlyDispatcher() {
		t.Errorf("a change of key passes for a change of dispatcher: %+v, %v", m, err)
	}
	for _, bad := range []string{`{"creationTimeInEpochMillis":"1"}`, `{"creationTimeInEpochMillis":1.5}`, `{"name":1}`, `{"Target":"x"}`, ``} {
		if _, err := ParseModification([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestRenameDispatchers(t *testing.T) {
	rename := func(id, dispatcher string) string {
		if id == "1" {
			return "push"
		}
		return dispatcher
	}
	for body, want := range map[string]string{
		`{"dispatchTargets":[ {"id":"1","dispatcher":"link","n":1.0} , {"id":"2","dispatcher":"link"}],"x":1}`: `{"dispatchTargets":[ {"id":"1","dispatcher":"push","n":1.0} , {"id":"2","dispatcher":"link"}],"x":1}`,
		`{"dispatchTargets":[]}`: `{"dispatchTargets":[]}`,
		`{}`:                     `{}`,
		`{"dispatchTargets":[{"id":1,"dispatcher":"link"}]}`: `{"dispatchTargets":[{"id":1,"dispatcher":"link"}]}`,
	} {
		got, err := RenameDispatchers([]byte(body), rename)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
	for _, bad := range []string{`x`, `{"dispatchTargets":{}}`, `{"dispatchTargets":[1]}`} {
		if _, err := RenameDispatchers([]byte(bad), rename); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestParseRegistered(t *testing.T) {
	const id = "f0b4c1d2-0000-4000-8000-1234567890ab"
	for body, want := range map[string]CreatedTarget{
		`{"statusCode":1200,"description":"{\"dispatchTargetId\":\"7\"}"}`:                              {ID: "7"},
		`{"statusCode":1200,"description":"{\"a\":{\"dispatchTargetId\":\"7\"}}"}`:                      {ID: "7"},
		`{"statusCode":1200,"description":"{\"dispatchTarget\":{\"id\":\"7\",\"extId\":\"e\"}}"}`:       {ID: "7", ExtID: "e"},
		`{"statusCode":1200,"description":{"dispatchTargetId":"7"}}`:                                    {ID: "7"},
		`{"statusCode":1200,"description":"{\"dispatch_target_id\":\"7\"}"}`:                            {ID: "7"},
		`{"statusCode":1200,"description":"{\"DispatchTargetID\":\"7\"}"}`:                              {ID: "7"},
		`{"statusCode":1200,"description":"{\"dispatchTarget\":\"7\"}"}`:                                {ID: "7"},
		`{"statusCode":1200,"description":"{\"dispatchTarget\":\"{\\\"id\\\":\\\"7\\\"}\"}"}`:           {ID: "7"},
		`{"statusCode":1200,"description":"{\"targetId\":\"7\"}"}`:                                      {ID: "7"},
		`{"statusCode":1200,"description":"{\"id\":\"7\",\"extId\":\"e\"}"}`:                            {ID: "7", ExtID: "e"},
		`{"statusCode":1200,"description":"[{\"dispatchTargetId\":\"7\"}]"}`:                            {ID: "7"},
		`{"statusCode":1200,"description":"[{\"id\":\"7\"}]"}`:                                          {ID: "7"},
		`{"statusCode":1200,"description":"[\"` + id + `\"]"}`:                                          {ID: id},
		`{"statusCode":1200,"description":" ` + id + ` "}`:                                              {ID: id},
		`{"statusCode":1200,"dispatchTargetId":"7"}`:                                                    {ID: "7"},
		`{"statusCode":"1200","description":"{\"dispatchTargetId\":\"7\"}"}`:                            {ID: "7"},
		`{"statusCode":1200,"description":"{\"dispatchTargetId\":\"7\",\"id\":\"other\"}"}`:             {ID: "7"},
		`{"statusCode":1200,"description":"{\"dispatchTargetId\":\"7\",\"dispatchTarget\":\"7\"}"}`:     {ID: "7"},
		`{"statusCode":1200,"description":"{\"dispatchTargetId\":\"7\",\"session\":{\"id\":\"s-1\"}}"}`: {ID: "7"},
	} {
		c, err := ParseRegistered([]byte(body))
		if c.Guesses == 0 {
			t.Errorf("%s: no guess is reported", body)
		}
		if c.Guesses = 0; err != nil || c != want {
			t.Errorf("%s: got %+v, %v", body, c, err)
		}
	}
	for body, want := range map[string]error{
		`{"statusCode":1498,"description":"{\"dispatchTargetId\":\"7\"}"}`: ErrNoTarget,
		`{"description":"{\"dispatchTargetId\":\"7\"}"}`:                   ErrNoTarget,
		`{"statusCode":1200}`:                                                                       ErrNoID,
		`{"statusCode":1200,"description":"OK"}`:                                                    ErrNoID,
		`{"statusCode":1200,"description":"Operation 4711 succeeded"}`:                              ErrNoID,
		`{"statusCode":1200,"description":"SUCCEEDED_1200"}`:                                        ErrNoID,
		`{"statusCode":1200,"description":"20261123120000"}`:                                        ErrNoID,
		`{"statusCode":1200,"description":"{\"dispatchTargetId\":\"\"}"}`:                           ErrNoID,
		`{"statusCode":1200,"description":"{\"dispatchTarget\":\"it was created\"}"}`:               ErrNoID,
		`{"statusCode":1200,"description":"{\"session\":{\"id\":\"s-1\"}}"}`:                        ErrNoID,
		`{"statusCode":1200,"description":"{\"dispatchTargetId\":\"7\",\"dispatchTarget\":\"8\"}"}`: ErrSeveralIDs,
		`{"statusCode":1200,"description":"{\"id\":\"7\",\"targetId\":\"8\"}"}`:                     ErrSeveralIDs,
		`{"statusCode":1200,"description":"[{\"id\":\"7\"},{\"id\":\"8\"}]"}`:                       ErrSeveralIDs,
		`{"statusCode":1200,"description":"[\"` + id + `\",\"` + id + `0\"]"}`:                      ErrSeveralIDs,
		`{"statusCode":1200,"description":"{\"dispatchTargets\":[{\"id\":\"7\"},{\"id\":\"8\"}]}"}`: ErrSeveralIDs,
		`{"statusCode":1200,"dispatchTargetId":"7","description":"{\"dispatch_target_id\":\"8\"}"}`: ErrSeveralIDs,
	} {
		if _, err := ParseRegistered([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", body, err, want)
		}
	}
}

// secret stands in the seeds of fuzz targets for what no error may quote.
const secret = "Zx7Q-canary"

func quotes(err error) bool { return err != nil && strings.Contains(err.Error(), secret) }

// FuzzRegistration reads what registers and changes targets. There is an error or
// what was looked for; a key is the same key when it is read again; an error quotes
// nothing.
func FuzzRegistration(f *testing.F) {
	for _, seed := range []string{
		`{"context":"{\"dispatchTarget\":{\"name\":\"` + secret + `\",\"encryptionKey\":\"{}\"}}"}`,
		`{"context":"{\"device\":[{\"target\":\"t\",\"keys\":{\"encryption\":{\"kty\":\"RSA\"}}}]}"}`,
		`{"context":{"DispatchTargets":["{\"publicKey\":\"eyJrdHkiOiJSU0EifQ==\"}"]}}`,
		`{"statusCode":1200,"description":"{\"dispatchTargetId\":\"7\"}"}`,
		`{"statusCode":1200,"description":"[{\"id\":\"7\"},\"f0b4c1d2-1\"]"}`,
		`{"dispatchTargetId":"1","encryption_key":"{\"kty\":\"EC\",\"key_ops\":[1],\"kty\":2}"}`,
		`{"jwks":[{"kty":"EC"},{"kty":"EC","use":"sig"}],"encKey":"MIIB"}`,
		`{"requestId":"r","creationTimeInEpochMillis":1700000000000,"dispatchTarget":{"dispatcher":"` + secret + `","target":"` + secret + `"}}`,
		`{"id":"` + secret + `","` + secret + `":1,"` + secret + `":2}`, `{"name":["` + secret + `"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := ParseRegistration(body)
		if err == nil && d == nil || quotes(err) {
			t.Errorf("a target %v with error %v", d, err)
		}
		if c, err := ParseRegistered(body); (err == nil) != (c.ID != "") || quotes(err) {
			t.Errorf("got id %q, %v", c.ID, err)
		}
		if m, err := ParseModification(body); err == nil && m.OnlyDispatcher() && (m.UnclearKeys || m.EncryptionKey != nil) || quotes(err) {
			t.Errorf("a change of key passes for a change of dispatcher, or %v", err)
		}
		if text, ok := ParseJWK(body); ok {
			if again, ok := ParseJWK(text); !ok || string(again) != string(text) {
				t.Errorf("%s is no key any more", text)
			}
		}
		if _, err := ParseTarget(body); quotes(err) {
			t.Error(err)
		}
		if _, err := ParseCreated(body); quotes(err) {
			t.Error(err)
		}
		_ = FindKeys(map[string][]byte{"a": body, "encryptionKey": body})
	})
}

// FuzzTargetList renames dispatchers in the answer to a query. Nothing else changes,
// and with the names of before it there is as much to be renamed again.
func FuzzTargetList(f *testing.F) {
	for _, seed := range []string{
		`{"dispatchTargets":[{"id":"1","dispatcher":"link","name":"x"}, {"id":"2"},{"id":"","dispatcher":"a"}] ,"more":1e400}`, `{"dispatchTargets":null}`, ` { } `,
		`{"dispatchTargets":[1]}`, `{"dispatchTargets":"` + secret + `"}`, `{"dispatchTargets":[{"id":"1","dispatcher":null},{"dispatcher":"\u006cink","id":"1"}]}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		same, err := RenameDispatchers(body, func(_, name string) string { return name })
		if err != nil {
			if quotes(err) {
				t.Error(err)
			}
			return
		}
		if string(same) != string(body) {
			t.Errorf("without a change %q becomes %q", body, same)
		}
		var before []string
		renamed, err := RenameDispatchers(body, func(_, name string) string { before = append(before, name); return name + "x" })
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		back, err := RenameDispatchers(renamed, func(_, name string) string {
			if n++; n > len(before) || name != before[n-1]+"x" {
				t.Errorf("%q becomes %q", body, renamed)
				return name
			}
			return before[n-1]
		})
		if err != nil || n != len(before) {
			t.Errorf("%q becomes %q and %q, %v", body, renamed, back, err)
		}
	})
}
