package command

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/draw"
	"image/png"
	"math/big"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// The page /inspect of the demo does in the browser what `caddy oob open` does.
// These tests run its code in Node and compare.

// pageMessage is what the page is given.
type pageMessage struct {
	Key  string `json:"key,omitempty"`
	Text string `json:"text"`

	Pixels []byte `json:"pixels,omitempty"` // RGBA, of the picture that Text holds
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
}

// pageView is what the page sees.
type pageView struct {
	Fault      string
	Thumbprint string
	Problems   []string
	Payload    map[string]any
	JWE        *struct {
		KeyType string
		Size    int
		Parts   []struct{ Name, Sentence string }
	}
	Link    *struct{ Base string }
	Push    *struct{ Size int }
	Picture *struct {
		Version  int
		Module   float64
		Legible  bool
		Distance int // cm
	}
}

func inspect(t *testing.T, messages []pageMessage) []pageView {
	t.Helper()
	input, err := json.Marshal(messages)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testservice.Need(t, "node"), "testdata/examine.mjs")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var views []pageView
	if err := json.Unmarshal(output, &views); err != nil || len(views) != len(messages) {
		t.Fatalf("%d views of %d messages: %v", len(views), len(messages), err)
	}
	return views
}

func (p phone) jwk(t *testing.T) string {
	t.Helper()
	return read(t, p.file)
}

var nearByte = regexp.MustCompile(` near byte \d+`)

