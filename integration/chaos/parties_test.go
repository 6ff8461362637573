package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// parties are nevisFIDO and the service behind the webhook. They keep the book.
type parties struct {
	t       *testing.T
	book    *book
	nevis   *nevis.Server
	webhook *httptest.Server
	phones  sync.Map // *phone by the number that its addresses begin with
	strange atomic.Int64
}

func newParties(t *testing.T) *parties {
	t.Helper()
	p := &parties{t: t, book: newBook()}
	var err error
	if p.nevis, err = nevis.Start(nevis.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.nevis.Close)
	p.nevis.Always(p.serve)
	p.webhook = httptest.NewServer(http.HandlerFunc(p.receive))
	t.Cleanup(p.webhook.Close)
	return p
}

// asked is where nevisFIDO writes into a dispatch when it was asked for its token.
// The sidecar has looked its target up by then.
const asked = `"asked":"-"`

// serve is nevisFIDO. What it does to targets goes into the book as it happens.
// Sometimes it takes its time, fails, or breaks the connection, before or after it
// has done what it was asked for.
func (p *parties) serve(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	arrived := p.book.now()
	body, _ := io.ReadAll(r.Body) // from memory
	r.Body = io.NopCloser(bytes.NewReader(bytes.Replace(body, []byte(asked), fmt.Appendf(nil, `"asked":"%d"`, arrived), 1)))
	trouble := rand.IntN(400)
	switch trouble {
	case 0, 1:
		panic(http.ErrAbortHandler)
	case 2, 3:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case 4, 5, 6, 7:
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
	}
	answer := httptest.NewRecorder()
	from := p.book.now()
	regular.ServeHTTP(answer, r)
	if answer.Code/100 == 2 {
		p.enter(r, body, answer.Body.Bytes(), from, p.book.now())
	}
	switch trouble {
	case 8, 9:
		panic(http.ErrAbortHandler)
	case 10, 11:
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// description has the members of a target that matter here.
type description struct {
	ID       string          `json:"dispatchTargetId"`
	DeviceID string          `json:"deviceId"`
	Address  string          `json:"target"`
	Key      json.RawMessage `json:"encryptionKey"`
}

func (d description) thumbprint() string {
	if d.Key == nil {
		return ""
	}
	key, err := encrypt.ParseKey(d.Key, encrypt.Policy{})
	if err != nil {
		panic(err) // it was made here
	}
	return key.Thumbprint()
}

// enter takes down what nevisFIDO did between two times.
func (p *parties) enter(r *http.Request, body, answer []byte, from, to int64) {
	targets := strings.HasPrefix(r.URL.Path, "/nevisfido/token/dispatch/targets")
	devices := strings.HasPrefix(r.URL.Path, "/nevisfido/devices/credentials/")
	signed := string(body)
	if devices {
		signed = r.Header.Get("Device-Signature")
	}
	var d description
	switch {
	case r.Method == http.MethodPost && targets:
		var target struct{ ID string }
		if json.Unmarshal(body, &d) != nil || json.Unmarshal(answer, &target) != nil {
			p.t.Errorf("nevisFIDO created something from %s: %s", body, answer)
		}
		p.book.has(d.DeviceID, target.ID)
		p.book.enter(target.ID, operation{created, d.thumbprint(), d.Address}, from, to)
	case r.Method == http.MethodPatch && (targets || devices):
		payload, err := encrypt.UnverifiedPayload(signed)
		if err != nil || json.Unmarshal(payload, &d) != nil {
			p.t.Errorf("nevisFIDO made the modification %s", signed)
		}
		p.book.enter(d.ID, operation{modified, d.thumbprint(), d.Address}, from, to)
	case r.Method == http.MethodDelete && targets:
		p.book.enter(path.Base(r.URL.Path), operation{kind: removed}, from, to)
	case r.Method == http.MethodDelete && devices:
		for _, id := range p.book.ofDevice(path.Base(r.URL.Path)) {
			p.book.enter(id, operation{kind: removed}, from, to)
		}
	}
}

// receive is the service behind the webhook: the phone to which the address belongs
// opens the message, which says when and for which target it was called for.
func (p *parties) receive(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Address string          `json:"address"`
		Message json.RawMessage `json:"message"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err == nil {
		err = p.open(m.Address, string(m.Message))
	}
	if err != nil && p.strange.Add(1) < 20 {
		p.t.Errorf("a message to %s: %v", m.Address, err)
	}
	w.WriteHeader(http.StatusAccepted)
}

func (p *parties) open(address, message string) error {
	number, _, _ := strings.Cut(address, ".")
	found, ok := p.phones.Load(number)
	if !ok {
		return fmt.Errorf("no phone has the address")
	}
	phone := found.(*phone)
	opened, err := phone.Open(message)
	if err != nil {
		return err
	}
	var target, call, arrived string
	for name, to := range map[string]*string{"for": &target, "call": &call, "asked": &arrived} {
		if err := json.Unmarshal(opened.Member(name), to); err != nil {
			return fmt.Errorf("the member %s: %w", name, err)
		}
	}
	from, err := strconv.ParseInt(call, 10, 64)
	if err != nil {
		return err
	}
	to, err := strconv.ParseInt(arrived, 10, 64)
	if err != nil {
		return err
	}
	if target != phone.target {
		return fmt.Errorf("it is for target %s, and went to %s", target, phone.target)
	}
	p.book.enter(target, operation{sent, opened.KeyThumbprint, address}, from, to)
	return nil
}
