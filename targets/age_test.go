package targets_test

import (
	"errors"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func TestKeyAge(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.MaxKeyAge = 30 * 24 * time.Hour
	key := func() error {
		t.Helper()
		record, err := f.Find(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Key(record)
		return err
	}
	if err := key(); err != nil {
		t.Errorf("a new key: %v", err)
	}
	f.now = f.now.Add(31 * 24 * time.Hour)
	if err := key(); !errors.Is(err, targets.ErrKeyTooOld) {
		t.Errorf("an old key: %v", err)
	}
	f.learn(t, nil) // the same key in a new registration
	if err := key(); err != nil {
		t.Errorf("a key that was registered again: %v", err)
	}
	f.now = f.now.Add(31 * 24 * time.Hour)
	f.learn(t, func(d *nevisfido.TargetDescription) { d.EncryptionKey = publicJWK(1) })
	if err := key(); err != nil {
		t.Errorf("another key: %v", err)
	}
}
