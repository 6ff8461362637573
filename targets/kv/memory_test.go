package kv_test

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Backend { return new(kv.Memory) })
}
