package caddymodule

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/internal/reasons"
	"github.com/oob-dispatch/oob-dispatch/internal/version"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// metrics counts what the exchange reports. Labels come from closed sets and
// from the configuration only, never from a request.
type metrics struct {
	dispatches  *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	attempts    *prometheus.CounterVec
	encryptions *prometheus.CounterVec
	targets     *prometheus.CounterVec
	limited     *prometheus.CounterVec
	fallbacks   *prometheus.CounterVec
	passed      *prometheus.CounterVec
	notices     *prometheus.CounterVec
	guesses     *prometheus.CounterVec
	storeErrors *prometheus.CounterVec
	upstream    prometheus.Histogram
	keyAge      prometheus.Histogram
	build       prometheus.GaugeFunc

	auditFailures prometheus.Counter

	unsynced      prometheus.GaugeFunc
	waitingStores sync.Map // of *targets.Unsynced, whose sum unsynced is; they live as long as the process
}

// collectors are made once, so that counters keep their values when a reload
// brings a new registry.
var collectors = sync.OnceValue(func() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "oob", Name: name, Help: help}, labels)
	}
	m := &metrics{
		dispatches: counter("dispatches_total", "Counter of dispatch exchanges.", "dispatcher", "operation", "result", "reason"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "caddy", Subsystem: "oob", Name: "dispatch_duration_seconds",
			Help:    "Histogram of the time from the request to the answer of dispatch exchanges.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"dispatcher"}),
		attempts:    counter("delivery_attempts_total", "Counter of attempts at a delivery.", "dispatcher", "outcome"),
		encryptions: counter("encryptions_total", "Counter of messages that were to be encrypted.", "alg", "enc", "outcome"),
		targets:     counter("targets_total", "Counter of changes to dispatch targets.", "event", "source"),
		limited:     counter("limited_total", "Counter of dispatches that a limit refused.", "scope"),
		fallbacks:   counter("fallbacks_total", "Counter of dispatchers that were tried because another failed.", "from", "to", "reason"),
		passed:      counter("passed_total", "Counter of dispatch calls that were not for a dispatcher of the sidecar.", "reason"),
		notices:     counter("notices_total", "Counter of notices about expired targets and changed keys.", "notice", "outcome"),
		guesses:     counter("guesses_total", "Counter of calls and targets that were read with the help of a guess about nevisFIDO.", "guess"),
		storeErrors: counter("store_errors_total", "Counter of operations on dispatch targets that the store failed.", "op"),
		upstream: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "caddy", Subsystem: "oob", Name: "upstream_duration_seconds",
			Help:    "Histogram of the time that nevisFIDO took over a dispatch request.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		keyAge: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "caddy", Subsystem: "oob", Name: "key_age_seconds",
			Help:    "Histogram of the age of the keys that messages were encrypted with.",
			Buckets: []float64{86400, 7 * 86400, 30 * 86400, 90 * 86400, 180 * 86400, 365 * 86400, 2 * 365 * 86400, 5 * 365 * 86400},
		}),
		auditFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "caddy", Subsystem: "oob", Name: "audit_failures_total",
			Help: "Counter of audit lines that were lost.",
		}),
	}
	m.unsynced = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "oob", Name: "unsynced_targets",
		Help: "Gauge of the targets and changes that wait in the process until the store takes them.",
	}, func() float64 {
		sum := 0
		m.waitingStores.Range(func(store, _ any) bool {
			sum += store.(*targets.Unsynced).Len()
			return true
		})
		return float64(sum)
	})
	build := version.Read()
	m.build = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "oob", Name: "build_info",
		Help:        "Always 1; the labels say which versions the binary is made of.",
		ConstLabels: prometheus.Labels{"version": build.Version, "commit": build.Commit, "caddy": build.Caddy, "go": build.Go},
	}, func() float64 { return 1 })
	for _, reason := range reasons.Names(reasons.Passed) {
		m.passed.WithLabelValues(reason) // so that the first one shows in a rate
	}
	for _, scope := range []dispatchers.Scope{dispatchers.PerTarget, dispatchers.PerUser, dispatchers.PerClient} {
		m.limited.WithLabelValues(string(scope))
	}
	for event, sources := range targets.Events() {
		for _, source := range sources {
			m.targets.WithLabelValues(string(event), source)
		}
	}
	for _, notice := range []string{delivery.OnExpired, delivery.OnKeyChange} {
		for _, class := range dispatchers.Classes() {
			m.notices.WithLabelValues(notice, string(class))
		}
	}
	for _, guess := range nevisfido.GuessNames() {
		m.guesses.WithLabelValues(guess)
	}
	for _, op := range []string{opLoad, opUpdate, opDevices} {
		m.storeErrors.WithLabelValues(op)
	}
	return m
})

