package kvtest_test

import (
	"errors"
	"regexp"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestBackendKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Backend { return new(kvtest.Backend) }, func(*testing.T) kvtest.Outage {
		b := new(kvtest.Backend)
		return kvtest.Outage{
			Backend: b,
			Down:    func() { b.Fail(errors.New("out of order")) },
			Up:      func() { b.Fail(nil) },
			Because: regexp.MustCompile("out of order"),
		}
	})
}
