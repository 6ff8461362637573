package caddymodule

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// The log of a refused key names the member that the app has to mend, and the
// reason, and nothing of the key.
func TestLogOfARefusedKey(t *testing.T) {
	m, _ := registered(t)
	var logged bytes.Buffer
	o := &observer{metrics: m, emit: nowhere, keyChanged: func(targets.Event) {}, log: slog.New(slog.NewTextHandler(&logged, nil))}
	directory := &targets.Directory{Store: kv.New(new(kvtest.Backend), nil, kv.DefaultTimeout), Unsynced: new(targets.Unsynced), Events: o.target}
	desc := &nevisfido.TargetDescription{EncryptionKey: []byte(`{"kty":"RSA","n":"c2VjcmV0","e":"AQAB"}`)}
	if err := directory.Learn(t.Context(), desc, nevisfido.CreatedTarget{ID: "one"}, targets.SourceCreate); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"event=key_refused", "reason=rsa_size", `\"n\"`, "level=WARN"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("%s is not in %s", want, &logged)
		}
	}
	if strings.Contains(logged.String(), "c2VjcmV0") {
		t.Errorf("the key is in %s", &logged)
	}
}
