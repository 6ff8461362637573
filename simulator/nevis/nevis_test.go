package nevis

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

// client calls a server without a network.
type client struct {
	*Server
	t *testing.T
}

func start(t *testing.T, o Options) *client {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &client{s, t}
}

// answered is an answer; members is nil where the body is not a JSON object.
type answered struct {
	status  int
	header  http.Header
	body    string
	members members
}

func (c *client) do(method, path, body string, header http.Header) answered {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), method, path, strings.NewReader(body))
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	a := answered{status: w.Code, header: w.Header(), body: w.Body.String()}
	_ = decode(w.Body.Bytes(), &a.members)
	return a
}

func (c *client) post(path, body string) answered {
	c.t.Helper()
	media := mediaJSON
	if strings.Contains(path, "/uaf/") {
		media = mediaUAF
	}
	return c.do(http.MethodPost, path, body, http.Header{"Content-Type": {media}})
}

// text returns the string at a path of members, or fails the test.
func (c *client) text(m members, path ...string) (s string) {
	c.t.Helper()
	for _, name := range path[:len(path)-1] {
		var inner members
		if err := decode(unwrap(m[name]), &inner); err != nil {
			c.t.Fatalf("%q in %v: %v", path, m, err)
		}
		m = inner
	}
	if err := decode(m[path[len(path)-1]], &s); err != nil || s == "" {
		c.t.Fatalf("%q in %v: %q, %v", path, m, s, err)
	}
	return s
}

const (
	dispatchAuth = "/nevisfido/token/dispatch/authentication"
	targetsPath  = "/nevisfido/token/dispatch/targets"
	redeemPath   = "/nevisfido/token/redeem/"
	devicePath   = "/nevisfido/devices/credentials/"
	uafPath      = "/nevisfido/uaf/1.1/"
)

// authBody is a dispatch request with members given as JSON text.
func authBody(more string) string {
	return `{` + more + `,"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`
}

var linkBody = authBody(`"dispatcher":"link"`)

// register creates a target for jeff and returns its id.
func (c *client) register(name, more string) string {
	c.t.Helper()
	return c.text(c.post(targetsPath+"/", `{"username":"jeff","name":"`+name+`"`+more+`}`).members, "id")
}

func keyMember(t *testing.T, kind string) (string, *devicekey.PrivateKey) {
	t.Helper()
	key, err := devicekey.GenerateKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	return `,"encryptionKey":` + string(key.Public().JWK()), key
}

