package webpush

import (
	"bytes"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
	"github.com/oob-dispatch/oob-dispatch/simulator/pushservice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newKey(t *testing.T) (content []byte, public string) {
	t.Helper()
	content, err := NewVAPID("mailto:ops@example.com")
	if err != nil {
		t.Fatal(err)
	}
	v, err := parseVAPID(content)
	if err != nil {
		t.Fatal(err)
	}
	return content, v.public
}

// load provisions a dispatcher as a configuration does.
func load(t *testing.T, options map[string]any) (*WebPush, error) {
	t.Helper()
	return dispatcherstest.Load[*WebPush](t, "web_push", options)
}

// bench is a dispatcher, the push service that it sends to, and a browser.
type bench struct {
	*WebPush
	service *pushservice.Server
	browser *pushservice.Subscription
	vapid   string // path
}

func newBench(t *testing.T, more map[string]any) *bench {
	t.Helper()
	s, err := pushservice.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	key, public := newKey(t)
	vapid := testservice.File(t, "vapid.json", key)
	options := map[string]any{"vapid": vapid, "allow": []string{s.Host()}, "ca": testservice.File(t, "ca.pem", s.CA())}
	maps.Copy(options, more)
	p, err := load(t, options)
	if err != nil {
		t.Fatal(err)
	}
	browser, err := s.Subscribe(public)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{p, s, browser, vapid}
}

const sealed = dispatcherstest.Sealed

func message(address string) *dispatchers.Message { return dispatcherstest.Message(address, nil) }

func TestDispatchDelivers(t *testing.T) {
	b := newBench(t, nil)
	if n := len(b.service.Requests()); n != 0 {
		t.Fatalf("provisioning made %d requests", n)
	}
	m := message(b.browser.JSON())
	receipt, err := b.Dispatch(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Response != dispatchers.SuccessfulDispatch {
		t.Errorf("response %v", receipt.Response)
	}
	got, err := b.browser.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Content, m.Envelope.JSON()) {
		t.Errorf("content %s", got.Content)
	}
	if got.Urgency != "high" || len(got.Topic) != 32 || got.TTL <= time.Minute || got.TTL > 2*time.Minute {
		t.Errorf("urgency %q, topic %q, TTL %s", got.Urgency, got.Topic, got.TTL)
	}
}

