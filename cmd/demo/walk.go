package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// answer is what the relying party gets.
type answer struct {
	Token      string `json:"token"`
	SessionID  string `json:"sessionId"`
	Result     string `json:"dispatchResult"`
	VisualCode string `json:"visualCode"`
	Info       struct {
		Name     string          `json:"name"`
		Response json.RawMessage `json:"response"`
	} `json:"dispatcherInformation"`
}

// response returns the channel's answer: a text, or JSON.
func (a answer) response() string {
	var text string
	if err := json.Unmarshal(a.Info.Response, &text); err != nil {
		return string(a.Info.Response)
	}
	return text
}

const title = "Confirm payment 4711"

func (c channel) request(op nevisfido.Operation, target string) string {
	ops := map[nevisfido.Operation]string{nevisfido.Registration: "Reg", nevisfido.Authentication: "Auth", nevisfido.Deregistration: "Dereg"}
	body := map[string]any{
		"dispatcher": c.dispatcher,
		"dispatchInformation": map[string]any{
			"notification": map[string]string{"title": title},
			"data":         map[string]string{"orderNo": "4711"},
		},
		"getUafRequest": map[string]string{"op": ops[op], "context": `{"username":"jeff"}`},
	}
	if target != "" {
		body["dispatchTargetId"] = target
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings and maps of strings can always be encoded
	}
	return string(text)
}

func (c channel) curl(url, target, subscription string) string {
	header := ""
	if c.dispatcher == "browser" {
		header = fmt.Sprintf(" \\\n  -H 'X-Subscription: %s'", subscription)
	}
	return fmt.Sprintf("curl -s -H 'Content-Type: application/json'%s \\\n  -d '%s' \\\n  %s/nevisfido/token/dispatch/authentication",
		header, c.request(nevisfido.Authentication, target), url)
}

// dispatch is the relying party's call.
func (c channel) dispatch(ctx context.Context, s *stack, op nevisfido.Operation, target, subscription string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url()+"/nevisfido/token/dispatch/"+string(op), strings.NewReader(c.request(op, target)))
	if err != nil {
		return a, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Subscription", subscription)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return a, fmt.Errorf("the dispatch was answered with status %d", response.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&a); err != nil {
		return a, fmt.Errorf("reading the answer: %w", err)
	}
	return a, nil
}

// walkAll takes one message over every channel, with a nevisFIDO that gives
// links in clear and with one that encrypts them itself.
func walkAll(ctx context.Context, out io.Writer) error {
	for _, release := range []string{"LTS21", "8.2511"} {
		if err := walk(ctx, out, release, modes[release]); err != nil {
			return fmt.Errorf("with nevisFIDO %s: %w", release, err)
		}
	}
	fmt.Fprintln(out, "\nEvery message arrived, was decrypted by the phone, and was redeemed.")
	return nil
}

func walk(ctx context.Context, out io.Writer, release string, mode nevis.Mode) error {
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	s, err := start(address, mode, "WARN")
	if err != nil {
		return err
	}
	defer s.stop()
	for _, way := range []device.Way{device.CreateTarget, device.InRegistration} {
		p, err := s.register(ctx, way)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n== nevisFIDO %s, phone registered through the %s\n", release,
			map[device.Way]string{device.CreateTarget: "dispatch target service", device.InRegistration: "UAF registration response"}[way])
		for _, c := range channels {
			if err := c.take(ctx, out, s, p, nevisfido.Authentication); err != nil {
				return fmt.Errorf("%s: %w", c.title, err)
			}
		}
		if err := channels[2].take(ctx, out, s, p, nevisfido.Deregistration); err != nil {
			return fmt.Errorf("deregistration: %w", err)
		}
	}
	if err := firstRegistration(ctx, out, s); err != nil {
		return fmt.Errorf("first registration: %w", err)
	}
	return nil
}

