package caddymodule

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/letter"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// A dispatcher that can never send is told of when the configuration is loaded.
func TestLifetimesThatNeverSuffice(t *testing.T) {
	for name, tc := range map[string]struct {
		lifetimes  map[nevisfido.Operation]caddy.Duration
		operations []nevisfido.Operation
		needs      time.Duration
		warns      bool
	}{
		"as by default":         {nil, nil, 72 * time.Hour, true},
		"of another operation":  {map[nevisfido.Operation]caddy.Duration{"registration": caddy.Duration(240 * time.Hour)}, []nevisfido.Operation{"authentication"}, 72 * time.Hour, true},
		"just as long":          {map[nevisfido.Operation]caddy.Duration{"registration": caddy.Duration(72 * time.Hour)}, nil, 72 * time.Hour, true},
		"of one of its":         {map[nevisfido.Operation]caddy.Duration{"registration": caddy.Duration(240 * time.Hour)}, nil, 72 * time.Hour, false},
		"needs none in special": {nil, nil, 0, false},
	} {
		var logged bytes.Buffer
		h := &Handler{TokenLifetime: tc.lifetimes}
		h.warnOfChannel(slog.New(slog.NewTextHandler(&logged, nil)),
			&delivery.Channel{Operations: tc.operations, Traits: dispatchers.Traits{MinLifetime: tc.needs}})
		if warned := strings.Contains(logged.String(), "no token lives as long"); warned != tc.warns {
			t.Errorf("%s: %s", name, &logged)
		}
	}
	l, err := dispatcherstest.Load[*letter.Letter](t, "letter", map[string]any{"spool": t.TempDir(), "min_lifetime": "96h"})
	if err != nil {
		t.Fatal(err)
	}
	var d dispatchers.Dispatcher = l
	if needs := d.Traits().MinLifetime; needs != 96*time.Hour {
		t.Errorf("a letter needs %v", needs)
	}
}

// What keeps a dispatcher from working is told when the configuration is
// loaded.
func TestWarningsOfChannels(t *testing.T) {
	const address, timeout = "has an address only for targets", "timeout is longer than deadline"
	for name, tc := range map[string]struct {
		channel delivery.Channel
		want    string
	}{
		"no address, such as smtp": {delivery.Channel{}, address},
		"an address":               {delivery.Channel{Address: "{oob.user.email}"}, ""},
		"that of push targets":     {delivery.Channel{Traits: dispatchers.Traits{BuiltIn: nevisfido.BuiltInFCM}}, ""},
		"to the caller":            {delivery.Channel{Traits: dispatchers.Traits{AnswersCaller: true}}, ""},
		"needs none":               {delivery.Channel{Traits: dispatchers.Traits{AddressOptional: true}}, ""},
		"as long as the deadline":  {delivery.Channel{Address: "a", Timeout: 8 * time.Second}, ""},
		"longer than the deadline": {delivery.Channel{Address: "a", Timeout: 9 * time.Second}, timeout},
	} {
		var logged bytes.Buffer
		h := &Handler{Deadline: caddy.Duration(8 * time.Second)}
		h.warnOfChannel(slog.New(slog.NewTextHandler(&logged, nil)), &tc.channel)
		if tc.want == "" && logged.Len() > 0 || !strings.Contains(logged.String(), tc.want) {
			t.Errorf("%s: %s", name, &logged)
		}
	}
}
