package kvtest_test

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestBackendKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Backend { return new(kvtest.Backend) })
}
