package link

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

func TestTheCallerGetsTheLink(t *testing.T) {
	receipt, err := new(Link).Dispatch(t.Context(), &dispatchers.Message{Link: "https://app.example.com/open?dispatchTokenResponse=x"})
	if err != nil || receipt.Response != "https://app.example.com/open?dispatchTokenResponse=x" {
		t.Errorf("got %+v, %v", receipt, err)
	}
}

func TestWithoutABaseURL(t *testing.T) {
	_, err := new(Link).Dispatch(t.Context(), &dispatchers.Message{Dispatcher: "app"})
	if err == nil || dispatchers.AsError(err).Class != dispatchers.Broken || !strings.Contains(err.Error(), "base_url") {
		t.Errorf("got %v", err)
	}
}

func TestCaddyfile(t *testing.T) {
	for text, valid := range map[string]bool{
		"link": true, "link {\n}": true, "link x": false, "link {\n size 1\n}": false,
	} {
		if err := new(Link).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); (err == nil) != valid {
			t.Errorf("%s: %v", text, err)
		}
	}
}