// watch adds what waits for a store to caddy_oob_unsynced_targets.
func (m *metrics) watch(u *targets.Unsynced) { m.waitingStores.LoadOrStore(u, nil) }

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := collectors()
	for _, c := range []prometheus.Collector{m.dispatches, m.duration, m.attempts, m.encryptions, m.targets, m.limited, m.fallbacks, m.passed, m.notices, m.guesses, m.storeErrors, m.upstream, m.keyAge, m.auditFailures, m.unsynced, m.build, inFlight{}, credentialGauges{}} {
		if err := registry.Register(c); err != nil {
			if _, registered := errors.AsType[prometheus.AlreadyRegisteredError](err); !registered {
				return nil, err
			}
		}
	}
	return m, nil
}

// expect makes the series of dispatchers before they are used, but for those with
// the reason of a failure.
func (m *metrics) expect(channels map[string]*delivery.Channel) {
	for name, c := range channels {
		m.duration.WithLabelValues(name)
		for _, op := range nevisfido.Operations() {
			if len(c.Operations) == 0 || slices.Contains(c.Operations, op) {
				m.dispatches.WithLabelValues(name, string(op), string(nevisfido.Dispatched), "")
			}
		}
		if c.Composite != nil {
			continue // its members make the attempts
		}
		for _, class := range dispatchers.Classes() {
			m.attempts.WithLabelValues(name, string(class))
		}
	}
}

// Exchanged implements exchange.Observer.
func (m *metrics) Exchanged(r exchange.Record) {
	m.dispatches.WithLabelValues(r.Dispatcher, string(r.Operation), string(r.Result), r.Reason).Inc()
	m.duration.WithLabelValues(r.Dispatcher).Observe(r.Took.Seconds())
	if r.Alg != "" {
		m.keyAge.Observe(r.KeyAge.Seconds())
	}
	if r.Sealing != "" {
		m.encryptions.WithLabelValues(r.Alg, r.Enc, r.Sealing).Inc()
	}
	for _, a := range r.Attempts {
		if a.Made {
			m.attempts.WithLabelValues(a.Dispatcher, string(a.Class)).Inc()
		}
	}
	for _, f := range r.Fallbacks {
		m.fallbacks.WithLabelValues(f.From, f.To, f.Reason).Inc()
	}
}

// Limited implements exchange.Observer.
func (m *metrics) Limited(scope dispatchers.Scope) {
	m.limited.WithLabelValues(string(scope)).Inc()
}

// Passed implements exchange.Observer.
func (m *metrics) Passed(reason string) { m.passed.WithLabelValues(reason).Inc() }

// Asked implements exchange.Observer.
func (m *metrics) Asked(took time.Duration) { m.upstream.Observe(took.Seconds()) }

// Guessed implements exchange.Observer.
func (m *metrics) Guessed(g nevisfido.Guesses) {
	for name := range g.Names() {
		m.guesses.WithLabelValues(name).Inc()
	}
}

func (m *metrics) noticed(n delivery.Notice) {
	m.notices.WithLabelValues(n.Dispatcher, string(n.Class)).Inc()
}

func (m *metrics) storeFailed(op string) { m.storeErrors.WithLabelValues(op).Inc() }

// inFlight is the gauge of the dispatches that use each dispatcher, in all
// configurations that are loaded.
type inFlight struct{}

var inFlightDesc = prometheus.NewDesc("caddy_oob_in_flight", "Gauge of the dispatches that use a dispatcher just now.", []string{"dispatcher"}, nil)

// Describe implements prometheus.Collector.
func (inFlight) Describe(to chan<- *prometheus.Desc) { to <- inFlightDesc }

// Collect implements prometheus.Collector.
func (inFlight) Collect(to chan<- prometheus.Metric) {
	sums := make(map[string]int)
	for _, h := range allHandlers() {
		for name, channel := range h.exchange.Channels {
			sums[name] += len(channel.Slots)
		}
	}
	for name, n := range sums {
		to <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(n), name)
	}
}

func (m *metrics) target(e targets.Event) {
	m.targets.WithLabelValues(string(e.Name), e.Source).Inc()
}
