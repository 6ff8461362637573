package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oob-dispatch/oob-dispatch/internal/reasons"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/internal/version"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// sample is a series of a metric; the value of a histogram is how often it was
// observed.
type sample struct {
	labels map[string]string
	value  float64
}

// gather returns the series of a metric.
func gather(t *testing.T, registry *prometheus.Registry, name string) (all []sample) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			all = append(all, sample{labels, m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())})
		}
	}
	return all
}

// series returns how many series a metric has, and the sum of them.
func series(t *testing.T, registry *prometheus.Registry, name string) (n int, sum float64) {
	t.Helper()
	all := gather(t, registry, name)
	for _, one := range all {
		sum += one.value
	}
	return len(all), sum
}

// registered returns the metrics in a registry of their own.
func registered(t *testing.T) (*metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return m, registry
}

// A letter in the folder while the printer is away is a success, so the operator
// has to be told of it.
func TestFolderInPlaceOfAPrinterIsCounted(t *testing.T) {
	s := startSite(t, fmt.Sprintf(`		dispatcher post letter {
			spool %s
			printer ipp://%s/ipp/print
			sender "Bank | Main Street 1"
			address "Jeff | Main Street 2 | 8000 Zurich"
			min_lifetime 1m
			encryption off
		}
`, t.TempDir(), testservice.FreeAddress(t)))
	if result := s.dispatch("post", "jeff"); result != "dispatched" {
		t.Fatal(result)
	}
	if n := s.metric(`caddy_oob_fallbacks_total{from="post",reason="connection",to="spool"}`); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// Every guess has a series before it hits, and counts.
func TestGuessesAreCounted(t *testing.T) {
	m, registry := registered(t)
	if n, _ := series(t, registry, "caddy_oob_guesses_total"); n != len(nevisfido.GuessNames()) {
		t.Errorf("%d series, want %d", n, len(nevisfido.GuessNames()))
	}
	_, before := series(t, registry, "caddy_oob_guesses_total")
	m.Guessed(nevisfido.GuessKeyText | nevisfido.GuessTargetMember)
	if _, after := series(t, registry, "caddy_oob_guesses_total"); after-before != 2 {
		t.Errorf("counted %v guesses, want 2", after-before)
	}
}

// Every reason of a call that passes has a series before its first call, and is in
// the README.
func TestReasonsOfPassedCallsAreThereFromTheStart(t *testing.T) {
	_, registry := registered(t)
	if n, _ := series(t, registry, "caddy_oob_passed_total"); n != len(reasons.Passed) {
		t.Errorf("%d series, want %d", n, len(reasons.Passed))
	}
	_, line, _ := strings.Cut(readFile(t, "../README.md"), "`caddy_oob_passed_total{reason}`")
	line, _, _ = strings.Cut(line, "\n")
	for _, reason := range reasons.Names(reasons.Passed) {
		if !strings.Contains(line, "`"+reason+"`") {
			t.Errorf("the README does not tell of the reason %s", reason)
		}
	}
}

// brokenStore is away.
type brokenStore struct{ targets.Store }

func (brokenStore) Update(context.Context, targets.Ref, targets.Edit) error { return errAway }

func (brokenStore) Heal(context.Context, targets.Ref, targets.Edit) error { return errAway }

var errAway = fmt.Errorf("%w: away", targets.ErrUnavailable)

// The gauge is the sum over all stores, each counted once however often its
// configuration is loaded.
func TestUnsyncedTargets(t *testing.T) {
	m, registry := registered(t)
	const name = "caddy_oob_unsynced_targets"
	_, before := series(t, registry, name)
	for range 2 {
		u := new(targets.Unsynced)
		t.Cleanup(func() { m.waitingStores.Delete(u) })
		m.watch(u)
		m.watch(u)
		d := &targets.Directory{Store: brokenStore{}, Unsynced: u}
		if err := d.Learn(t.Context(), &nevisfido.TargetDescription{}, nevisfido.CreatedTarget{ID: "one"}, targets.SourceCreate); !errors.Is(err, targets.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if n, after := series(t, registry, name); n != 1 || after-before != 2 {
		t.Errorf("%d series, %v targets wait, want 2", n, after-before)
	}
}

// The series is there once, however often a configuration is loaded, and says
// what caddy oob version does.
func TestBuildInfo(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		if _, err := newMetrics(registry); err != nil {
			t.Fatal(err)
		}
	}
	if n, sum := series(t, registry, "caddy_oob_build_info"); n != 1 || sum != 1 {
		t.Errorf("%d series with sum %v", n, sum)
	}
	v := version.Read()
	if want := map[string]string{"version": v.Version, "commit": v.Commit, "caddy": v.Caddy, "go": v.Go}; !maps.Equal(gather(t, registry, "caddy_oob_build_info")[0].labels, want) {
		t.Errorf("the labels are not %v", want)
	}
}

// What the store fails is counted by operation, and what it does not know, or
// holds and cannot be read, is no failure of it.
func TestStoreErrorsAreCounted(t *testing.T) {
	m, registry := registered(t)
	if n, _ := series(t, registry, "caddy_oob_store_errors_total"); n != 3 {
		t.Errorf("%d series at the start, want 3", n)
	}
	ref := targets.Ref{ID: "one"}
	counted := func(answer error, want float64) {
		t.Helper()
		_, before := series(t, registry, "caddy_oob_store_errors_total")
		memory := new(kvtest.Memory)
		memory.SetFault(func(context.Context, kvtest.Op) error { return answer })
		s := watchedStore{memory, m.storeFailed}
		_, err := s.Load(t.Context(), ref)
		_, devicesErr := s.OfDevice(t.Context(), "", "phone", "jeff")
		updateErr := s.Update(t.Context(), ref, func(*targets.Target) (*targets.Target, error) { return nil, nil })
		if answer != nil && (err == nil || devicesErr == nil || updateErr == nil) {
			t.Errorf("errors are swallowed: %v, %v, %v", err, devicesErr, updateErr)
		}
		if _, after := series(t, registry, "caddy_oob_store_errors_total"); after-before != want {
			t.Errorf("%v counts %v errors, want %v", answer, after-before, want)
		}
	}
	counted(nil, 0) // not found
	counted(errors.New("disk full"), 3)
	counted(&targets.RecordError{Hash: "x", Err: errors.New("damaged")}, 0)
}

// A dispatch is in flight while the third party takes its time, and nevisFIDO's
// part of the time is measured.
func TestDispatchesInFlight(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-goOn
	}))
	defer gateway.Close()
	_, s := healthOf(t, "\t\tdispatcher slow webhook {\n\t\t\turl "+gateway.URL+"\n\t\t\taddress 41\n\t\t\tencryption off\n\t\t\tbase_url https://a.example/open\n\t\t}")
	registry := runningRegistry()
	_, before := series(t, registry, "caddy_oob_upstream_duration_seconds")
	inFlight := func(want float64) {
		t.Helper()
		if n, sum := series(t, registry, "caddy_oob_in_flight"); n != 2 || sum != want {
			t.Errorf("%d dispatchers with %v dispatches in flight, want 2 with %v", n, sum, want)
		}
	}
	inFlight(0)
	done := make(chan error)
	go func() {
		_, err := s.try(http.MethodPost, dispatchPath, dispatchRequest("slow", "jeff"))
		done <- err
	}()
	<-arrived
	inFlight(1)
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	testservice.Until(t, func() bool { _, sum := series(t, registry, "caddy_oob_in_flight"); return sum == 0 }, func() string { return "still in flight" })
	if _, asked := series(t, registry, "caddy_oob_upstream_duration_seconds"); asked != before+1 {
		t.Errorf("nevisFIDO was asked %v times, want once", asked-before)
	}
}
