package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Check implements targets.Checker: it stores, counts and removes something of
// its own, and looks at how Redis is configured.
func (s *Store) Check(ctx context.Context) (warnings []string, err error) {
	ref := targets.Ref{Namespace: "oob-check", ID: rand.Text()}
	probe := &targets.Target{Namespace: ref.Namespace, ID: ref.ID, DeviceID: ref.ID}
	if err := s.Update(ctx, ref, func(*targets.Target) (*targets.Target, error) { return probe, nil }); err != nil {
		return nil, err
	}
	if _, err := s.Load(ctx, ref); err != nil {
		return nil, err
	}
	if err := s.Update(ctx, ref, func(*targets.Target) (*targets.Target, error) { return nil, nil }); err != nil {
		return nil, err
	}
	if _, err := s.TakeAll(ctx, []targets.Count{{Key: "check:" + ref.ID, N: 1, Window: time.Second}}); err != nil {
		return nil, err
	}
	return s.configuration(ctx)
}

// configuration warns of servers that may lose what they are given.
func (s *Store) configuration(ctx context.Context) (warnings []string, err error) {
	var mu sync.Mutex
	err = s.eachNode(ctx, func(ctx context.Context, node redis.Cmdable) error {
		ctx, cancel := s.bound(ctx)
		defer cancel()
		found, err := inspect(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		for _, w := range found {
			if !strings.Contains(strings.Join(warnings, "\n"), w) {
				warnings = append(warnings, w)
			}
		}
		return err
	})
	return warnings, err
}

func inspect(ctx context.Context, node redis.Cmdable) (warnings []string, err error) {
	info, err := node.Info(ctx).Result()
	switch e, denied := errors.AsType[redis.Error](err); {
	case denied && strings.HasPrefix(e.Error(), "NOPERM"):
		return []string{"the user may not run INFO, so whether Redis keeps what it is given is not known"}, nil
	case err != nil:
		return nil, fmt.Errorf("asking redis for its configuration: %w", err)
	}
	if policy := member(info, "maxmemory_policy"); policy != "noeviction" {
		warnings = append(warnings, fmt.Sprintf("maxmemory-policy is %s: set noeviction, or targets and limits get lost", policy))
	}
	if member(info, "aof_enabled") == "0" {
		warnings = append(warnings, "appendonly is off: what was stored last gets lost when Redis is killed")
	}
	return warnings, nil
}

// member returns a value of INFO's answer, which has name:value lines.
func member(info, name string) string {
	_, rest, _ := strings.Cut(info, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// Interface guard
var _ targets.Checker = (*Store)(nil)
