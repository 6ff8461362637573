package qr

import (
	"context"
	"errors"
	"testing"
)

func TestModulesHaveTheBoundsOfPictures(t *testing.T) {
	withSlots(t, 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		content string
		level   Level
		want    error
	}{
		"empty":                  {t.Context(), "", LevelM, ErrContent},
		"control character":      {t.Context(), "a\nb", LevelM, ErrContent},
		"too long for the level": {t.Context(), link(2332), LevelM, ErrTooLong},
		"too long":               {t.Context(), link(MaxContent + 1), LevelL, ErrTooLong},
		"unknown level":          {t.Context(), "a", "m", ErrLevel},
		"ended context":          {ended, "a", LevelM, context.Canceled},
	} {
		if code, err := Modules(c.ctx, c.content, c.level); code != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: got %d rows and %v, want %v", name, len(code), err, c.want)
		}
	}
	for _, level := range []Level{LevelL, LevelAuto} {
		if code, err := Modules(t.Context(), link(MaxContent), level); err != nil || len(code) != 177 {
			t.Errorf("the largest content: %d rows, %v", len(code), err)
		}
	}
	if len(slots) != 0 {
		t.Error("a slot is kept")
	}
}
