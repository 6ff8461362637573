package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oob-dispatch/oob-dispatch/internal/version"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// series returns how many series a metric has, and the sum of them, for gauges
// and counters.
func series(t *testing.T, registry *prometheus.Registry, name string) (n int, sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				n++
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return n, sum
}

// Every guess has a series before it hits, and counts.
func TestGuessesAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := series(t, registry, "caddy_oob_guesses_total"); n != len(nevisfido.GuessNames()) {
		t.Errorf("%d series, want %d", n, len(nevisfido.GuessNames()))
	}
	_, before := series(t, registry, "caddy_oob_guesses_total")
	m.Guessed(nevisfido.GuessKeyText | nevisfido.GuessTargetMember)
	if _, after := series(t, registry, "caddy_oob_guesses_total"); after-before != 2 {
		t.Errorf("counted %v guesses, want 2", after-before)
	}
}

// Every reason of the exchange has a series before its first call, and is
// in the README.
func TestReasonsOfPassedCallsAreThereFromTheStart(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../internal/exchange/passed.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Passed") {
			return true
		}
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, reason)
		return true
	})
	registry := prometheus.NewRegistry()
	if _, err := newMetrics(registry); err != nil {
		t.Fatal(err)
	}
	got := slices.Clone(passedReasons)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("the metrics have %q, the exchange %q", got, want)
	}
	if n, _ := series(t, registry, "caddy_oob_passed_total"); n != len(want) {
		t.Errorf("%d series, want %d", n, len(want))
	}
	_, line, _ := strings.Cut(readFile(t, "../README.md"), "`caddy_oob_passed_total{reason}`")
	line, _, _ = strings.Cut(line, "\n")
	for _, reason := range want {
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
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
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
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for _, f := range families {
		if f.GetName() == "caddy_oob_build_info" {
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
		}
	}
	v := version.Read()
	if want := map[string]string{"version": v.Version, "commit": v.Commit, "caddy": v.Caddy, "go": v.Go}; !maps.Equal(labels, want) {
		t.Errorf("labels %v, want %v", labels, want)
	}
}
