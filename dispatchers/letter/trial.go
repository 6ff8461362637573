package letter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// The QR codes of trial letters: the smallest that letters have, which holds a
// short link, and as many modules a side as the largest has.
const (
	shortLink   = "https://fido.example.com/oob/AAAAAAAAAAAAAAAAAAAAAAAA"
	largestCode = 177
)

// tryTexts writes a letter in every language about every operation: a text that
// cannot be printed is found before the first letter is due. What fails here
// would fail for every letter.
func (l *Dispatcher) tryTexts(ctx context.Context) error {
	code, err := drawCode(ctx, shortLink)
	if err != nil {
		return err
	}
	s := newSheet(l.now(), "") // to measure on; its fonts take longer than that
	for _, language := range l.texts.Languages() {
		for _, operation := range nevisfido.Operations() {
			if err := l.try(s, language, string(operation), code); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseSender returns the lines of the return address, none for none, if they
// can be printed.
func parseSender(text, window string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	lines, err := parseLines(text, 1)
	if err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	p := &page{window: cmp.Or(window, windowRight), sender: lines}
	if err := p.makePrintable(); err != nil {
		return nil, errors.New("sender: it is in a script that the font lacks; Latin, Greek and Cyrillic can be printed")
	}
	if err := newSheet(time.Now(), "").window(p); err != nil {
		return nil, errors.New("sender: it is too long for the one line above the address: shorten it")
	}
	return lines, nil
}

// try writes one letter, after it was measured with all values and with none.
// It warns where there is no room for a large QR code: how large it will be
// depends on options that are the host's, and on the device's key.
func (l *Dispatcher) try(s *sheet, language, operation string, code [][]bool) error {
	roomy := true
	var letters []*page
	for _, v := range texts.Samples(operation) {
		v.Date = l.now()
		p, err := l.render(language, v)
		if err != nil {
			return err
		}
		if err := p.makePrintable(); err != nil {
			return l.blame(p, operation, err)
		}
		p.code = make([][]bool, largestCode)
		_, err = s.fit(p)
		roomy = roomy && err == nil
		p.code = code
		if _, err := s.fit(p); err != nil {
			return l.blame(p, operation, err)
		}
		letters = append(letters, p)
	}
	if _, err := letters[0].pdf(); err != nil {
		return l.blame(letters[0], operation, err)
	}
	if !roomy {
		l.logger.Warn("this text leaves no room for a large QR code, and letters with a long message are refused: "+
			"shorten it, or give the dispatcher short links with handle",
			slog.String("text", l.texts.Where(language, operation, "")))
	}
	return nil
}

// blame says which text could not be printed, and why.
func (l *Dispatcher) blame(p *page, operation string, err error) error {
	switch {
	case errors.Is(err, errCharacter):
		part, character := p.unprintable()
		return fmt.Errorf("%s: the part %q holds %q, and letters are printed in Latin, Greek and Cyrillic only: take it out",
			l.texts.Where(p.language, operation, character), part, character)
	case errors.Is(err, errTooMuch):
		return fmt.Errorf("%s: the text takes more than one page: shorten it", l.texts.Where(p.language, operation, ""))
	}
	return fmt.Errorf("%s: %w", l.texts.Where(p.language, operation, ""), err)
}

// unprintable returns the first character that the font lacks, and its part.
func (p *page) unprintable() (texts.Part, string) {
	texts := p.texts()
	for _, part := range slices.Sorted(maps.Keys(texts)) {
		for character := range strings.SplitSeq(*texts[part], "") {
			if _, err := printable(character); err != nil {
				return part, character
			}
		}
	}
	return "", ""
}
