package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

const healthPath = "/healthz"

// newCaddy makes a sidecar whose site has the directives.
func newCaddy(t *testing.T, program, site string) *testservice.Process {
	t.Helper()
	p := &testservice.Process{Dir: t.TempDir(), Address: testservice.FreeAddress(t)}
	file := filepath.Join(p.Dir, "Caddyfile")
	content := fmt.Sprintf(replicaText, p.Dir, p.Address, healthPath, site)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Args = []string{program, "run", "--config", file, "--adapter", "caddyfile"}
	p.Healthy = func() bool { return healthy(http.DefaultTransport, p.Address+healthPath) }
	t.Cleanup(func() { p.Finish(t) })
	return p
}

// healthy asks a process whether it takes requests.
func healthy(transport http.RoundTripper, address string) bool {
	r, err := http.NewRequest(http.MethodGet, "http://"+address, nil)
	if err != nil {
		return false
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// waitFor waits for something that happens in its own time.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	testservice.Until(t, done, func() string { return "it was " + what })
}
