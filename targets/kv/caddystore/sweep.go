package caddystore

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

const (
	sweepPause   = 60 * 60 // seconds
	sweepTimeout = 10 * time.Minute
)

// sweep removes the short links of the hours that are over, at most once in
// sweepPause.
func (s *Store) sweep() {
	ctx, cancel := context.WithTimeout(s.life, sweepTimeout)
	defer cancel()
	if err := s.removeExpired(ctx); err != nil && s.life.Err() == nil {
		caddy.Log().Named("oob.stores.caddy").Warn("removing expired messages; the next attempt follows in an hour", zap.Error(err))
	}
}

func (s *Store) removeExpired(ctx context.Context) error {
	places, err := s.list(ctx, linkFolder)
	if err != nil {
		return err
	}
	var over []string
	for _, place := range places {
		period, _, _ := strings.Cut(strings.TrimPrefix(place, linkFolder+"/"), "/")
		if shortlink.PeriodOver(period, time.Now()) && !slices.Contains(over, period) {
			over = append(over, period)
		}
	}
	for _, period := range over {
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
	_ = s.drop(deleting, folder) // what is left tells whether it was done
	cancel()
	places, err := s.list(ctx, folder)
	if err != nil {
		return err
	}
	for _, place := range places {
		id := strings.Replace(strings.TrimPrefix(place, linkFolder+"/"), "/", "", 1)
		if !shortlink.ValidID(id) || s.Place(kv.Key{Kind: kv.Links, Name: id}) != place {
			continue
		}
		if err := s.drop(ctx, place); err != nil {
			return err
		}
	}
	return nil
}
