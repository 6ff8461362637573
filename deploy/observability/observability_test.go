// Package observability has the alerts and the dashboard; its tests keep them to
// what the sidecar counts.
package observability

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// alert is one of rules.yml.
type alert struct {
	Alert       string
	Expr        string
	Annotations map[string]string
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	decode(t, "rules.yml", &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("rules.yml has no rules")
	}
	return all
}

// query is one of the dashboard.
type query struct {
	panel, expr, legend string
}

func queries(t *testing.T) (all []query) {
	t.Helper()
	content, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			all = append(all, query{p.Title, q.Expr, q.LegendFormat})
		}
	}
	if len(all) == 0 {
		t.Fatal("dashboard.json has no queries")
	}
	return all
}

func decode(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), testservice.Need(t, "promtool"), args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

var ruleTests = []string{"rules_test.yml", "rules_history_test.yml"}

func TestPromtoolRunsTheRules(t *testing.T) {
	promtool(t, "check", "rules", "rules.yml")
	for _, name := range ruleTests {
		promtool(t, "test", "rules", name)
	}
}

// Each alert is seen to fire and seen not to, and has an entry in the runbook.
func TestEveryAlertIsTestedAndExplained(t *testing.T) {
	fires, rests := make(map[string]bool), make(map[string]bool)
	for _, name := range ruleTests {
		var file struct {
			Tests []struct {
				Checks []struct {
					Name string `yaml:"alertname"`
					Exp  []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		decode(t, name, &file)
		for _, test := range file.Tests {
			for _, c := range test.Checks {
				fires[c.Name] = fires[c.Name] || len(c.Exp) > 0
				rests[c.Name] = rests[c.Name] || len(c.Exp) == 0
			}
		}
	}
	runbook, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	var entries []string
	for line := range strings.Lines(string(runbook)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "## Oob"); ok {
			entries = append(entries, "Oob"+name)
		}
	}
	var names []string
	for _, a := range alerts(t) {
		names = append(names, a.Alert)
		if !fires[a.Alert] || !rests[a.Alert] {
			t.Errorf("%s: tested to fire %t, tested not to %t", a.Alert, fires[a.Alert], rests[a.Alert])
		}
		if want := "/docs/runbook.md#" + strings.ToLower(a.Alert); !strings.HasSuffix(a.Annotations["runbook_url"], want) {
			t.Errorf("%s: the runbook_url %q does not end in %s", a.Alert, a.Annotations["runbook_url"], want)
		}
	}
	slices.Sort(names)
	slices.Sort(entries)
	if !slices.Equal(names, entries) {
		t.Errorf("the alerts are\n%q, the entries of the runbook\n%q", names, entries)
	}
}

// Grafana is not at hand: what it would put into the queries is put in here, and
// Prometheus' parser reads them.
func TestPrometheusReadsTheQueriesOfTheDashboard(t *testing.T) {
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []rule
	variables := strings.NewReplacer("$__rate_interval", "5m", "$namespace", "fido", "$job", "oob-dispatch")
	for i, q := range queries(t) {
		rules = append(rules, rule{fmt.Sprintf("query:%d", i), variables.Replace(q.expr)})
	}
	var file bytes.Buffer
	if err := yaml.NewEncoder(&file).Encode(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", name)
}