func TestStatusCodes(t *testing.T) {
	const authorization = "Basic amVmZjp0b2tlbg=="
	c := start(t, Options{Authorization: authorization, Users: []string{"jeff", "anna"}})
	json := map[string]string{"Authorization": authorization, "Content-Type": mediaJSON}
	with := func(name, value string) map[string]string {
		header := maps.Clone(json)
		header[name] = value
		return header
	}
	uaf, jose := with("Content-Type", mediaUAF), with("Content-Type", mediaJOSE)
	created := c.do("POST", targetsPath, `{"username":"jeff","name":"taken"}`, http.Header{"Authorization": {authorization}, "Content-Type": {mediaJSON}})
	if created.status != http.StatusCreated {
		t.Fatalf("creating a target: %d", created.status)
	}
	id := c.text(created.members, "id")
	for _, tt := range []struct {
		name, method, path string
		header             map[string]string
		body               string
		want               int
	}{
		{"dispatch", "POST", dispatchAuth, json, linkBody, 200},
		{"trailing slash", "POST", dispatchAuth + "/", json, linkBody, 200},
		{"charset", "POST", dispatchAuth, with("Content-Type", "application/json; charset=utf-8"), linkBody, 200},
		{"Accept anything", "POST", dispatchAuth, with("Accept", "*/*"), linkBody, 200},
		{"Accept of a family", "POST", dispatchAuth, with("Accept", "text/html, application/*;q=0.2"), linkBody, 200},
		{"path parameter", "POST", "/nevisfido;v=1/token//dispatch/./authentication", json, linkBody, 200},
		{"context without a username", "POST", dispatchAuth, json, `{"dispatcher":"link","getUafRequest":{"op":"Auth"}}`, 200},
		{"information as text", "POST", dispatchAuth, json, authBody(`"dispatcher":"link","dispatchInformation":"{\"data\":{}}"`), 200},
		{"an operation that is not", "POST", "/nevisfido/token/dispatch/transfer", json, linkBody, 404},
		{"another base path", "POST", "/fido/token/dispatch/authentication", json, linkBody, 404},
		{"letter case", "POST", "/nevisfido/Token/dispatch/authentication", json, linkBody, 404},
		{"not authenticated", "POST", dispatchAuth, with("Authorization", "Basic eA=="), linkBody, 401},
		{"method", "PUT", dispatchAuth, json, linkBody, 405},
		{"Accept without JSON", "POST", dispatchAuth, with("Accept", "text/html"), linkBody, 406},
		{"another media type", "POST", dispatchAuth, with("Content-Type", "text/plain"), linkBody, 415},
		{"another charset", "POST", dispatchAuth, with("Content-Type", "application/json;charset=utf-16"), linkBody, 415},
		{"empty", "POST", dispatchAuth, json, "", 400},
		{"not JSON", "POST", dispatchAuth, json, "{", 400},
		{"null", "POST", dispatchAuth, json, "null", 400},
		{"not UTF-8", "POST", dispatchAuth, json, authBody(`"x":"` + "\xff" + `"`), 400},
		{"dispatcher of another type", "POST", dispatchAuth, json, authBody(`"dispatcher":4`), 400},
		{"information of another type", "POST", dispatchAuth, json, authBody(`"dispatcher":"link","dispatchInformation":[]`), 400},
		{"data of another type", "POST", dispatchAuth, json, authBody(`"dispatcher":"link","dispatchInformation":{"data":[]}`), 400},
		{"op of another operation", "POST", dispatchAuth, json, `{"dispatcher":"link","getUafRequest":{"op":"Reg"}}`, 400},
		{"context as an object", "POST", dispatchAuth, json, `{"getUafRequest":{"op":"Auth","context":{"username":"jeff"}}}`, 400},

		{"create everything", "POST", targetsPath, json, `{"username":"jeff","deviceId":"d","name":"all","target":"push","dispatcher":"link","encryptionKey":{"kty":"RSA"},"signatureKey":"{\"kty\":\"EC\"}"}`, 201},
		{"a name that another user has", "POST", targetsPath, json, `{"username":"anna","name":"taken"}`, 201},
		{"no username", "POST", targetsPath, json, `{"name":"x"}`, 400},
		{"no name", "POST", targetsPath, json, `{"username":"jeff"}`, 400},
		{"a key that is not a JWK", "POST", targetsPath, json, `{"username":"jeff","name":"x","encryptionKey":{}}`, 400},
		{"a key that is not JSON", "POST", targetsPath, json, `{"username":"jeff","name":"x","encryptionKey":"MIIB"}`, 400},
		{"unknown user", "POST", targetsPath, json, `{"username":"mallory","name":"x"}`, 403},
		{"duplicate name", "POST", targetsPath, json, `{"username":"jeff","name":"taken"}`, 422},
		{"a dispatcher of the sidecar", "POST", targetsPath, json, `{"username":"jeff","name":"x","dispatcher":"smtp"}`, 422},
		{"query", "GET", targetsPath + "/?username=jeff", json, "", 200},
		{"query nobody", "GET", targetsPath, json, "", 400},
		{"query an unknown user", "GET", targetsPath + "?username=mallory", json, "", 403},
		{"modify JSON", "PATCH", targetsPath + "/" + id, json, "{}", 415},
		{"modify by something else", "PATCH", targetsPath + "/" + id, jose, "{}", 400},
		{"modify an unknown target", "PATCH", targetsPath + "/gone", jose, "a.b.c", 404},
		{"modify a target without key", "PATCH", targetsPath + "/" + id, jose, "e30.e30.AA", 401},
		{"delete", "DELETE", targetsPath + "/" + id + "/", json, "", 204},
		{"delete again", "DELETE", targetsPath + "/" + id, json, "", 404},

		{"redeem as JSON", "POST", redeemPath + "authentication", with("Accept", mediaJSON), `{"token":"x"}`, 406},
		{"redeem without token", "POST", redeemPath + "authentication", json, `{}`, 400},
		{"redeem something else", "POST", redeemPath + "transfer", json, `{"token":"x"}`, 404},
		{"status without session", "POST", "/nevisfido/status", json, `{}`, 400},
		{"status of nothing", "POST", "/nevisfido/status/", json, `{"sessionId":"x"}`, 200},
		{"in-band request", "POST", uafPath + "request/authentication", uaf, `{"op":"Auth"}`, 200},
		{"in-band request of another operation", "POST", uafPath + "request/authentication", uaf, `{"op":"Reg"}`, 400},
		{"UAF response as JSON", "POST", uafPath + "authentication", json, `{}`, 415},
		{"UAF response without message", "POST", uafPath + "authentication", uaf, `{"uafResponse":"[]"}`, 400},
		{"UAF response without parameters", "POST", uafPath + "registration", uaf, `{"uafResponse":"[{\"fcParams\":\"?\"}]"}`, 400},
		{"facets", "GET", uafPath + "facets", json, "", 404},
	} {
		header := http.Header{}
		for name, value := range tt.header {
			header.Set(name, value)
		}
		if got := c.do(tt.method, tt.path, tt.body, header); got.status != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got.status, tt.want)
		}
	}
}

