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

// What keeps a dispatcher from working is told when the configuration is loaded.
func TestWarningsOfChannels(t *testing.T) {
	const address, timeout, lifetime = "has an address only for targets", "timeout is longer than deadline", "no token lives as long"
	needs := func(lifetime time.Duration, operations ...nevisfido.Operation) delivery.Channel {
		return delivery.Channel{Address: "a", Operations: operations, Traits: dispatchers.Traits{MinLifetime: lifetime}}
	}
	registration := func(lifetime time.Duration) map[nevisfido.Operation]caddy.Duration {
		return map[nevisfido.Operation]caddy.Duration{nevisfido.Registration: caddy.Duration(lifetime)}
	}
	for name, tc := range map[string]struct {
		lifetimes map[nevisfido.Operation]caddy.Duration
		channel   delivery.Channel
		want      string
	}{
		"no address, such as smtp": {nil, delivery.Channel{}, address},
		"an address":               {nil, delivery.Channel{Address: "{oob.user.email}"}, ""},
		"that of push targets":     {nil, delivery.Channel{Traits: dispatchers.Traits{BuiltIn: nevisfido.BuiltInFCM}}, ""},
		"to the caller":            {nil, delivery.Channel{Traits: dispatchers.Traits{AnswersCaller: true}}, ""},
		"needs none":               {nil, delivery.Channel{Traits: dispatchers.Traits{AddressOptional: true}}, ""},
		"as long as the deadline":  {nil, delivery.Channel{Address: "a", Timeout: 8 * time.Second}, ""},
		"longer than the deadline": {nil, delivery.Channel{Address: "a", Timeout: 9 * time.Second}, timeout},

		"tokens live as by default": {nil, needs(72 * time.Hour), lifetime},
		"those of another operation": {
			registration(240 * time.Hour), needs(72*time.Hour, nevisfido.Authentication), lifetime,
		},
		"just as long":           {registration(72 * time.Hour), needs(72 * time.Hour), lifetime},
		"those of one of its":    {registration(240 * time.Hour), needs(72 * time.Hour), ""},
		"no lifetime in special": {nil, needs(0), ""},
	} {
		var logged bytes.Buffer
		h := &Handler{Deadline: caddy.Duration(8 * time.Second), TokenLifetime: tc.lifetimes}
		h.warnOfChannel(slog.New(slog.NewTextHandler(&logged, nil)), &tc.channel)
		if tc.want == "" && logged.Len() > 0 || !strings.Contains(logged.String(), tc.want) {
			t.Errorf("%s: %s", name, &logged)
		}
	}
	l, err := dispatcherstest.Load[*letter.Letter](t, "letter", map[string]any{"spool": t.TempDir(), "min_lifetime": "96h"})
	if err != nil {
		t.Fatal(err)
	}
	if needs := l.Traits().MinLifetime; needs != 96*time.Hour {
		t.Errorf("a letter needs %v", needs)
	}
}

// Whoever takes an address from a header is told once which one to filter.
func TestAddressesFromHeaders(t *testing.T) {
	for address, want := range map[dispatchers.Template]string{
		"{http.request.header.X-Mobile}":                                 "X-Mobile",
		"{http.request.header.x-mobile}":                                 "X-Mobile",
		"{http.request.header.X-Name} <{http.request.header.X-Address}>": "X-Name",
		"{http.request.header.Authorization}":                            "",
		"{oob.target}":                                                   "",
		"":                                                               "",
	} {
		var logged bytes.Buffer
		d := Dispatcher{Name: "sms"}
		d.Address = address
		d.warnOfHeader(slog.New(slog.NewTextHandler(&logged, nil)))
		warned := strings.Count(logged.String(), "\n")
		if want == "" && warned != 0 || want != "" && (warned != 1 || !strings.Contains(logged.String(), "header="+want+" ")) {
			t.Errorf("%s: %s, want %s", address, logged.String(), want)
		}
	}
}
