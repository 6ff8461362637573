package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"
)

// A storage that vanished, such as a volume that was unmounted or a Redis that
// was emptied, looks like one that holds nothing. A marker tells: it is written
// when a store is used first, and where it is missing afterwards, or is another
// one, everything that seems to be missing is unavailable.

var markerKey = Key{Marker, strings.Repeat("0", 64)}

// mark is the marker of a storage as this process has seen it.
type mark struct {
	text string
	made time.Time // by this process; zero where it was there before
}

// marks are those of the process, by location, so that a reload knows them. A
// restart accepts what is there.
var (
	marksMu sync.Mutex
	marks   = make(map[string]mark)
)

// settleTime is how long another process that started at the same time may
// replace the marker that this one has made, where the storage cannot compare
// and swap between processes.
const settleTime = 10 * time.Second

var errVanished = errors.New("the storage is not the one that was there before: it was emptied, or another one is mounted in its place; " +
	"bring it back, or restart the sidecar if that is what was wanted")

// missing is asked where nothing is found under a key. It returns an error if
// the storage itself is missing.
func (s *Store) missing(ctx context.Context) error {
	location := s.backend.Location()
	marksMu.Lock()
	known, seen := marks[location] // before reading: others may make it meanwhile
	marksMu.Unlock()
	v, err := s.get(ctx, markerKey)
	switch {
	case err != nil:
		return err
	case v == nil && seen:
		return errVanished
	case v == nil:
		return s.makeMarker(ctx, location)
	case !seen, known.text != string(v.Data) && time.Since(known.made) < settleTime:
		remember(location, mark{text: string(v.Data)})
	case known.text != string(v.Data):
		return errVanished
	}
	return nil
}

// makeMarker marks a storage that is used for the first time. Where it cannot be
// written, there is nothing to be missed yet.
func (s *Store) makeMarker(ctx context.Context, location string) error {
	text := rand.Text()
	if done, err := s.backend.Swap(ctx, markerKey, nil, []byte(text)); done && err == nil {
		remember(location, mark{text, time.Now()})
	}
	return ctx.Err()
}

func remember(location string, m mark) {
	marksMu.Lock()
	defer marksMu.Unlock()
	marks[location] = m
}
