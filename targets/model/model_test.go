// Package model checks the protocol by which changes of dispatch targets go
// through the sidecars (package targets): change.pml is a model of it, which spin
// searches whole, and runs of the model are replayed against the code.
package model

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

const file = "change.pml"

// patience is how long a search may take. It takes seconds.
const patience = 5 * time.Minute

// promised are configurations in which the promises of docs/model.md hold.
var promised = map[string]string{
	"two changes":                       "-DKINDS=15",
	"a sidecar dies":                    "-DCRASHES=1",
	"the store fails":                   "-DFAULTS=2 -DKINDS=1",
	"the store fails, all kinds":        "-DFAULTS=1 -DKINDS=15",
	"both, one change":                  "-DFAULTS=2 -DCRASHES=1 -DKINDS=15 -DCHANGES=1 -DDISPATCHES=1",
	"the target is not known":           "-DUNKNOWN",
	"the target is not known, one dies": "-DUNKNOWN -DCRASHES=1 -DKINDS=1",
	"the target waits":                  "-DWAITING -DFAULTS=1",
	"a live key source":                 "-DSOURCE -DDISPATCHES=1 -DKINDS=1",
	"a message":                         "-DDISPATCHES=1 -DKINDS=3",
	"a failover with replicas":          "-DFAILOVERS=1 -DREPLICAS -DFAULTS=1",
}

// broken are configurations in which a guard of the protocol is taken out, or
// something is not as docs/model.md assumes.
var broken = map[string]string{
	"forwarded without a fence":                       "-DBREAK_FENCE -DFAULTS=1 -DCHANGES=1",
	"overlapping changes applied":                     "-DBREAK_ALONE",
	"no answer taken for a refusal":                   "-DBREAK_UNANSWERED -DCHANGES=1",
	"a late fence not taken back":                     "-DBREAK_TAKE_BACK -DFAULTS=1 -DCHANGES=1",
	"a forgery gets a fence":                          "-DBREAK_FORGED -DCHANGES=1",
	"what died is forgotten":                          "-DBREAK_DROP_DEAD -DCRASHES=1",
	"what died stays in the fence":                    "-DBREAK_DEAD_STAY -DCRASHES=1",
	"no fence for an unknown target without a key":    "-DBREAK_UNKNOWN -DUNKNOWN",
	"a source's answer kept without a comparison":     "-DBREAK_KEEP -DSOURCE -DDISPATCHES=1 -DKINDS=1",
	"an unanswered change leaves the record the same": "-DBREAK_UPDATED -DSOURCE -DDISPATCHES=1 -DKINDS=1",
	"a failover without replicas":                     "-DFAILOVERS=1 -DCHANGES=1",
	"nevisFIDO goes on after the connection broke":    "-DBREAK_ORDER",
	"the key of when the message is compiled":         "-DSTRICT -DDISPATCHES=1 -DCHANGES=1",
}

func TestPromises(t *testing.T) {
	states, start := 0, time.Now()
	for name, config := range promised {
		t.Run(name, func(t *testing.T) {
			r := search(t, config)
			if r.errors != 0 {
				t.Fatalf("%s: a promise is broken:\n%s", config, r.trace(t))
			}
			t.Logf("%s: %d states in %s", config, r.states, r.took.Round(time.Millisecond))
			states += r.states
		})
	}
	t.Logf("%d states in %s, compilation included", states, time.Since(start).Round(time.Second))
}

// What the checker finds nothing wrong with is worth as much as what it finds.
func TestBrokenModelsAreFound(t *testing.T) {
	for name, config := range broken {
		t.Run(name, func(t *testing.T) {
			r := search(t, config)
			if r.errors == 0 {
				t.Fatalf("%s: nothing was found in %d states", config, r.states)
			}
			t.Logf("%s:\n%s", config, r.trace(t))
		})
	}
}

// result is that of a search.
type result struct {
	folder, config string
	states, errors int
	took           time.Duration
}

var (
	statesLine = regexp.MustCompile(`(\d+) states, stored`)
	errorsLine = regexp.MustCompile(`errors: (\d+)`)
)

// search has spin make a program of the model, and the program search all states.
func search(t *testing.T, config string) result {
	t.Helper()
	spin, gcc := testservice.Need(t, "spin"), testservice.Need(t, "gcc")
	r := result{folder: t.TempDir(), config: config}
	model, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.folder, file), model, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, r.folder, spin, append(strings.Fields(config), "-a", file)...)
	run(t, r.folder, gcc, "-DSAFETY", "-o", "pan", "pan.c") // with -O it takes longer than that saves
	start := time.Now()
	out := run(t, r.folder, "./pan", "-m100000", "-w22")
	r.took = time.Since(start)
	states, failed := statesLine.FindStringSubmatch(out), errorsLine.FindStringSubmatch(out)
	if states == nil || failed == nil {
		t.Fatalf("the answer of the search is not understood:\n%s", out)
	}
	r.states, _ = strconv.Atoi(states[1])
	r.errors, _ = strconv.Atoi(failed[1])
	if r.errors == 0 && (strings.Contains(out, "not completed") || strings.Contains(out, "too small")) {
		t.Fatalf("%s: the search was not complete:\n%s", config, out)
	}
	return r
}

// trace returns the steps that lead to what was found.
func (r result) trace(t *testing.T) string {
	t.Helper()
	args := append(strings.Fields(r.config), "-T", "-t", file)
	var steps []string
	for line := range strings.Lines(run(t, r.folder, testservice.Need(t, "spin"), args...)) {
		if _, ok := parseEvent(line); ok || strings.Contains(line, "failed assertion") || strings.Contains(line, "invalid end state") {
			steps = append(steps, strings.TrimSpace(line))
		}
	}
	return strings.Join(steps, "\n")
}

// run returns what a program writes. Spin ends with another status where a trace
// ends early.
func run(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err != nil && (ctx.Err() != nil || cmd.ProcessState == nil || len(out) == 0 || program != "./pan" && !strings.Contains(string(out), "spin:")) {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}
