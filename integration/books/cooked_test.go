package books

import (
	"net/http"
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// right are books that agree: a push that arrived twice, a letter that failed, a
// link, and a call that nevisFIDO failed.
func right() books {
	return books{
		calls: []call{
			{trace: "1", dispatcher: "push", status: http.StatusOK, result: nevisfido.Dispatched, delivered: "push", token: "a"},
			{trace: "2", dispatcher: "paper", status: http.StatusOK, result: nevisfido.DispatchError, token: "b"},
			{trace: "3", dispatcher: "app-link", status: http.StatusOK, result: nevisfido.Dispatched, delivered: "app-link", token: "c"},
			{trace: "4", dispatcher: "sms", status: http.StatusBadGateway},
			{trace: "5", dispatcher: "sms"},
		},
		receipts: []receipt{
			{dispatcher: "push", id: "a", reads: "a"},
			{dispatcher: "push", id: "a", reads: "a"},
			{dispatcher: "paper", id: "b_paper"},
			{dispatcher: "app-link", id: "c_app-link", reads: "c"},
		},
		lines: []line{
			{
				Trace: "1", Operation: "authentication", Dispatcher: "push", Delivered: "push", Token: "a", Result: nevisfido.Dispatched,
				Attempts: []attempt{{"push", "temporary", "unavailable"}, {"push", "delivered", ""}},
			},
			{
				Trace: "2", Operation: "authentication", Dispatcher: "paper", Token: "b", Result: nevisfido.DispatchError, Reason: "uncertain",
				Attempts: []attempt{{"paper", "refused", "uncertain"}},
			},
			{
				Trace: "3", Operation: "authentication", Dispatcher: "app-link", Delivered: "app-link", Token: "c", Result: nevisfido.Dispatched,
				Attempts: []attempt{{"app-link", "delivered", ""}},
			},
			{Trace: "4", Operation: "authentication", Dispatcher: "sms", Result: nevisfido.DispatchError, Reason: "upstream_unavailable"},
		},
		metrics: map[string]float64{
			`caddy_oob_dispatches_total{dispatcher="push",operation="authentication",reason="",result="dispatched"}`:                       1,
			`caddy_oob_dispatches_total{dispatcher="paper",operation="authentication",reason="uncertain",result="dispatchError"}`:          1,
			`caddy_oob_dispatches_total{dispatcher="app-link",operation="authentication",reason="",result="dispatched"}`:                   1,
			`caddy_oob_dispatches_total{dispatcher="sms",operation="authentication",reason="upstream_unavailable",result="dispatchError"}`: 1,
			`caddy_oob_delivery_attempts_total{dispatcher="push",outcome="temporary"}`:                                                     1,
			`caddy_oob_delivery_attempts_total{dispatcher="push",outcome="delivered"}`:                                                     1,
			`caddy_oob_delivery_attempts_total{dispatcher="paper",outcome="refused"}`:                                                      1,
			`caddy_oob_delivery_attempts_total{dispatcher="app-link",outcome="delivered"}`:                                                 1,
			`caddy_oob_delivery_attempts_total{dispatcher="mail",outcome="delivered"}`:                                                     0,
			`caddy_oob_encryptions_total{alg="ECDH-ES+A256KW",enc="A256GCM",outcome="sealed"}`:                                             3,
		},
	}
}

// Whoever cooks the books is found, and nobody else.
func TestCookedBooks(t *testing.T) {
	for name, test := range map[string]struct {
		cook func(*books)
		want []string // the kinds of findings
	}{
		"right books":                     {func(*books) {}, nil},
		"a message is lost":               {func(b *books) { b.receipts = b.receipts[:3] }, []string{lost}},
		"a link is lost":                  {func(b *books) { b.lines[2].Attempts = nil }, []string{lost, untold, wrongMetric}},
		"doubled beyond its attempts":     {func(b *books) { b.receipts = append(b.receipts, b.receipts[0]) }, []string{doubled}},
		"doubled after a certain failure": {func(b *books) { b.lines[0].Attempts[0].Reason = "quota_exceeded" }, []string{doubled}},
		"a letter is doubled": {func(b *books) {
			b.cook(1, "paper", "temporary", "timeout")
			b.receipts = append(b.receipts, b.receipts[2])
		}, []string{doubled}},
		"delivered, and told it failed":       {func(b *books) { b.lines[1].Attempts[0].Reason = "printer" }, []string{untold}},
		"delivered by a dispatcher not asked": {func(b *books) { b.receipts = append(b.receipts, receipt{dispatcher: "sms", id: "c_sms"}) }, []string{untold}},
		"a receipt under another id":          {func(b *books) { b.receipts[3].id = "c_sms" }, []string{lost, untold}},
		"a receipt of nobody":                 {func(b *books) { b.receipts = append(b.receipts, receipt{dispatcher: "mail", id: "x_mail"}) }, []string{noLine}},
		"the phone reads another token":       {func(b *books) { b.receipts[0].reads = "b" }, []string{misread}},
		"an audit line is missing":            {func(b *books) { b.lines = b.lines[1:] }, []string{noLine, noLine, wrongMetric, wrongMetric, wrongMetric}},
		"an audit line is there twice":        {func(b *books) { b.lines = append(b.lines, b.lines[3]) }, []string{noCall, wrongMetric}},
		"an audit line of no call":            {func(b *books) { b.calls = b.calls[:3] }, []string{noCall}},
		"an answer is no success":             {func(b *books) { b.calls[2].result = nevisfido.DispatchError }, []string{contradicts}},
		"a failure is answered as a success":  {func(b *books) { b.calls[1].result = nevisfido.Dispatched }, []string{contradicts}},
		"an HTTP error of a success":          {func(b *books) { b.calls[0].status = http.StatusBadGateway }, []string{contradicts}},
		"another token":                       {func(b *books) { b.calls[0].token = "x" }, []string{contradicts}},
		"the line of another call":            {func(b *books) { b.calls[4].trace, b.calls[3].trace = "4", "5" }, []string{noLine}},
		"a line of another dispatcher":        {func(b *books) { b.calls[3].dispatcher = "mail" }, []string{contradicts}},
		"a caller left before its link":       {func(b *books) { b.calls[2] = call{trace: "3", dispatcher: "app-link"}; b.receipts = b.receipts[:3] }, nil},
		"a caller left, and its push is lost": {func(b *books) { b.calls[0] = call{trace: "1", dispatcher: "push"}; b.receipts = b.receipts[2:] }, []string{lost}},
		"another one delivered":               {func(b *books) { b.calls[0].delivered = "mail" }, []string{contradicts}},
		"a failure with a delivery":           {func(b *books) { b.fail(0) }, []string{untold}},
		"a metric is too low": {func(b *books) {
			b.metrics[series("delivery_attempts_total", "dispatcher", "paper", "outcome", "refused")]--
		}, []string{wrongMetric}},
		"a metric too many":              {func(b *books) { b.metrics[series("dispatches_total", "dispatcher", "x")]++ }, []string{wrongMetric}},
		"a fallback is not counted":      {func(b *books) { b.lines[1].Fallbacks = make([]struct{ From, To, Reason string }, 1) }, []string{wrongMetric}},
		"audit lines were lost":          {func(b *books) { b.metrics["caddy_oob_audit_failures_total"] = 1 }, []string{wrongMetric}},
		"another metric does not matter": {func(b *books) { b.metrics["caddy_oob_passed_total"] = 1 }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := right()
			test.cook(&b)
			_, found := b.compare()
			var kinds []string
			for _, f := range found {
				kinds = append(kinds, f.kind)
			}
			slices.Sort(kinds)
			slices.Sort(test.want)
			if !slices.Equal(kinds, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}

// cook puts one more attempt into a line, and into the metrics.
func (b *books) cook(i int, dispatcher, class, reason string) {
	b.lines[i].Attempts = append(b.lines[i].Attempts, attempt{dispatcher, class, reason})
	b.metrics[series("delivery_attempts_total", "dispatcher", dispatcher, "outcome", class)]++
}

// fail has the caller, the line and the metrics of a success say that it failed.
func (b *books) fail(i int) {
	l := &b.lines[i]
	count := func(n float64) {
		b.metrics[series("dispatches_total", "dispatcher", l.Dispatcher, "operation", l.Operation, "reason", l.Reason, "result", string(l.Result))] += n
	}
	count(-1)
	l.Result, l.Reason, b.calls[i].result = nevisfido.DispatchError, "timeout", nevisfido.DispatchError
	count(1)
}