// register makes a phone with keys of its own and registers it.
func (s *stack) register(ctx context.Context, way device.Way) (*phone, error) {
	pushToken := s.google.Register()
	options := device.Options{Target: pushToken, Frontend: s.url(), RequireSealed: true, Dispatcher: "push"}
	if way == device.InRegistration {
		options.Dispatcher = nevisfido.BuiltInFCM // SDKs know the built-in names only
	}
	d, err := device.New(options)
	if err != nil {
		return nil, fmt.Errorf("making the phone's keys: %w", err)
	}
	if err := d.Register(ctx, s.url()+"/nevisfido", device.Registration{Way: way}); err != nil {
		return nil, fmt.Errorf("registering the phone: %w", err)
	}
	if s.browser == nil {
		return &phone{d, pushToken, nil}, nil
	}
	browser, err := s.browser.Subscribe(s.vapid)
	return &phone{d, pushToken, browser}, err
}

// take carries one message over the channel and prints the ten steps of the
// out-of-band flow (nevisFIDO concept description, out-of-band message
// transmission) with what was seen at each.
func (c channel) take(ctx context.Context, out io.Writer, s *stack, p *phone, op nevisfido.Operation) error {
	fmt.Fprintf(out, "\n%s, %s\n", c.title, op)
	step := func(n int, format string, args ...any) {
		fmt.Fprintf(out, "%4d. %s\n", n, fmt.Sprintf(format, args...))
	}

	begin := time.Now()
	a, err := c.dispatch(ctx, s, op, p.TargetID(), p.browser.JSON())
	if err != nil {
		return err
	}
	step(1, "relying party asked for dispatcher %q and had its answer after %d ms", c.dispatcher, time.Since(begin).Milliseconds())
	if a.Result != string(nevisfido.Dispatched) || a.Info.Name != cmp.Or(c.delivered, c.dispatcher) {
		return fmt.Errorf("the answer says %s by dispatcher %q", a.Result, a.Info.Name)
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wire, m, err := c.receive(waiting, s, p, a)
	if err != nil {
		return err
	}
	own := p.Keys()[0]
	if m.KeyThumbprint != own.Public().Thumbprint() {
		return fmt.Errorf("the message was sealed for the key %q, not for the phone's", m.KeyThumbprint)
	}
	alg, enc := own.Public().Algorithms()
	step(2, "public key of the dispatch target: %s", m.KeyThumbprint)
	step(3, "message encrypted with %s and %s", alg, enc)
	if strings.Contains(wire, a.Token) || m.Token != a.Token {
		return fmt.Errorf("the token is readable on the way, or is not the one of the answer")
	}
	step(4, "handed to the channel: %d bytes, the token not among them", len(wire))
	step(5, "the channel's answer: %s by %s, %s", a.Result, a.Info.Name, shorten(a.response()))
	step(6, "token (%d characters) and session %s given to the relying party", len(a.Token), a.SessionID)
	code := m.VisualCode(visualCodeDigits)
	if code != a.VisualCode {
		return fmt.Errorf("the browser shows %q and the phone %q", a.VisualCode, code)
	}
	step(7, "visual code on both sides: %s", code)
	step(8, "the phone received the message")
	step(9, "the phone found its private key %s", own.Public().Thumbprint())
	if string(m.Member("orderNo")) != `"4711"` {
		return fmt.Errorf("the relying party's data did not arrive: %s", m.Member("orderNo"))
	}
	redeemed, err := p.Redeem(ctx, m)
	if err != nil {
		return fmt.Errorf("redeeming the token: %w", err)
	}
	step(10, "decrypted, and redeemed for a UAF %s request that lives %s", redeemed.Operation, redeemed.Lifetime)
	return nil
}

// firstRegistration shows the one message that cannot be encrypted: the phone
// has no key yet, so it goes to the caller's own screen.
func firstRegistration(ctx context.Context, out io.Writer, s *stack) error {
	c := channels[2]
	fresh, err := device.New(device.Options{Frontend: s.url()})
	if err != nil {
		return err
	}
	a, err := c.dispatch(ctx, s, nevisfido.Registration, "", "")
	if err != nil {
		return err
	}
	m, err := fresh.Open(a.response())
	if err != nil {
		return err
	}
	redeemed, err := fresh.Redeem(ctx, m)
	if err != nil {
		return err
	}
	registration := device.Registration{Way: device.InRegistration, UAFRequest: redeemed.UAFRequest}
	if err := fresh.Register(ctx, s.url()+"/nevisfido", registration); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s, registration of a new phone: in clear to the caller's screen (no key yet), redeemed; the phone is now dispatch target %s\n", c.title, fresh.TargetID())
	return nil
}

func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d characters)", s[:most], len(s))
}
