package link

import (
	"strings"
	"testing"

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
