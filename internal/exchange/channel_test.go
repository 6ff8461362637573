package exchange

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func TestAttempts(t *testing.T) {
	temporary := dispatchers.Fail(dispatchers.Temporary, "busy", "try later")
	in := func(d time.Duration) error {
		return &dispatchers.Error{Class: dispatchers.Temporary, Reason: "busy", RetryAfter: d, Err: errors.New("try later")}
	}
	var nothing *dispatchers.Error
	for name, c := range map[string]struct {
		do       guestFunc
		retries  int
		attempts int
		class    dispatchers.Class
		reason   string
		least    time.Duration // of the whole
		most     time.Duration
	}{
		"delivered at once":         {do: script(), retries: 2, attempts: 1, class: dispatchers.Delivered},
		"delivered in the end":      {do: script(temporary, temporary), retries: 2, attempts: 3, class: dispatchers.Delivered, least: 375 * time.Millisecond, most: 750 * time.Millisecond},
		"one too many":              {do: script(temporary, temporary, temporary), retries: 2, attempts: 3, class: dispatchers.Temporary, reason: "busy", least: 375 * time.Millisecond, most: 750 * time.Millisecond},
		"no retries":                {do: script(temporary), attempts: 1, class: dispatchers.Temporary, reason: "busy"},
		"wrapped":                   {do: script(fmt.Errorf("sending: %w", temporary)), retries: 1, attempts: 2, class: dispatchers.Delivered, least: 125 * time.Millisecond, most: 250 * time.Millisecond},
		"told when to come back":    {do: script(in(3 * time.Second)), retries: 1, attempts: 2, class: dispatchers.Delivered, least: 3 * time.Second, most: 3 * time.Second},
		"told to come back at once": {do: script(in(-time.Second)), retries: 1, attempts: 2, class: dispatchers.Delivered, least: 125 * time.Millisecond, most: 250 * time.Millisecond},
		"told to come back later than the deadline": {do: script(in(8 * time.Second)), retries: 5, attempts: 1, class: dispatchers.Temporary, reason: "busy"},
		"the deadline ends the retries":             {do: script(temporary, in(5*time.Second), in(3*time.Second)), retries: 9, attempts: 3, class: dispatchers.Temporary, reason: "busy", least: 5125 * time.Millisecond, most: 5250 * time.Millisecond},
		"the pauses grow, up to a limit":            {do: script(temporary, temporary, temporary, temporary, temporary), retries: 5, attempts: 6, class: dispatchers.Delivered, least: 3875 * time.Millisecond, most: 7750 * time.Millisecond},
		"expired":                                   {do: script(dispatchers.Fail(dispatchers.Expired, "gone", "x")), retries: 2, attempts: 1, class: dispatchers.Expired, reason: "gone"},
		"no target":                                 {do: script(dispatchers.Fail(dispatchers.NoTarget, "x", "x")), retries: 2, attempts: 1, class: dispatchers.NoTarget, reason: "x"},
		"no key":                                    {do: script(dispatchers.Fail(dispatchers.NoKey, "x", "x")), retries: 2, attempts: 1, class: dispatchers.NoKey, reason: "x"},
		"refused":                                   {do: script(dispatchers.Fail(dispatchers.Refused, "x", "x")), retries: 2, attempts: 1, class: dispatchers.Refused, reason: "x"},
		"broken":                                    {do: script(dispatchers.Fail(dispatchers.Broken, "x", "x")), retries: 2, attempts: 1, class: dispatchers.Broken, reason: "x"},
		"an error of no class":                      {do: script(errors.New("x")), retries: 2, attempts: 1, class: dispatchers.Broken, reason: "unclassified"},
		"an error called delivered":                 {do: script(dispatchers.Fail(dispatchers.Delivered, "x", "x")), retries: 2, attempts: 1, class: dispatchers.Broken, reason: "unclassified"},
		"an error of unknown class":                 {do: script(dispatchers.Fail("odd", "x", "x")), retries: 2, attempts: 1, class: dispatchers.Broken, reason: "unclassified"},
		"a nil *Error":                              {do: script(nothing), retries: 2, attempts: 1, class: dispatchers.Broken, reason: "unclassified"},
		"cancelled":                                 {do: script(context.Canceled), retries: 1, attempts: 2, class: dispatchers.Delivered, least: 125 * time.Millisecond, most: 250 * time.Millisecond},
		"panics":                                    {do: panics("secret"), retries: 2, attempts: 1, class: dispatchers.Broken, reason: "panic"},
		"panics with nil":                           {do: panics(nil), retries: 2, attempts: 1, class: dispatchers.Broken, reason: "panic"},
		"hangs":                                     {do: hang, attempts: 1, class: dispatchers.Temporary, reason: "timeout", least: 2 * time.Second, most: 2 * time.Second},
		"hangs each time":                           {do: hang, retries: 9, attempts: 4, class: dispatchers.Temporary, reason: "timeout", least: 6 * time.Second, most: 8 * time.Second},
		"the response of a failure": {do: func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
			return dispatchers.Receipt{Response: "x", Dispatcher: "y"}, errors.New("x")
		}, attempts: 1, class: dispatchers.Broken, reason: "unclassified"},
		"delivers in the last moment": {do: func(ctx context.Context, _ *dispatchers.Message) (dispatchers.Receipt, error) {
			<-ctx.Done()
			return dispatchers.Receipt{}, nil
		}, attempts: 1, class: dispatchers.Delivered, least: 2 * time.Second, most: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.Deadline = 8 * time.Second
				g := h.push()
				g.do = c.do
				channel := h.Channels["push"]
				channel.Retries, channel.Timeout = c.retries, 2*time.Second

				h.dispatch("push").wantResult(t, c.class.Result())
				record := h.seen.one(t)
				if len(g.messages()) != c.attempts || len(record.Attempts) != c.attempts {
					t.Errorf("%d attempts, %d recorded, want %d", len(g.messages()), len(record.Attempts), c.attempts)
				}
				if record.Class != c.class || record.Reason != c.reason {
					t.Errorf("the observer was told %s (%s), want %s (%s)", record.Class, record.Reason, c.class, c.reason)
				}
				if last := record.Attempts[len(record.Attempts)-1]; last.Class != c.class || last.Reason != c.reason || last.Dispatcher != "push" || !last.Made {
					t.Errorf("the last attempt is recorded as %+v", last)
				}
				if record.Took < c.least || record.Took > c.most {
					t.Errorf("it took %s, want %s to %s", record.Took, c.least, c.most)
				}
				for _, m := range g.messages() {
					if m != g.messages()[0] {
						t.Error("a retry got another message")
					}
				}
			})
		})
	}
}

func TestDeadlineHoldsForAGuestThatIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.Deadline = 3 * time.Second
		h.push().do = hang
		h.Channels["push"].Timeout = time.Hour
		h.dispatch("push").wantResult(t, nevisfido.DispatchError)
		if took := h.seen.one(t).Took; took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestPanicsAreNotShown(t *testing.T) {
	h := newHarness(t)
	h.push().do = panics(errors.New("canary " + h.token))
	h.dispatch("push").wantResult(t, nevisfido.InternalError)
	h.wantLog(`"level":"error"`, "panicked", "*errors.errorString")
	if strings.Contains(h.logs.String(), "canary") {
		t.Error("the log shows what the guest panicked with")
	}
}
