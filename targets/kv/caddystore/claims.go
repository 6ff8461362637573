package caddystore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
)

// claimPrefix is that of the claims' keys. Those that expire in the same hour
// are in one folder.
const claimPrefix = "oob/claims"

func claimPeriod(id string) string { return claimPrefix + "/" + id[:shortlink.PeriodDigits] }

func claimKey(id string) (string, error) {
	if !shortlink.ValidID(id) {
		return "", errors.New("not the id of a claim")
	}
	return claimPeriod(id) + "/" + id[shortlink.PeriodDigits:], nil
}

// Put implements shortlink.Store.
func (s *Store) Put(ctx context.Context, id string, content []byte, _ time.Time) error {
	key, err := claimKey(id)
	if err != nil {
		return err
	}
	if len(content) > shortlink.MaxContent {
		return fmt.Errorf("the content of a claim has %d bytes, more than %d", len(content), shortlink.MaxContent)
	}
	h, err := s.hold(ctx, key)
	if err != nil {
		return err
	}
	defer h.release()
	if err := s.write(ctx, h, key, content); err != nil {
		return err
	}
	s.sweeper.start(s.sweep) //nolint:contextcheck // the sweep outlives the request
	return nil
}

// Get implements shortlink.Store.
func (s *Store) Get(ctx context.Context, id string) ([]byte, error) {
	key, err := claimKey(id)
	if err != nil {
		return nil, err
	}
	return s.claim(ctx, key)
}

// Take implements shortlink.Store. Where several processes share a storage, each
// of them may return the same claim if they take it at the same moment.
func (s *Store) Take(ctx context.Context, id string) ([]byte, error) {
	key, err := claimKey(id)
	if err != nil {
		return nil, err
	}
	h, err := s.hold(ctx, key)
	if err != nil {
		return nil, err
	}
	defer h.release()
	content, err := s.claim(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := s.remove(ctx, h, key); err != nil {
		return nil, err
	}
	return content, nil
}

func (s *Store) claim(ctx context.Context, key string) ([]byte, error) {
	content, err := s.read(ctx, key)
	if err == nil && content == nil {
		err = shortlink.ErrNotFound
	}
	return content, err
}

const (
	sweepPause   = time.Hour
	sweepTimeout = 10 * time.Minute // less than the pause: there is never more than one
)

// A sweeper runs a sweep beside the requests, at most once in sweepPause.
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

// Cleanup ends the work beside the requests.
func (s *Store) Cleanup() error {
	if s.sweeper != nil {
		s.sweeper.stop()
	}
	return nil
}

// sweep removes the claims of the hours that are over.
func (s *Store) sweep(ctx context.Context) error {
	names, err := s.list(ctx, claimPrefix)
	if err != nil {
		return err
	}
	done := make(map[string]bool)
	for _, name := range names {
		name, ok := strings.CutPrefix(name, claimPrefix+"/")
		period, _, _ := strings.Cut(name, "/") // some storages list what is below as well
		if !ok || done[period] || !shortlink.ValidPeriod(period) || !shortlink.PeriodOver(period, time.Now()) {
			continue
		}
		done[period] = true
		if err := s.sweepFolder(ctx, claimPrefix+"/"+period); err != nil {
			return err
		}
	}
	return nil
}

// sweepFolder removes a folder with all that is in it, as storages should when
// they are told to delete it (certmagic.Storage). Those that do not, or cannot
// in time, have to delete its keys one by one.
func (s *Store) sweepFolder(ctx context.Context, folder string) error {
	_, deleteErr := s.callFor(ctx, listTimeout, nil, func(ctx context.Context) ([]byte, error) {
		return nil, s.storage.Delete(ctx, folder)
	})
	names, err := s.list(ctx, folder)
	if err != nil {
		return errors.Join(err, deleteErr)
	}
	for _, name := range names {
		id, ok := strings.CutPrefix(name, claimPrefix+"/")
		key, err := claimKey(strings.Replace(id, "/", "", 1))
		if !ok || err != nil || key != name {
			continue
		}
		if err := s.remove(ctx, nil, key); err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ shortlink.Store    = (*Store)(nil)
	_ caddy.CleanerUpper = (*Store)(nil)
)
