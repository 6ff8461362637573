package exchange

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Why a dispatch call went through to nevisFIDO although it looked like one that
// could be ours.
const (
	// PassedUpstream: it names a dispatcher of nevisFIDO's own.
	PassedUpstream = "upstream_dispatcher"
	// PassedUnnamed: it names no dispatcher, and neither does its target.
	PassedUnnamed = "no_dispatcher"
	// PassedUnknown: it names a dispatcher that is neither ours nor one that
	// nevisFIDO has by itself.
	PassedUnknown = "unknown_dispatcher"
	// PassedMisspelt: the name is one of ours but for its letter case or spaces.
	PassedMisspelt = "misspelt_dispatcher" //nolint:gosec // it is not a credential
	// PassedBasePath: its path is not below base_path.
	PassedBasePath = "base_path"
)

// passedWarnings are told at most once a minute each; the other reasons are no
// fault.
var passedWarnings = map[string]string{
	PassedUnknown:  "a dispatch call went to nevisFIDO because it names a dispatcher that is not configured here",
	PassedMisspelt: "a dispatch call went to nevisFIDO because the name of its dispatcher differs from ours in letter case or spaces",
	PassedBasePath: "a dispatch call went to nevisFIDO because its path is not below base_path",
}

const warningPause = time.Minute

// lastWarnings are the times of the last warning for each reason.
type lastWarnings struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (l *lastWarnings) due(reason string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if last, ok := l.at[reason]; ok && now.Sub(last) < warningPause {
		return false
	}
	l.at[reason] = now
	return true
}

// passed tells of a dispatch call that is not ours.
func (x *Exchange) passed(reason string) {
	x.Observer.Passed(reason)
	if text := passedWarnings[reason]; text != "" && x.warnings.due(reason) {
		x.Log.Warn(text, slog.String("base_path", x.BasePath), slog.Any("dispatchers", slices.Sorted(maps.Keys(x.Channels))))
	}
}

// whyPassed tells why a dispatch call with this name of a dispatcher is not ours.
func (x *Exchange) whyPassed(name string) string {
	switch name {
	case "":
		return PassedUnnamed
	case x.UpstreamDispatcher, nevisfido.BuiltInFCM, nevisfido.BuiltInLink, nevisfido.BuiltInQRCode, nevisfido.BuiltInLinkQR:
		return PassedUpstream
	}
	for ours := range x.Channels {
		if strings.EqualFold(strings.TrimSpace(name), ours) {
			return PassedMisspelt
		}
	}
	return PassedUnknown
}

// besideBasePath reports whether a call that is none of ours would be a dispatch
// with another base_path.
func besideBasePath(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	_, operation, found := strings.Cut(r.URL.Path, "/token/dispatch/")
	return found && nevisfido.Operation(strings.TrimSuffix(operation, "/")).Valid()
}
