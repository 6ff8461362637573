package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// The unit is one that systemd accepts, with the paths that it names in place,
// and one that leaves little to the service.
func TestSystemd(t *testing.T) {
	analyze := testservice.Need(t, "systemd-analyze")
	root := t.TempDir()
	// The targets that each unit depends on.
	if err := os.CopyFS(filepath.Join(root, "usr/lib/systemd/system"), os.DirFS("/lib/systemd/system")); err != nil {
		testservice.Lacking(t, "systemd's own units cannot be read: %v", err)
	}
	write(t, filepath.Join(root, "etc/systemd/system/oob-dispatch.service"), string(read(t, "systemd/oob-dispatch.service")), 0o600)
	for _, program := range []string{"/usr/local/bin/oob-dispatch", "/bin/kill"} {
		write(t, filepath.Join(root, program), "", 0o755)
	}
	command{}.run(t, analyze, "verify", "--man=no", "--root="+root, "oob-dispatch.service")
	// From 0, nothing is allowed, to 100. systemd calls up to 20 OK; its default
	// for a unit without any hardening is 96.
	command{}.run(t, analyze, "security", "--offline=true", "--root="+root, "--threshold=20", "oob-dispatch.service")
}
