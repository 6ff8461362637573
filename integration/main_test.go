// Package integration drives the module in a real Caddy, in process, between
// real connections: a relying party and devices in front, a simulated
// nevisFIDO and a simulated Google behind.
package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddytest"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"go.uber.org/goleak"

	_ "github.com/oob-dispatch/oob-dispatch" // the module
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

func TestMain(m *testing.M) {
	if os.Getenv(testservice.ProductVariable) != "" {
		caddycmd.Main()
		return
	}
	flag.Parse()
	if testing.Short() { // caddytest skips everything then
		fmt.Println("these tests drive a real Caddy: they are skipped with -short")
		os.Exit(0)
	}
	caddytest.Default.AdminPort = freePort()
	caddytest.Default.LoadRequestTimeout = 30 * time.Second
	caddytest.Default.TestRequestTimeout = 30 * time.Second
	before := goleak.IgnoreCurrent()
	if err := idle(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := shutDown(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// CertMagic's lock refresher ends by itself, at most 5 seconds later.
	refresher := goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh")
	// And Caddy ends the servers of an earlier configuration in the background.
	err := goleak.Find(before, refresher)
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); {
		err = goleak.Find(before, refresher)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// idle loads a configuration with nothing but the admin API. As long as that
// is there, caddytest starts no server of its own, which it could not end.
func idle() error {
	return caddy.Load(fmt.Appendf(nil, `{
		"admin": {"listen": %q, "config": {"persist": false}},
		"logging": {"logs": {"default": {"writer": {"output": "oob_test_memory"}}}}
	}`, adminAddress()), true)
}

// shutDown ends everything, the admin API too.
func shutDown() error {
	if err := caddy.Load([]byte(`{"admin": {"disabled": true, "config": {"persist": false}}}`), true); err != nil {
		return err
	}
	return caddy.Stop()
}

func adminAddress() string {
	return net.JoinHostPort("localhost", strconv.Itoa(caddytest.Default.AdminPort))
}

// freePort returns a port below the range from which the system gives ports to
// others, so that nobody takes it meanwhile.
func freePort() int {
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", fmt.Sprintf("localhost:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	panic("no free port")
}
