package qr

import (
	"context"
	"errors"
	"image/color"
	"testing"
)

func TestModulesAreThoseOfThePicture(t *testing.T) {
	for _, n := range []int{1, 20, 150, 700, 1270, 1700, MaxContent} {
		for _, level := range []Level{"", LevelAuto, LevelL, LevelM, LevelQ, LevelH} {
			code, err := Modules(t.Context(), link(n), level)
			picture, pictureErr := PNG(t.Context(), link(n), Options{Level: level})
			if errors.Is(err, ErrTooLong) && errors.Is(pictureErr, ErrTooLong) {
				continue
			}
			if err != nil || pictureErr != nil {
				t.Fatalf("%d bytes at level %q: %v, the picture %v", n, level, err, pictureErr)
			}
			if len(code)%4 != 1 || len(code) < 21 || len(code) > 177 {
				t.Fatalf("%d bytes at level %q: the code has %d rows", n, level, len(code))
			}
			img, l := decode(t, picture), measure(t, picture, color.Black)
			if l.side != len(code) {
				t.Fatalf("%d bytes at level %q: %d rows, the picture has %d", n, level, len(code), l.side)
			}
			for i, row := range code {
				if len(row) != len(code) {
					t.Fatalf("row %d has %d modules", i, len(row))
				}
				for j, dark := range row {
					if black := img.At(l.left+j*l.scale, l.top+i*l.scale) == color.RGBAModel.Convert(color.Black); black != dark {
						t.Fatalf("%d bytes at level %q: module %d of row %d is not that of the picture", n, level, j, i)
					}
				}
			}
		}
	}
}

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
