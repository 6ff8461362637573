package docs

import (
	"crypto/tls"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// TestKeyExchange: what compliance.md says of TLS between a caller and the
// sidecar, with Caddy's defaults.
func TestKeyExchange(t *testing.T) {
	address := testservice.FreeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	serve(t, "{\n\tadmin off\n\tpersist_config off\n\tskip_install_trust\n\tauto_https disable_redirects\n\thttps_port "+port+
		"\n}\nhttps://localhost:"+port+" {\n\tbind 127.0.0.1\n\ttls internal\n\trespond ok\n}\n")
	var state tls.ConnectionState
	testservice.Until(t, func() bool { // the certificate is made in the background
		c, err := (&tls.Dialer{Config: &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", address) // it is its key exchange that counts
		if err != nil {
			return false
		}
		defer c.Close()
		state = c.(*tls.Conn).ConnectionState()
		return true
	}, func() string { return "no connection" })
	if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("%s with %s", tls.VersionName(state.Version), state.CurveID)
	}
}

// TestFIPS: what compliance.md says of GODEBUG=fips140. The quick start works
// with "on"; with "only" no process with the Redis store begins.
func TestFIPS(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	quickStart := func(mode string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, "-test.run", "^TestQuickStart$")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := quickStart("on"); err != nil {
		t.Errorf("on: %v\n%s", err, out)
	}
	if out, err := quickStart("only"); err == nil || !strings.Contains(out, "SHA-1 is not allowed") {
		t.Errorf("only: %v\n%s", err, out)
	}
}
