package integration

import (
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// The first weeks: keys are learned and nothing is intercepted; a reload
// switches dispatching on, and off again.
func TestObserveThenDispatch(t *testing.T) {
	s := start(t, options{nevis: nevis.Options{Mode: nevis.LTS21}, handler: "observe"})
	p := s.registerAs(device.Options{Dispatcher: nevisfido.BuiltInFCM}, device.Registration{Way: device.InRegistration})

	before := len(s.nevis.Requests())
	a := s.dispatch("push", p.TargetID())
	s.wantResult(a, nevisfido.DispatcherNotFound)
	if last := s.nevis.Requests()[before]; !strings.Contains(string(last.Body), `"push"`) {
		t.Errorf("nevisFIDO got %s", last.Body)
	}
	if n := s.google.Sends(); n != 0 {
		t.Errorf("%d messages were sent", n)
	}

	observing := s.config
	s.config = strings.Replace(observing, "observe", "", 1)
	s.load()
	s.take(p, nevisfido.Authentication, "push")

	s.config = observing
	s.load()
	s.wantResult(s.dispatch("push", p.TargetID()), nevisfido.DispatcherNotFound)
}
