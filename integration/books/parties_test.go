package books

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
	"github.com/oob-dispatch/oob-dispatch/simulator/printer"
	"github.com/oob-dispatch/oob-dispatch/simulator/pushservice"
)

// faultRate is how often a party fails.
const faultRate = 0.1

// parties are those around the product, with what they write down.
type parties struct {
	nevis   *nevis.Server
	google  *google.Server
	mails   *mail.Server
	gateway *gateway.Server
	pushes  *pushservice.Server
	printer *printer.Server
	spool   string

	mu     sync.Mutex
	taken  map[string][]double.Request // of the parties that speak HTTP, by dispatcher
	struck int                         // requests that met a fault
}

func startParties(t *testing.T, folder string) *parties {
	t.Helper()
	p := &parties{spool: filepath.Join(folder, "letters"), taken: map[string][]double.Request{}}
	var errs [7]error
	p.nevis, errs[0] = nevis.Start(nevis.Options{})
	p.google, errs[1] = google.Start(google.Options{})
	p.mails, errs[2] = mail.Start(mail.Options{})
	p.gateway, errs[3] = gateway.Start(gateway.Options{})
	p.pushes, errs[4] = pushservice.Start()
	p.printer, errs[5] = printer.Start()
	errs[6] = os.Mkdir(p.spool, 0o700)
	must(t, errors.Join(errs[:]...))
	for _, party := range []interface{ Close() }{p.nevis, p.google, p.mails, p.gateway, p.pushes, p.printer} {
		t.Cleanup(party.Close)
	}
	return p
}

// The faults of HTTP. The first ones strike before the request is carried out,
// the others afterwards, so that the sidecar cannot know. Those that take an
// attempt's whole time are rare.
var (
	before = slices.Concat(slices.Repeat([]fault.Fault{
		fault.Reset,
		fault.Answer(http.StatusServiceUnavailable, nil, ""),
		fault.Answer(http.StatusTooManyRequests, nil, ""),
		fault.Answer(http.StatusBadRequest, nil, ""),
	}, 3), []fault.Fault{fault.Hang})
	after = slices.Concat(slices.Repeat([]fault.Fault{
		fault.ResetAfterDelivery, fault.Truncated, carriedOut,
	}, 3), []fault.Fault{fault.Hold(nil)})
	httpFaults = slices.Concat(before, after)
	fcmFaults  = slices.Concat(httpFaults, []fault.Fault{
		google.Unregistered, google.InvalidArgument, google.Internal, google.ExpiredToken,
		google.QuotaExceeded(""), google.Unavailable(""), google.Unavailable("1"),
	})
	nevisFaults = slices.Concat(httpFaults, []fault.Fault{nevis.Result("userNotFound"), nevis.Result("dispatchError")})
	mailFaults  = slices.Concat(slices.Repeat([]mail.Fault{
		mail.Reply("451 4.3.0 Try again"), mail.Reply("452 4.3.1 Insufficient storage"), mail.Reply("554 5.7.1 Refused"),
		mail.Drop, // it is kept
	}, 3), []mail.Fault{mail.Hang})
)

// carriedOut answers 503 to a request that was carried out.
func carriedOut(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	regular.ServeHTTP(httptest.NewRecorder(), r)
	w.WriteHeader(http.StatusServiceUnavailable)
}

// fail has the parties fail from now on, and write down what they take.
func (p *parties) fail(mails int) {
	p.google.Always(p.party("push", faultRate, fcmFaults))
	p.gateway.Always(p.party("sms", faultRate, httpFaults))
	p.pushes.Always(p.party("browser", faultRate, httpFaults))
	p.printer.Always(p.party("", faultRate, httpFaults)) // it keeps its jobs itself
	p.nevis.Always(p.party("", faultRate/3, nevisFaults))
	for range mails {
		f := mail.Pass
		if rand.Float64() < faultRate {
			f = mailFaults[rand.IntN(len(mailFaults))]
		}
		p.mails.Script(mail.AtEnd, f)
	}
}

