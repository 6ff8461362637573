// Package faults tests what the sidecar does when a party fails: every party by
// every fault that applies to it. table_test.go has the cells, docs/faults.md
// is made of them.
package faults

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oob-dispatch/oob-dispatch" // the module
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// patience is how long anything may take that happens at once.
const patience = 20 * time.Second

// The variables by which a process of this test knows that it is a sidecar: its
// Caddyfile, and how many descriptors it may have.
const (
	sidecarVariable = "OOB_TEST_SIDECAR"
	limitVariable   = "OOB_TEST_DESCRIPTORS"
)

func TestMain(m *testing.M) {
	net.DefaultResolver = names.resolver()
	if file := os.Getenv(sidecarVariable); file != "" {
		if err := beSidecar(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	// Cells wait most of their time.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// beSidecar runs Caddy until it is asked to end.
func beSidecar(file string) error {
	limit, err := strconv.ParseUint(os.Getenv(limitVariable), 10, 32)
	if err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := load(content); err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ended.Done()
	return caddy.Stop()
}

func load(caddyfile []byte) error {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, nil)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

var addresses sync.Map

// freeAddress returns one that this test has not given away already, where
// nobody may listen yet, or for a moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		address := testservice.FreeAddress(t)
		if _, given := addresses.LoadOrStore(address, true); !given {
			return address
		}
	}
}