func TestDispatchResults(t *testing.T) {
	c := start(t, Options{Users: []string{"jeff", "anna"}})
	rsa, _ := keyMember(t, "RSA-2048")
	full, keyless := c.register("full", `,"dispatcher":"link"`+rsa), c.register("keyless", "")
	to := func(dispatcher, target string) string {
		return authBody(`"dispatcher":"` + dispatcher + `","dispatchTargetId":"` + target + `"`)
	}
	old := start(t, Options{Mode: LTS21})
	for name, tt := range map[string]struct {
		c          *client
		body, want string
	}{
		"link":                         {c, linkBody, "dispatched"},
		"link to a target":             {c, to("link", full), "dispatched"},
		"push":                         {c, to("firebase-cloud-messaging", full), "dispatched"},
		"the target's own dispatcher":  {c, authBody(`"dispatchTargetId":"` + full + `"`), "dispatched"},
		"no dispatcher at all":         {c, authBody(`"dispatchTargetId":"` + keyless + `"`), "dispatcherNotFound"},
		"a dispatcher of the sidecar":  {c, to("smtp", full), "dispatcherNotFound"},
		"of a later release":           {old, authBody(`"dispatcher":"link-png-qr-code"`), "dispatcherNotFound"},
		"unknown target":               {c, to("link", "gone"), "dispatchTargetNotFound"},
		"push without target":          {c, authBody(`"dispatcher":"firebase-cloud-messaging"`), "dispatchTargetNotFound"},
		"push without key":             {c, to("firebase-cloud-messaging", keyless), "dispatchError"},
		"content that fits no QR code": {c, authBody(`"dispatcher":"png-qr-code","dispatchInformation":{"data":{"x":"` + strings.Repeat("x", 3000) + `"}}`), "dispatchError"},
		"unknown user":                 {c, strings.Replace(linkBody, "jeff", "mallory", 1), "userNotFound"},
		"target of somebody else":      {c, strings.Replace(to("link", full), "jeff", "anna", 1), "dispatchTargetNotFound"},
	} {
		got := tt.c.post(dispatchAuth, tt.body)
		if got.status != http.StatusOK || c.text(got.members, "dispatchResult") != tt.want {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
		if dispatched := tt.want == "dispatched"; (got.members["token"] != nil) != dispatched || (got.members["sessionId"] != nil) != dispatched {
			t.Errorf("%s: token and sessionId have to come with a success, and only then", name)
		}
	}
	if pushes := c.Pushes(); len(pushes) != 1 || pushes[0].DispatchTargetID != full || pushes[0].Data["nma_data_content_type"] != mediaJOSE {
		t.Errorf("got %d pushes, want the one to the target with a key", len(pushes))
	}
}

// A link carries the data of the request beside token and redeem URL, sealed where
// release and key allow.
func TestMessage(t *testing.T) {
	const redeemURL = `"https://fido.example.com/nevisfido/token/redeem/authentication"`
	for name, tt := range map[string]struct {
		mode               Mode
		key                string // of the target
		data, member, want string
		sealed             bool
	}{
		"text":                           {V8_2511, "P-256", `{"orderNo":"\u0034711"}`, "orderNo", `"\u0034711"`, false},
		"a number keeps its spelling":    {V8_2511, "P-256", `{"amount":10.50}`, "amount", `10.50`, false},
		"JSON within a string":           {V8_2511, "P-256", `"{\"orderNo\":1}"`, "orderNo", `1`, false},
		"plain text":                     {V8_2511, "P-256", `"hello"`, "data", `"hello"`, false},
		"the redeem URL stays nevisFIDO": {V8_2511, "P-256", `{"token":"mine","redeem_url":"https://evil.example"}`, "redeem_url", redeemURL, false},
		"a key that nevisFIDO can use":   {V8_2511, "RSA-2048", `{"orderNo":1}`, "orderNo", `1`, true},
		"LTS21":                          {LTS21, "RSA-2048", `{"orderNo":1}`, "orderNo", `1`, false},
	} {
		c := start(t, Options{Mode: tt.mode})
		jwk, key := keyMember(t, tt.key)
		got := c.post(dispatchAuth, authBody(`"dispatcher":"link","dispatchTargetId":"`+c.register("phone", jwk)+`","dispatchInformation":{"data":`+tt.data+`}`))
		_, encoded, _ := strings.Cut(c.text(got.members, "dispatcherInformation", "response"), "?dispatchTokenResponse=")
		e, err := nevisfido.DecodeEnvelope(encoded)
		if err != nil {
			t.Fatal(err)
		}
		var envelope, content members
		if err := decode(e.JSON(), &envelope); err != nil {
			t.Fatal(err)
		}
		media, text := mediaJSON, []byte(envelope["nma_data"])
		if tt.sealed {
			media = mediaJOSE
			if text, err = key.Open(c.text(envelope, "nma_data")); err != nil {
				t.Fatal(err)
			}
		}
		if err := decode(text, &content); err != nil {
			t.Fatal(err)
		}
		if c.text(content, "token") != c.text(got.members, "token") || string(content[tt.member]) != tt.want || c.text(envelope, "nma_data_content_type") != media {
			t.Errorf("%s: got %s", name, content)
		}
	}
}
