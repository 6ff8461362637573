package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
	must(t, os.WriteFile(file, []byte(content), 0o600))
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

// must ends a test that cannot go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor waits for something that happens in its own time.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	testservice.Until(t, done, func() string { return "it was " + what })
}

// listeners returns where somebody on this machine listens for TCP, by the inodes
// of the sockets. Addresses other than of 127.0.0.1 stay as /proc writes them.
func listeners(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, table := range []string{"tcp", "tcp6"} {
		rows, err := os.ReadFile("/proc/net/" + table)
		if err != nil && table == "tcp" {
			t.Fatal(err)
		}
		for row := range strings.Lines(string(rows)) {
			// The number, the local and the remote address, the state: LISTEN, and the inode as the tenth.
			f := strings.Fields(row)
			if len(f) < 10 || f[3] != "0A" {
				continue
			}
			var port int
			if _, err := fmt.Sscanf(f[1], "0100007F:%04X", &port); err == nil {
				f[1] = fmt.Sprintf("127.0.0.1:%d", port)
			}
			all[f[9]] = f[1]
		}
	}
	return all
}
