package books

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// weights say how many of a hundred dispatches a dispatcher gets.
var weights = []struct {
	dispatcher string
	weight     int
}{
	{"push", 23},
	{"sms", 21},
	{"browser", 12},
	{"app-link", 13},
	{"app-qr", 3},
	{"mail", 5},
	{"paper", 3},
	{"push-then-mail", 10},
	{"everywhere", 6},
	{"fastest", 4},
}

const requestText = `{"dispatcher":%q,"dispatchTargetId":%q,"dispatchInformation":{"notification":{"title":"Confirm"},"data":{}},` +
	`"getUafRequest":{"op":%q,"context":"{\"username\":\"jeff\"}"}}`

// draw returns a dispatcher by its weight.
func draw() string {
	n := mathrand.IntN(100)
	for _, w := range weights {
		if n -= w.weight; n < 0 {
			return w.dispatcher
		}
	}
	panic("the weights are not a hundred")
}

// dispatch makes one call, and writes down what its caller knows. One of a
// hundred callers gives up soon.
func (p *product) dispatch() {
	id := make([]byte, 24)
	_, _ = rand.Read(id)
	c := call{trace: hex.EncodeToString(id[:16]), dispatcher: draw()}
	ph := p.phones[mathrand.IntN(len(p.phones))]
	operation := []struct{ path, op string }{{"authentication", "Auth"}, {"deregistration", "Dereg"}, {"registration", "Reg"}}[mathrand.IntN(3)]
	ctx := background
	if mathrand.IntN(100) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(mathrand.IntN(20))*time.Millisecond)
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.site+"/nevisfido/token/dispatch/"+operation.path,
		strings.NewReader(fmt.Sprintf(requestText, c.dispatcher, ph.TargetID(), operation.op)))
	if err != nil {
		panic(err) // nothing in it is foreign
	}
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "Traceparent": {"00-" + c.trace + "-" + hex.EncodeToString(id[16:]) + "-01"},
		"X-User-Email": {ph.mail}, "X-User-Mobile": {ph.number}, "X-Subscription": {ph.browser.JSON()},
	}
	seen := p.answer(&c, ph, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	if seen.id != "" {
		p.seen = append(p.seen, seen)
	}
}

// answer reads the answer to a call, and what the caller's own screen gets of it.
func (p *product) answer(c *call, ph *phone, r *http.Request) (seen receipt) {
	response, err := p.client.Do(r)
	if err != nil {
		return seen
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return seen
	}
	c.status = response.StatusCode
	var answer struct {
		Token  string                   `json:"token"`
		Result nevisfido.DispatchResult `json:"dispatchResult"`
		Info   struct {
			Name     string          `json:"name"`
			Response json.RawMessage `json:"response"`
		} `json:"dispatcherInformation"`
	}
	if c.status != http.StatusOK {
		return seen
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		p.t.Errorf("an answer: %v in %s", err, body)
	}
	c.result, c.delivered, c.token = answer.Result, answer.Info.Name, p.hash(answer.Token)
	if name := c.dispatcher; c.result == nevisfido.Dispatched && onScreen[name] {
		var text string
		if err := json.Unmarshal(answer.Info.Response, &text); err != nil {
			p.t.Errorf("the response of %s: %v", name, err)
		}
		seen = receipt{dispatcher: name, id: ids[name](c.token)}
		if name == "app-link" || mathrand.IntN(20) == 0 { // reading a picture takes long
			m, err := ph.Open(text)
			if seen.reads = p.hash(m.Token); err != nil {
				seen.reads = unreadable
			}
		}
	}
	return seen
}

// hash is the keyed hash of a token (docs/audit.md).
func (p *product) hash(token string) string {
	if token == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(p.secret))
	_, _ = mac.Write([]byte("token\x00" + token))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
