package exchange

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// What is read by a guess about nevisFIDO is told, so that the guess can be
// deleted where it never hits.
func TestGuessesAreTold(t *testing.T) {
	h := newHarness(t)
	h.push()
	observer := new(observed)
	h.Observer = observer
	h.dispatch("push").wantResult(t, nevisfido.Dispatched)
	if observer.guesses != 0 {
		t.Errorf("the documented form is read by the guesses %v", observer.guesses)
	}
	body := strings.Replace(h.bodyFor("push", h.targetID), `"dispatchInformation":{"notification":{"title":"Confirm"}}`,
		`"dispatchInformation":"{\"notification\":{\"title\":\"Confirm\"}}"`, 1)
	h.send(newRequest(t, http.MethodPost, authentication, body)).wantResult(t, nevisfido.Dispatched)
	if observer.guesses != nevisfido.GuessInformationText {
		t.Errorf("guesses %v", observer.guesses)
	}
}
