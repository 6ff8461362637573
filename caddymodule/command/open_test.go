package command

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

const (
	openToken  = "5c1f-token-secret"
	openRedeem = "https://fido.example.com/nevisfido/token/redeem/authentication"
	openPlain  = `{"token":"` + openToken + `","redeem_url":"` + openRedeem + `","orderNo":4711}`
	openBase   = "https://app.example.com/open"
)

// phone is a device key in a file.
type phone struct {
	*deviceKey
	file string
}

func newPhone(t *testing.T, kind string) phone {
	t.Helper()
	path := filepath.Join(t.TempDir(), "phone.jwk")
	content, _ := mustMake(t, path, "keygen", "device", path, "--type", kind)
	key, err := parseDeviceKey(content)
	if err != nil {
		t.Fatal(err)
	}
	return phone{key, path}
}

// seal makes a JWE with any algorithms and header, unlike package encrypt.
func (p phone) seal(t *testing.T, alg jose.KeyAlgorithm, enc jose.ContentEncryption, options *jose.EncrypterOptions, text string) string {
	t.Helper()
	encrypter, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: p.private.Public().Key}, options)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypter.Encrypt([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := sealed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func (p phone) sealed(t *testing.T, text string) string {
	t.Helper()
	return p.seal(t, jose.RSA_OAEP_256, jose.A256CBC_HS512, nil, text)
}

func plainEnvelope() nevisfido.Envelope {
	return nevisfido.Envelope{Data: []byte(openPlain), ContentType: nevisfido.ContentTypePlain, Version: "1"}
}

func code(t *testing.T, text string) []byte {
	t.Helper()
	picture, err := qr.PNG(t.Context(), text, qr.Options{Size: 600})
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

func asJPEG(t *testing.T, picture []byte) string {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, decoded, nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func fields(t *testing.T, e nevisfido.Envelope) string {
	t.Helper()
	text, err := json.Marshal(e.Fields())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// view is what open prints with --json.
type view struct {
	opened
	Payload map[string]any `json:"payload"`
}

func openJSON(t *testing.T, in string, args ...string) (view, result) {
	t.Helper()
	r := caddyOOB(t, in, append([]string{"open", "--json"}, args...)...)
	var v view
	if r.out != "" {
		if err := json.Unmarshal([]byte(r.out), &v); err != nil {
			t.Fatalf("%v: %s", err, r.out)
		}
	}
	return v, r
}

// Every form of the same message leads to the same payload, and none shows the
// token unless asked.
func TestOpenForms(t *testing.T) {
	p := newPhone(t, "RSA-2048")
	jwe := p.sealed(t, openPlain)
	e := plainEnvelope().Sealed(jwe)
	link := nevisfido.Link(openBase, e)
	picture := code(t, link)
	for name, tt := range map[string]struct {
		in   string
		want func(view) bool
	}{
		"link":             {link + "\n", func(v view) bool { return v.Link.Base == openBase && v.Link.Size == len(link) }},
		"PNG":              {string(picture), func(v view) bool { return v.Picture.Format == "png" && v.Picture.Width == 600 && v.Link != nil }},
		"JPEG":             {asJPEG(t, picture), func(v view) bool { return v.Picture.Format == "jpeg" && v.Link != nil }},
		"PNG of no link":   {string(code(t, e.Encoded())), func(v view) bool { return v.Picture != nil && v.Link == nil }},
		"PNG in base64":    {base64.StdEncoding.EncodeToString(picture), func(v view) bool { return v.Picture != nil }},
		"PNG in data URL":  {"data:image/png;base64," + base64.StdEncoding.EncodeToString(picture), func(v view) bool { return v.Picture != nil }},
		"text of the code": {e.Encoded(), func(v view) bool { return v.Picture == nil && v.Link == nil && v.Envelope.Size == len(e.JSON()) }},
		"push to FCM": {
			`{"message":{"token":"t","notification":{"title":"Confirm"},"data":` + fields(t, e) + `}}`,
			func(v view) bool { return v.Push.Form == "message" && v.Push.Title == "Confirm" },
		},
		"push in iOS": {
			strings.Replace(fields(t, e), "{", `{"aps":{"alert":"Confirm"},`, 1), func(v view) bool { return v.Push.Form == "data" },
		},
		"envelope": {string(e.JSON()), func(v view) bool {
			return v.Push == nil && v.Envelope.ContentType == nevisfido.ContentTypeSealed && v.Envelope.Version == "1"
		}},
		"JWE":                   {jwe, func(v view) bool { return v.Envelope == nil && v.JWE.Size == len(jwe) }},
		"answer with a link":    {answerWith(t, link), func(v view) bool { return v.Answer.Dispatcher == "app" && v.Link != nil }},
		"answer with a picture": {answerWith(t, base64.StdEncoding.EncodeToString(picture)), func(v view) bool { return v.Answer != nil && v.Picture != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			v, r := openJSON(t, tt.in, "--key", p.file)
			if r.err != nil || len(v.Problems) > 0 {
				t.Fatalf("error %v, %s", r.err, r.out)
			}
			if !tt.want(v) || v.JWE.For != "RSA-2048" || v.Key.Thumbprint != p.thumbprint {
				t.Errorf("shown %s", r.out)
			}
			if v.Payload["redeem_url"] != openRedeem || v.Payload["orderNo"] != float64(4711) || strings.Contains(r.text(), openToken) {
				t.Errorf("payload of %s", r.out)
			}
			if shown, _ := openJSON(t, tt.in, "--key", p.file, "--show-token"); shown.Payload["token"] != openToken {
				t.Errorf("with --show-token: %v", shown.Payload)
			}
			text := caddyOOB(t, tt.in, "open", "--key", p.file)
			if text.err != nil || !strings.Contains(text.out, openRedeem) || !strings.Contains(text.out, p.thumbprint) || strings.Contains(text.text(), openToken) {
				t.Errorf("as text: %v\n%s", text.err, text.out)
			}
			if sealed, r := openJSON(t, tt.in); r.err != nil || sealed.Payload != nil || sealed.JWE == nil {
				t.Errorf("without a key: error %v, %s", r.err, r.out)
			}
		})
	}
}

func answerWith(t *testing.T, response string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"token": openToken, "dispatchResult": "dispatched",
		"dispatcherInformation": map[string]string{"name": "app", "response": response},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The answers of nevisFIDO itself, sealed for a registered device, are opened
// without a problem.
func TestOpenAnswersOfNevisFIDO(t *testing.T) {
	fido, err := nevis.Start(nevis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fido.Close)
	d, err := device.New(device.Options{Username: "jeff", Frontend: fido.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Register(t.Context(), fido.URL()+"/nevisfido", device.Registration{}); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "phone.jwk")
	writeFile(t, key, string(d.Keys()[0].JWK()))
	for _, dispatcher := range []string{nevisfido.BuiltInLink, nevisfido.BuiltInQRCode, nevisfido.BuiltInLinkQR} {
		body := fmt.Sprintf(`{"dispatchTargetId":%q,"dispatcher":%q,"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`, d.TargetID(), dispatcher)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fido.URL()+"/nevisfido/token/dispatch/authentication", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var told struct{ Token string }
		if err := json.Unmarshal(answer, &told); err != nil || told.Token == "" {
			t.Fatalf("%s: %v, %s", dispatcher, err, answer)
		}
		v, r := openJSON(t, string(answer), "--key", key, "--show-token")
		if v.Payload["token"] != told.Token || r.err != nil || len(v.Problems) > 0 {
			t.Errorf("%s: error %v, %s", dispatcher, r.err, r.out)
		}
	}
}

// openProblem is a message for the phone with something that an app may stumble
// over.
type openProblem struct{ in, want string }

func openProblems(t *testing.T) (phone, map[string]openProblem) {
	t.Helper()
	p, other, ec := newPhone(t, "RSA-2048"), newPhone(t, "RSA-2048"), newPhone(t, "P-256")
	jwe := p.sealed(t, openPlain)
	e := plainEnvelope().Sealed(jwe)
	link := nevisfido.Link(openBase, e)
	content := func(text string) string { return p.sealed(t, text) }
	withHeader := new(jose.EncrypterOptions).WithHeader("kid", "one")
	tampered := jwe[:len(jwe)-8] + "AAAAAAAA"
	push := func(data string) string { return `{"message":{"notification":{"title":"a"},"data":` + data + `}}` }
	return p, map[string]openProblem{
		"padding":             {nevisfido.Link(openBase, e) + "==", "base64url without padding"},
		"percent-encoding":    {link + "%3D", "base64url without padding"},
		"http link":           {"http" + strings.TrimPrefix(link, "https"), "the link is http"},
		"unsafe link":         {"javascript:x" + link, "opens no app"},
		"content type":        {strings.Replace(string(e.JSON()), "application/jose", "text/plain", 1), "nma_data_content_type is neither"},
		"sealed, said plain":  {strings.Replace(string(e.JSON()), "application/jose", "application/json", 1), "text that is no JSON"},
		"plain, said sealed":  {strings.Replace(string(plainEnvelope().JSON()), "application/json", "application/jose", 1), "is not encrypted, but"},
		"version":             {strings.Replace(string(e.JSON()), `version":"1"`, `version":"2"`, 1), "nma_data_version"},
		"plain push":          {push(fields(t, plainEnvelope())), "everybody on the way"},
		"number in push":      {push(strings.Replace(fields(t, e), `"1"`, `1`, 1)), "takes only strings"},
		"silent push":         {`{"message":{"data":` + fields(t, e) + `}}`, "neither title nor body"},
		"long push":           {push(strings.Replace(fields(t, e), "{", `{"x":"`+strings.Repeat("x", maxPush)+`",`, 1)), "FCM takes 4096"},
		"SHA-1":               {p.seal(t, jose.RSA_OAEP, jose.A256CBC_HS512, nil, openPlain), "not one that nevisFIDO documents"},
		"enc":                 {p.seal(t, jose.RSA_OAEP_256, jose.A128GCM, nil, openPlain), "not one that nevisFIDO documents"},
		"compressed":          {p.seal(t, jose.RSA_OAEP_256, jose.A256CBC_HS512, &jose.EncrypterOptions{Compression: jose.DEFLATE}, openPlain), "member zip"},
		"header":              {p.seal(t, jose.RSA_OAEP_256, jose.A256CBC_HS512, withHeader, openPlain), "member kid"},
		"no header":           {"bm9uZQ.a.a.a.a", "no JSON object"},
		"dir":                 {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "..AAAA.AAAA.AAAA", "because of its alg or enc"},
		"another key":         {other.sealed(t, openPlain), "the private key does not open it"},
		"changed on the way":  {tampered, "the private key does not open it"},
		"key of another type": {ec.seal(t, jose.ECDH_ES_A256KW, jose.A256GCM, nil, openPlain), "for a key of type P-256, the private key is one of RSA-2048"},
		"no JSON":             {content("hello"), "the payload cannot be read"},
		"twice the token":     {content(`{"token":"a","token":"b"}`), "the payload cannot be read"},
		"no token":            {content(`{"redeem_url":"` + openRedeem + `"}`), "no token"},
		"token as number":     {content(`{"token":1,"redeem_url":"` + openRedeem + `"}`), "the payload cannot be read"},
		"Token":               {content(strings.Replace(openPlain, "{", `{"Token":"`+openToken+`x",`, 1)), "another letter case"},
		"no redeem URL":       {content(`{"token":"` + openToken + `"}`), "no redeem_url"},
		"http redeem URL":     {content(strings.Replace(openPlain, "https", "http", 1)), "redeem_url is not https"},
		"path as redeem URL":  {content(strings.Replace(openPlain, "https://fido.example.com", "", 1)), "not the URL of a server"},
	}
}

// What an app may stumble over is listed, the rest is shown, and the exit code
// tells.
func TestOpenProblems(t *testing.T) {
	p, problems := openProblems(t)
	jwe := p.sealed(t, openPlain)
	for name, tt := range problems {
		t.Run(name, func(t *testing.T) {
			v, r := openJSON(t, tt.in, "--key", p.file)
			if r.err == nil || !strings.Contains(strings.Join(v.Problems, "\n"), tt.want) {
				t.Errorf("error %v, problems %q, want %s", r.err, v.Problems, tt.want)
			}
			text := caddyOOB(t, tt.in, "open", "--key", p.file)
			if text.err == nil || !strings.Contains(text.out, tt.want) {
				t.Errorf("as text: %v\n%s", text.err, text.out)
			}
			if all := r.text() + text.text(); strings.Contains(all, openToken) || strings.Contains(all, jwe[:200]) {
				t.Errorf("the token or the JWE is printed:\n%s", all)
			}
		})
	}
}

// A key that the policy refuses opens messages, and is called what it is.
func TestOpenWithRefusedKey(t *testing.T) {
	p := newPhone(t, "RSA-2048")
	writeFile(t, p.file, strings.Replace(p.jwk(t), `"use":"enc"`, `"use":"sig"`, 1))
	v, r := openJSON(t, p.sealed(t, openPlain), "--key", p.file)
	if r.err == nil || v.Payload["redeem_url"] != openRedeem || !strings.Contains(strings.Join(v.Problems, "\n"), "wrong_use") {
		t.Errorf("error %v, %s", r.err, r.out)
	}
}

// A message in clear is shown without the token as well.
func TestOpenPlain(t *testing.T) {
	for name, in := range map[string]string{
		"link":            nevisfido.Link("bankapp://open", plainEnvelope()),
		"inner object":    openPlain,
		"token elsewhere": `{"token":"` + openToken + `","redeem_url":"` + openRedeem + `","deep":{"copy":"` + openToken + `"}}`,
	} {
		v, r := openJSON(t, in)
		if r.err != nil || v.Payload["redeem_url"] != openRedeem || v.JWE != nil || strings.Contains(r.text(), openToken) {
			t.Errorf("%s: error %v, %s", name, r.err, r.out)
		}
	}
}

// refusedMessages are what has no message in it, and what is said of that, by the page
// of the demo as well.
var refusedMessages = map[string]struct{ in, want string }{
	"nothing":              {"", "there is no message in it"},
	"text":                 {"hello " + openToken, "there is no message in it"},
	"other JSON":           {`{"hello":"` + openToken + `"}`, "there is no message in it"},
	"broken JSON":          {`{"token":"` + openToken, "reading the JSON"},
	"short link":           {"https://fido.example.com/o/AbCdEf", "if it is a short link"},
	"cut link":             {openBase + "?dispatchTokenResponse=eyJub", "cannot be read"},
	"answer without":       {`{"dispatcherInformation":{"name":"push"}}`, "holds no message"},
	"push confirmation":    {`{"dispatcherInformation":{"name":"push","response":"successful dispatch"}}`, "there is no message in it"},
	"nma_data is a number": {`{"nma_data":1}`, "reading the out-of-band payload"},
}

// refusedKeys are what no message can be opened with.
func (p phone) refusedKeys() map[string]struct{ key, want string } {
	return map[string]struct{ key, want string }{
		"public key":    {string(p.public), "a private RSA or EC key is needed"},
		"symmetric key": {`{"kty":"oct","k":"c2VjcmV0"}`, "a private RSA or EC key is needed"},
		"JWK set":       {`{"keys":[]}`, "it is not a JWK"},
		"no key":        {"hello", "it is not a JWK"},
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	message, key := filepath.Join(dir, "message"), filepath.Join(dir, "key")
	writeFile(t, message, nevisfido.Link(openBase, plainEnvelope()))
	var blank bytes.Buffer
	if err := png.Encode(&blank, image.NewGray(image.Rect(0, 0, 100, 100))); err != nil {
		t.Fatal(err)
	}
	refuse := func(name, want, in string, args ...string) {
		t.Run(name, func(t *testing.T) {
			r := caddyOOB(t, in, append([]string{"open"}, args...)...)
			r.wantError(t, want)
			if r.out != "" || strings.Contains(r.text(), openToken) {
				t.Errorf("printed %q, error %v", r.out, r.err)
			}
		})
	}
	for name, tt := range refusedMessages {
		refuse(name, tt.want, tt.in)
	}
	for name, tt := range newPhone(t, "P-256").refusedKeys() {
		writeFile(t, key, tt.key)
		refuse(name, tt.want, "", message, "--key", key)
	}
	refuse("base64 of no message", "there is no message in it", base64.StdEncoding.EncodeToString([]byte("hello")))
	refuse("other text with links", "there is no message in it", "base-url: https://app.example.com\n")
	refuse("picture of nothing", "no readable code in the picture", blank.String())
	refuse("cut picture", "reading the picture", blank.String()[:60])
	refuse("too long", "longer than 16 MiB", strings.Repeat("a", maxInput+1))
	refuse("missing file", "no such file", "", filepath.Join(dir, "missing"))
	refuse("two files", "accepts at most 1 arg", "", message, message)
	refuse("missing key", "no such file", "", message, "--key", filepath.Join(dir, "missing"))
	refuse("both from stdin", "cannot be both", "", "--key", "-")
}

// A picture that claims to be large is refused before room is made for it.
func TestOpenLargePicture(t *testing.T) {
	gray := image.NewGray(image.Rect(0, 0, maxPixels+1, 1))
	var picture bytes.Buffer
	if err := png.Encode(&picture, gray); err != nil {
		t.Fatal(err)
	}
	caddyOOB(t, picture.String(), "open").wantError(t, fmt.Sprintf("%d x 1 pixels", maxPixels+1))
}

// FuzzOpen takes apart whatever is given as a message, without a key. What is shown
// holds neither the token, in whatever spelling, nor what a terminal would obey;
// an error quotes nothing.
func FuzzOpen(f *testing.F) {
	envelope := nevisfido.NewContent(openToken, openRedeem).Envelope()
	link := nevisfido.Link(openBase, envelope)
	sealed := "eyJhbGciOiJSU0EtT0FFUC0yNTYiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0.AAAA.AAAA.AAAA.AAAA"
	for _, seed := range []string{
		openPlain, link, envelope.Encoded(), string(envelope.JSON()), sealed, "data:image/png;base64,iVBORw0KGgo=", "https://example.com/oob/AAAA",
		`{"token":"` + openToken + `","note":"the token ` + openToken + `","other":{"a":["5c1f\u002dtoken-secret"]},"another":{"` + openToken + `":1},"Token":"x\u001b[2J"}`,
		`{"message":{"notification":{"title":"\u001b[31m","body":"b"},"data":{"nma_data":"` + sealed + `","nma_data_content_type":"application/jose","nma_data_version":"1"}}}`,
		`{"token":"x","dispatchResult":"dispatched","dispatcherInformation":{"name":"link","response":"` + link + `"}}`,
		`{"aps":{},"nma_data":"{\"token\":\"` + openToken + `\"}","nma_data_content_type":"application/json","nma_data_version":2}`,
		encode(`{"alg":"RSA-OAEP-256","enc":"x","\u001b":"`+openToken+`","epk":{"crv":"\u0007"}}`) + "....", openBase + "?dispatchTokenResponse=%00", "\ufeff{",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o := &opened{Problems: []string{}}
		if err := o.takeText(strings.TrimSpace(text)); err != nil {
			if strings.Contains(err.Error(), openToken) {
				t.Errorf("the error quotes the message: %v", err)
			}
			return
		}
		token := o.payload.Member("token").Text()
		o.hideToken()
		var shown map[string]any
		if err := json.Unmarshal(o.Payload, &shown); err != nil && len(o.Payload) > 0 {
			t.Fatal(err)
		}
		for _, value := range shown {
			textsIn(value, func(text string) {
				if strings.Contains(token, openToken) && strings.Contains(text, token) {
					t.Errorf("the payload %s still holds the token %q", o.Payload, token)
				}
			})
		}
		var out bytes.Buffer
		if err := o.print(&out); err != nil {
			t.Fatal(err)
		}
		mustBePlain(t, out.String())
	})
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// textsIn yields the names and texts in a JSON value.
func textsIn(value any, yield func(string)) {
	switch v := value.(type) {
	case string:
		yield(v)
	case []any:
		for _, element := range v {
			textsIn(element, yield)
		}
	case map[string]any:
		for name, member := range v {
			yield(name)
			textsIn(member, yield)
		}
	}
}

// mustBePlain fails where a terminal would obey a text, or show it as another.
func mustBePlain(t *testing.T, text string) {
	t.Helper()
	for _, c := range text {
		if c != '\n' && !strconv.IsPrint(c) {
			t.Errorf("%q is printed", text)
			return
		}
	}
}
