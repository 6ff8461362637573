package testservice

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// allVariable is set where every test has to run, as test.sh does: what would
// be skipped is a failure then.
const allVariable = "OOB_TEST_ALL"

// Lacking skips a test that cannot run on this machine. It fails the test where
// all have to run.
func Lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(allVariable) != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Slow skips a test that takes longer than a developer waits, unless all have to
// run.
func Slow(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(allVariable) == "" {
		t.Skipf("this takes long: %s; ./test.sh runs it", why)
	}
}

// Few returns all variants of repetition i where every test has to run, and one
// of them in turn for a developer.
func Few[V any](variants []V, i int) []V {
	if os.Getenv(allVariable) != "" {
		return variants
	}
	i %= len(variants)
	return variants[i : i+1]
}

// Folder makes a folder for a server that may still write into it when the test
// ends, which t.TempDir takes for a failure.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "oob-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 {
			if err = os.RemoveAll(dir); err == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Error(err)
	})
	return dir
}

// Need returns the path of a program, and skips the test if it is not
// installed. Programs of administrators are found as well, although they are not
// in every user's PATH.
func Need(t testing.TB, program string) string {
	t.Helper()
	for _, name := range []string{program, filepath.Join("/usr/sbin", program), filepath.Join("/usr/lib/postfix/sbin", program)} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Lacking(t, "%s is not installed; ./test.sh installs what the tests need", program)
	return ""
}

// NeedRoot skips a test of a server that only root can start.
func NeedRoot(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Lacking(t, "only root can run this: %s", why)
	}
}