func TestRepetitionReplaces(t *testing.T) {
	b := newBench(t, nil)
	for range 3 {
		if _, err := b.Dispatch(t.Context(), message(b.browser.JSON())); err != nil {
			t.Fatal(err)
		}
	}
	other := message(b.browser.JSON())
	other.ID = "another exchange"
	if _, err := b.Dispatch(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if b.browser.Waiting() != 2 {
		t.Errorf("%d messages wait", b.browser.Waiting())
	}
}

func TestThePushServiceLearnsNothing(t *testing.T) {
	b := newBench(t, nil)
	short, long := message(b.browser.JSON()), message(b.browser.JSON())
	long.Envelope = long.Envelope.Sealed(sealed + strings.Repeat("x", 1000))
	for _, m := range []*dispatchers.Message{short, long} {
		if _, err := b.Dispatch(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	requests := b.service.Requests()
	if len(requests[0].Body) != len(requests[1].Body) {
		t.Errorf("bodies of %d and %d bytes", len(requests[0].Body), len(requests[1].Body))
	}
	for _, r := range requests {
		if bytes.Contains(r.Body, []byte("nma_data")) || bytes.Contains(r.Body, []byte(sealed)) {
			t.Error("the message is readable")
		}
		for name := range r.Header {
			switch name {
			case "Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Ttl", "Topic", "Urgency", "User-Agent":
			default:
				t.Errorf("header %s", name)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	b := newBench(t, nil)
	frame := len(message("").Envelope.Sealed("").JSON())
	for size, fits := range map[int]bool{maxContent: true, maxContent + 1: false, 10 * maxContent: false} {
		m := message(b.browser.JSON())
		m.Envelope = m.Envelope.Sealed(strings.Repeat("x", size-frame))
		_, err := b.Dispatch(t.Context(), m)
		if fits && err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if !fits {
			dispatcherstest.WantFailure(t, err, dispatchers.Refused, dispatchers.ReasonTooBig)
		}
	}
	if requests := b.service.Requests(); len(requests) != 1 || len(requests[0].Body) != 4096 {
		t.Errorf("%d requests", len(requests))
	}
}

func TestAnswers(t *testing.T) {
	b := newBench(t, nil)
	secrets := regexp.MustCompile(`[\w-]{16,}`).FindAllString(b.browser.JSON(), -1) // the path and the keys
	for status, want := range map[int]struct {
		class  dispatchers.Class
		reason string
	}{
		200: {}, 201: {}, 202: {}, 204: {},
		203: {dispatchers.Refused, dispatchers.ReasonUnexpectedStatus},
		301: {dispatchers.Refused, dispatchers.ReasonRedirect},
		400: {dispatchers.Refused, dispatchers.ReasonRejected},
		401: {dispatchers.Refused, reasonVAPID},
		403: {dispatchers.Refused, reasonVAPID},
		404: {dispatchers.Expired, reasonUnsubscribed},
		407: {dispatchers.Broken, "proxy"},
		408: {dispatchers.Temporary, "timeout"},
		410: {dispatchers.Expired, reasonUnsubscribed},
		413: {dispatchers.Refused, dispatchers.ReasonTooBig},
		429: {dispatchers.Temporary, dispatchers.ReasonRateLimited},
		503: {dispatchers.Temporary, dispatchers.ReasonUnavailable},
	} {
		b.service.Script(fault.Echo(status, http.Header{"Retry-After": {"7"}, "Location": {"https://localhost:1/"}}))
		before := len(b.service.Requests())
		_, err := b.Dispatch(t.Context(), message(b.browser.JSON()))
		if n := len(b.service.Requests()) - before; n != 1 {
			t.Errorf("%d: %d requests", status, n)
		}
		if want.class == "" {
			if err != nil {
				t.Errorf("%d: %v", status, err)
			}
			continue
		}
		e := dispatcherstest.WantFailure(t, err, want.class, want.reason, secrets...)
		if wait := e.RetryAfter; (wait == 7*time.Second) != (want.class == dispatchers.Temporary) {
			t.Errorf("%d: wait %s", status, wait)
		}
	}
}

func TestProxy(t *testing.T) {
	p, err := proxy.Start(proxy.Options{User: "u", Password: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	b := newBench(t, map[string]any{"proxy": p.URL()})
	if _, err := b.Dispatch(t.Context(), message(b.browser.JSON())); err != nil {
		t.Fatal(err)
	}
	if c := p.Counts(); c.Connects != 1 || p.Hosts()[0] != b.service.Host() {
		t.Errorf("%+v for %v", c, p.Hosts())
	}
}

// The name is allowed, but leads to this machine, and the operator did not
// name it: what rebinding a name would do.
func TestWebPushNoSSRF(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	connected := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			connected <- struct{}{}
		}
	}()

	b := newBench(t, nil)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	internal := "localhost:" + port
	b.hosts = append(b.hosts, hostRule{name: "localhost", port: port, exact: true})
	address := strings.Replace(b.browser.JSON(), b.service.Host(), internal, 1)
	_, err = b.Dispatch(t.Context(), message(address))
	dispatcherstest.WantFailure(t, err, dispatchers.Refused, reasonPrivateAddress)

	b.service.Script(fault.Echo(http.StatusTemporaryRedirect, http.Header{"Location": {"https://" + internal + "/"}}))
	_, err = b.Dispatch(t.Context(), message(b.browser.JSON()))
	dispatcherstest.WantFailure(t, err, dispatchers.Refused, dispatchers.ReasonRedirect)

	for _, endpoint := range []string{"127.0.0.1:" + port, "[::1]:" + port, "0x7f000001:" + port, "localhost.:" + port, b.service.Host() + "@" + internal} {
		_, err = b.Dispatch(t.Context(), message(strings.Replace(b.browser.JSON(), b.service.Host(), endpoint, 1)))
		if e := dispatchers.AsError(err); e.Class != dispatchers.Refused {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	_ = listener.Close()
	<-done
	if len(connected) != 0 {
		t.Error("the internal server was contacted")
	}
}

func TestChangedKeyIsUsed(t *testing.T) {
	b := newBench(t, nil)
	key, public := newKey(t)
	testservice.Put(t, b.vapid, key)
	_, err := b.Dispatch(t.Context(), message(b.browser.JSON()))
	dispatcherstest.WantFailure(t, err, dispatchers.Refused, reasonVAPID)
	again, err := b.service.Subscribe(public)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Dispatch(t.Context(), message(again.JSON())); err != nil {
		t.Error(err)
	}
	testservice.Put(t, b.vapid, []byte("{}"))
	if _, err := b.Dispatch(t.Context(), message(again.JSON())); err != nil {
		t.Errorf("the last good key is not used: %v", err)
	}
}
