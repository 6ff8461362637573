package caddystore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

const (
	sweepPause   = time.Hour
	sweepTimeout = 10 * time.Minute // less than the pause: there is never more than one
)

// A sweeper removes expired short links in the background, at most once in
// sweepPause.
type sweeper struct {
	mu     sync.Mutex
	next   time.Time
	cancel context.CancelFunc // of the last sweep
	closed bool

	running sync.WaitGroup
}

func (w *sweeper) start(sweep func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.closed || now.Before(w.next) {
		return
	}
	w.next = now.Add(sweepPause)
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	w.cancel = cancel
	w.running.Go(func() {
		defer cancel()
		if err := sweep(ctx); err != nil && !errors.Is(err, context.Canceled) {
			caddy.Log().Named("oob.stores.caddy").Warn("removing expired messages; the next attempt follows in an hour", zap.Error(err))
		}
	})
}

func (w *sweeper) stop() {
	w.mu.Lock()
	w.closed = true
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.running.Wait()
}

// sweep removes the short links of the hours that are over.
func (s *Store) sweep(ctx context.Context) error {
	places, err := s.list(ctx, linkFolder)
	if err != nil {
		return err
	}
	done := make(map[string]bool)
	for _, place := range places {
		name, ok := strings.CutPrefix(place, linkFolder+"/")
		period, _, _ := strings.Cut(name, "/") // some storages list what is below as well
		if !ok || done[period] || !shortlink.ValidPeriod(period) || !shortlink.PeriodOver(period, time.Now()) {
			continue
		}
		done[period] = true
		if err := s.sweepFolder(ctx, linkFolder+"/"+period); err != nil {
			return err
		}
	}
	return nil
}

// sweepFolder removes a folder with all that is in it, as storages should when
// they are told to delete it (certmagic.Storage). Where one does not, or cannot
// in time, the keys are deleted one by one.
func (s *Store) sweepFolder(ctx context.Context, folder string) error {
	deleting, cancel := context.WithTimeout(ctx, listTimeout)
	deleteErr := s.remove(deleting, nil, folder)
	cancel()
	places, err := s.list(ctx, folder)
	if err != nil {
		return errors.Join(err, deleteErr)
	}
	for _, place := range places {
		id := strings.Replace(strings.TrimPrefix(place, linkFolder+"/"), "/", "", 1)
		if !shortlink.ValidID(id) || s.Place(kv.Key{Kind: kv.Links, Name: id}) != place {
			continue
		}
		if err := s.remove(ctx, nil, place); err != nil {
			return err
		}
	}
	return nil
}
