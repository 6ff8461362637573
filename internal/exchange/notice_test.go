package exchange

import (
	"context"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func TestNoticeOfExpiredTargets(t *testing.T) {
	for name, tc := range map[string]struct {
		failure *dispatchers.Error
		told    bool
	}{
		"expired":    {dispatchers.Fail(dispatchers.Expired, "unregistered", "gone"), true},
		"to be kept": {&dispatchers.Error{Class: dispatchers.Expired, Reason: "unregistered", KeepTarget: true}, false},
		"refused":    {dispatchers.Fail(dispatchers.Refused, "x", "x"), false},
		"delivered":  {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push().do = func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
				if tc.failure != nil {
					return dispatchers.Receipt{}, tc.failure
				}
				return dispatchers.Receipt{}, nil
			}
			notices := make(chan string, 1)
			h.OnExpired = &Channel{
				Name: "on_expired", Slots: make(chan struct{}, 1), Timeout: time.Minute,
				Dispatcher: &guest{do: func(_ context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
					if len(m.Envelope.Data) != 0 || m.Link != "" {
						t.Error("the notice holds the message")
					}
					notices <- m.Expand("{oob.target_id} {oob.username}", nil)
					return dispatchers.Receipt{}, nil
				}},
			}
			h.dispatch("push")
			h.OnExpired.Slots <- struct{}{} // the notice has ended, or there is none
			select {
			case notice := <-notices:
				if !tc.told || notice != h.targetID+" "+h.username {
					t.Errorf("told %q", notice)
				}
			default:
				if tc.told {
					t.Error("no notice was given")
				}
			}
		})
	}
}

func TestNoticesAreBounded(t *testing.T) {
	h := newHarness(t)
	h.push().fails(dispatchers.Expired)
	g := new(guest)
	h.OnExpired = &Channel{Name: "on_expired", Slots: make(chan struct{}), Timeout: time.Minute, Dispatcher: g}
	h.dispatch("push").wantResult(t, nevisfido.DispatchTargetExpired)
	if len(g.messages()) != 0 {
		t.Error("a notice went beyond the bound")
	}
}
