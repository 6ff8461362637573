package claimstest

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) shortlink.Store { return new(Memory) })
}
