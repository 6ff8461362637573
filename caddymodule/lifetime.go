package caddymodule

import (
	"time"

	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// warnOfLifetime logs a dispatcher that would refuse every message, because no
// token of an operation that it serves lives as long as it needs.
func (h *Handler) warnOfLifetime(name string, operations []nevisfido.Operation, needs time.Duration) {
	if len(operations) == 0 {
		operations = nevisfido.Operations()
	}
	lifetimes, longest := h.lifetimes(), time.Duration(0)
	for _, op := range operations {
		longest = max(longest, lifetimes[op])
	}
	if needs > 0 && longest <= needs { // some of the lifetime is over when the message is sent
		h.logger.Warn("no token lives as long as this dispatcher needs, so that it refuses every message: "+
			"raise token_lifetime here and at nevisFIDO, or lower min_lifetime",
			zap.String("dispatcher", name), zap.Duration("needs", needs), zap.Duration("longest", longest))
	}
}
