package claimstest

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/claims"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) claims.Store { return new(Memory) })
}