// TestPageSeesTheSameProblems: the same sentences in the same order, and the
// same payload.
func TestPageSeesTheSameProblems(t *testing.T) {
	p, problems := openProblems(t)
	key := p.jwk(t)
	var names []string
	var messages []pageMessage
	for name, tt := range problems {
		names, messages = append(names, name), append(messages, pageMessage{Key: key, Text: tt.in})
	}
	e := plainEnvelope().Sealed(p.sealed(t, openPlain))
	for name, text := range map[string]string{
		"link": nevisfido.Link(openBase, e), "bare message": e.Encoded(), "envelope": string(e.JSON()), "JWE": p.sealed(t, openPlain),
		"push": `{"message":{"token":"t","notification":{"title":"Confirm"},"data":` + fields(t, e) + `}}`,
		"data": strings.Replace(fields(t, e), "{", `{"aps":{"alert":"Confirm"},`, 1), "answer": answerWith(t, nevisfido.Link(openBase, e)),
		"payload": openPlain, "app's own scheme": nevisfido.Link("bankapp://open?a=b", plainEnvelope()),
	} {
		names, messages = append(names, name), append(messages, pageMessage{Key: key, Text: text})
	}
	for i, got := range inspect(t, messages) {
		want, r := openJSON(t, messages[i].Text, "--key", p.file, "--show-token")
		if r.out == "" {
			t.Errorf("%s: %v", names[i], r.err)
			continue
		}
		for j := range want.Problems {
			want.Problems[j] = nearByte.ReplaceAllString(want.Problems[j], "")
		}
		if got.Fault != "" || !slices.Equal(got.Problems, want.Problems) {
			t.Errorf("%s: the page sees %s%q\nthe command %q", names[i], got.Fault, got.Problems, want.Problems)
		}
		if gotPayload, wantPayload := asJSON(t, got.Payload), asJSON(t, want.Payload); gotPayload != wantPayload {
			t.Errorf("%s: the page shows %s, the command %s", names[i], gotPayload, wantPayload)
		}
		if got.JWE != nil && (got.JWE.KeyType != want.JWE.For || got.JWE.Size != want.JWE.Size || len(got.JWE.Parts) != 5) {
			t.Errorf("%s: the page sees %+v, the command %+v", names[i], got.JWE, want.JWE)
		}
		if got.Thumbprint != p.thumbprint || (got.JWE == nil) != (want.JWE == nil) || (got.Link == nil) != (want.Link == nil) {
			t.Errorf("%s: the page sees %+v", names[i], got)
		}
		if (got.Push == nil) != (want.Push == nil) || got.Push != nil && got.Push.Size != want.Push.Size {
			t.Errorf("%s: the page sees %+v, the command %+v", names[i], got.Push, want.Push)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPageOpensEveryAlgorithm decrypts with WebCrypto what go-jose seals.
func TestPageOpensEveryAlgorithm(t *testing.T) {
	var messages []pageMessage
	var kinds []string
	for _, kind := range []string{"RSA-2048", "P-256", "P-384", "P-521"} {
		p := newPhone(t, kind)
		algs, encs := []jose.KeyAlgorithm{jose.ECDH_ES, jose.ECDH_ES_A128KW, jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM, jose.A256CBC_HS512, jose.A128CBC_HS256}
		if strings.HasPrefix(kind, "RSA") {
			algs = []jose.KeyAlgorithm{jose.RSA_OAEP_256, jose.RSA_OAEP}
		}
		for _, alg := range algs {
			for _, enc := range encs {
				kinds = append(kinds, kind)
				messages = append(messages, pageMessage{Key: p.jwk(t), Text: p.seal(t, alg, enc, nil, openPlain)})
			}
		}
	}
	for i, got := range inspect(t, messages) {
		if got.Fault != "" || got.JWE == nil || got.JWE.KeyType != kinds[i] || got.Payload["token"] != openToken {
			t.Errorf("%s, %s: %+v", kinds[i], messages[i].Text[:60], got)
		}
	}
}

// TestPageRefuses: a sentence that quotes nothing, in the words of the command
// where it has any.
func TestPageRefuses(t *testing.T) {
	p := newPhone(t, "P-256")
	key := p.jwk(t)
	jwe := p.seal(t, jose.ECDH_ES_A256KW, jose.A256GCM, nil, openPlain)
	weak := strings.NewReplacer(`"alg":"ECDH-ES+A256KW"`, `"alg":"ES256"`).Replace(key)
	cases := []struct{ name, key, text, want string }{
		{"half a JWE", "", jwe[:strings.LastIndex(jwe, ".")], "a JWE has five parts, and this has 4"},
		{"end of a JWE cut off", key, jwe[:len(jwe)-2], "the private key does not open it"},
		{"key of another curve", strings.Replace(key, "P-256", "P-384", 1), jwe, "its numbers do not make a key"},
		{"key for signatures", weak, jwe, `no sidecar seals for this key: key refused (wrong_algorithm)`},
	}
	for name, tt := range refusedMessages {
		cases = append(cases, struct{ name, key, text, want string }{name, "", tt.in, tt.want})
	}
	for name, tt := range p.refusedKeys() {
		cases = append(cases, struct{ name, key, text, want string }{name, tt.key, jwe, tt.want})
	}
	messages := make([]pageMessage, 0, len(cases))
	for _, tt := range cases {
		messages = append(messages, pageMessage{Key: tt.key, Text: tt.text})
	}
	for i, got := range inspect(t, messages) {
		tt := cases[i]
		told := strings.Join(append(got.Problems, got.Fault), "\n")
		if !strings.Contains(told, tt.want) || strings.Contains(told, openToken) {
			t.Errorf("%s: %q", tt.name, told)
		}
	}
}

// TestPageReadsQRCodes: from a short link to the longest message that the
// sidecar draws, at the sizes that it draws them in.
func TestPageReadsQRCodes(t *testing.T) {
	var messages []pageMessage
	for _, length := range []int{20, 900, 2100} {
		text := nevisfido.Link(openBase, nevisfido.Envelope{
			Data: []byte(`{"token":"` + openToken + `","redeem_url":"` + openRedeem + `","x":"` + strings.Repeat("x", length*3/4) + `"}`), ContentType: nevisfido.ContentTypePlain, Version: "1",
		})
		picture := code(t, text)
		m, err := png.Decode(bytes.NewReader(picture))
		if err != nil {
			t.Fatal(err)
		}
		pixels := image.NewRGBA(m.Bounds())
		draw.Draw(pixels, m.Bounds(), m, image.Point{}, draw.Src)
		messages = append(messages, pageMessage{
			Text: base64.StdEncoding.EncodeToString(picture), Pixels: pixels.Pix, Width: m.Bounds().Dx(), Height: m.Bounds().Dy(),
		})
	}
	blank := image.NewGray(image.Rect(0, 0, 50, 50))
	var empty bytes.Buffer
	if err := png.Encode(&empty, blank); err != nil {
		t.Fatal(err)
	}
	messages = append(messages, pageMessage{Text: base64.StdEncoding.EncodeToString(empty.Bytes()), Pixels: make([]byte, 4*50*50), Width: 50, Height: 50})
	views := inspect(t, messages)
	for i, got := range views[:len(views)-1] {
		if got.Fault != "" || got.Picture == nil || got.Payload["token"] != openToken {
			t.Fatalf("code %d: %+v", i, got)
		}
		if m := got.Picture.Module; m < 2 || m > 600/25 {
			t.Errorf("code %d, version %d: a module has %.1f pixels", i, got.Picture.Version, m)
		}
		if i > 0 && got.Picture.Distance > views[i-1].Picture.Distance {
			t.Errorf("code %d is read from %d cm, a larger one from %d cm", i, got.Picture.Distance, views[i-1].Picture.Distance)
		}
	}
	if first, last := views[0].Picture, views[len(views)-2].Picture; !first.Legible || last.Legible {
		t.Errorf("at arm's length a phone reads a short message: %t, the longest: %t", first.Legible, last.Legible)
	}
	if got := views[len(views)-1]; !strings.Contains(got.Fault, "no readable code in the picture") {
		t.Errorf("a blank picture: %+v", got)
	}
}

// TestPageRefusesTheSameKeys: with the rule that the key breaks, in the words of
// the sidecar.
func TestPageRefusesTheSameKeys(t *testing.T) {
	rsaKey, ecKey := newPhone(t, "RSA-2048").jwk(t), newPhone(t, "P-256").jwk(t)
	p, q, near := somePrime(t, 1024), somePrime(t, 1024), new(big.Int)
	for near.Add(p, big.NewInt(2)); !near.ProbablyPrime(20); {
		near.Add(near, big.NewInt(2))
	}
	keys := []struct{ jwk, reason string }{
		{rsaKey, ""},
		{ecKey, ""},
		{privateRSA(t, p, q), ""},
		{strings.Replace(rsaKey, `"use":"enc"`, `"use":"sig"`, 1), "wrong_use"},
		{strings.Replace(rsaKey, `"RSA-OAEP-256"`, `"RSA1_5"`, 1), "wrong_algorithm"},
		{strings.Replace(ecKey, `"ECDH-ES+A256KW"`, `"ECDH-ES+A192KW"`, 1), "wrong_algorithm"},
		{privateRSA(t, somePrime(t, 768), somePrime(t, 768)), "rsa_size"},
		{privateRSA(t, p, near), "rsa_weak_modulus"},
	}
	messages := make([]pageMessage, 0, len(keys))
	for _, key := range keys {
		messages = append(messages, pageMessage{Key: key.jwk, Text: openPlain})
	}
	for i, got := range inspect(t, messages) {
		var public map[string]any
		if err := json.Unmarshal([]byte(keys[i].jwk), &public); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"d", "p", "q", "dp", "dq", "qi"} {
			delete(public, name)
		}
		var want []string
		switch _, err := encrypt.ParseKey([]byte(asJSON(t, public)), encrypt.Policy{}); {
		case err != nil && strings.Contains(err.Error(), "("+keys[i].reason+")"):
			want = []string{"no sidecar seals for this key: " + err.Error()}
		case err != nil || keys[i].reason != "":
			t.Fatalf("key %d: %v, want %s", i, err, keys[i].reason)
		}
		if got.Fault != "" || !slices.Equal(got.Problems, want) {
			t.Errorf("key %d: the page says %s%q, want %q", i, got.Fault, got.Problems, want)
		}
	}
}

const exponent = 65537

// somePrime is one that can be half of a key.
func somePrime(t *testing.T, bits int) *big.Int {
	t.Helper()
	for {
		p, err := rand.Prime(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if new(big.Int).Mod(p, big.NewInt(exponent)).Int64() != 1 {
			return p
		}
	}
}

// privateRSA is the private JWK of two primes.
func privateRSA(t *testing.T, p, q *big.Int) string {
	t.Helper()
	one, e := big.NewInt(1), big.NewInt(exponent)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	d := new(big.Int).ModInverse(e, new(big.Int).Mul(p1, q1))
	text := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	return asJSON(t, map[string]string{
		"kty": "RSA", "n": text(new(big.Int).Mul(p, q)), "e": text(e), "d": text(d), "p": text(p), "q": text(q),
		"dp": text(new(big.Int).Mod(d, p1)), "dq": text(new(big.Int).Mod(d, q1)), "qi": text(new(big.Int).ModInverse(q, p)),
	})
}