// party is the fault of one that speaks HTTP: mostly none. What is carried out
// for a dispatcher is written down.
func (p *parties) party(dispatcher string, rate float64, faults []fault.Fault) fault.Fault {
	return func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		strike := fault.None
		if rand.Float64() < rate {
			strike = faults[rand.IntN(len(faults))]
			p.mu.Lock()
			p.struck++
			p.mu.Unlock()
		}
		strike(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			request := double.NewRequest(r, double.Body(r))
			answer := httptest.NewRecorder()
			regular.ServeHTTP(answer, r)
			if answer.Code/100 == 2 && dispatcher != "" {
				p.mu.Lock()
				p.taken[dispatcher] = append(p.taken[dispatcher], request)
				p.mu.Unlock()
			}
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes())
		}))
	}
}

// unreadable stands for the token of a message that the phone cannot open.
const unreadable = "unreadable"

// receipts returns what all providers took. hash makes the keyed hash of a token.
func (p *parties) receipts(t *testing.T, phones []*phone, hash func(token string) string) (all []receipt) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	byAddress := map[string]*phone{}
	for _, ph := range phones {
		byAddress[ph.pushToken], byAddress[ph.number], byAddress[ph.mail] = ph, ph, ph
	}
	open := func(address string, how func(*phone) (token string, err error)) string {
		ph := byAddress[address]
		if ph == nil {
			return unreadable
		}
		token, err := how(ph)
		if err != nil {
			return unreadable
		}
		return hash(token)
	}
	for _, r := range p.taken["push"] {
		var body struct{ Message google.Message }
		must(t, json.Unmarshal(r.Body, &body))
		m := body.Message
		all = append(all, receipt{"push", m.Android.CollapseKey, open(m.Token, func(ph *phone) (string, error) {
			opened, err := ph.OpenPush(m.Data)
			return opened.Token, err
		})})
	}
	for _, r := range p.taken["sms"] {
		var body struct{ To, Text string }
		must(t, json.Unmarshal(r.Body, &body))
		if r.Header.Get("Idempotency-Key") != r.Header.Get("Webhook-Id") {
			t.Errorf("two ids of a webhook: %v", r.Header)
		}
		all = append(all, receipt{"sms", r.Header.Get("Webhook-Id"), open(body.To, func(ph *phone) (string, error) { return ph.read(body.Text) })})
	}
	all = append(all, p.pushed(phones, hash)...)
	for _, sent := range p.mails.Mails() {
		m, err := mail.Read(sent.Data)
		must(t, err)
		id, _, _ := strings.Cut(strings.Trim(m.Header.Get("Message-Id"), "<>"), "@")
		all = append(all, receipt{"mail", id, open(sent.To[0], func(ph *phone) (string, error) { return ph.read(m.Text) })})
	}
	letters, err := filepath.Glob(filepath.Join(p.spool, "*.json"))
	must(t, err)
	for _, file := range letters {
		all = append(all, receipt{dispatcher: "paper", id: strings.TrimSuffix(filepath.Base(file), ".json")})
	}
	for _, job := range p.printer.Jobs() {
		all = append(all, receipt{dispatcher: "paper", id: job})
	}
	return all
}

// pushed returns the receipts of web push. A browser shows the latest of one
// topic, which it opens; the service took what it replaced as well.
func (p *parties) pushed(phones []*phone, hash func(string) string) (all []receipt) {
	reads := map[string]string{}
	for _, ph := range phones {
		for ph.browser.Waiting() > 0 {
			m, err := ph.browser.Wait(background)
			opened, openErr := ph.Open(string(m.Content))
			if reads[m.Topic] = hash(opened.Token); err != nil || openErr != nil {
				reads[m.Topic] = unreadable
			}
		}
	}
	for _, r := range p.taken["browser"] {
		topic := r.Header.Get("Topic")
		all = append(all, receipt{"browser", topic, reads[topic]})
	}
	return all
}

// read opens the link in a text.
func (ph *phone) read(text string) (token string, err error) {
	i := strings.Index(text, appURL)
	if i < 0 {
		return "", fmt.Errorf("there is no link: %w", io.EOF)
	}
	link, _, _ := strings.Cut(text[i:], "\n")
	m, err := ph.Open(strings.TrimSpace(link))
	return m.Token, err
}
