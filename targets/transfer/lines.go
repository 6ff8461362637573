package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

const (
	// maxLine bounds a line: a record and its user, as in the file key source.
	maxLine = targets.MaxRecord + 4<<10

	// A batch ends with the line that reaches one of these.
	batchLines = 512
	batchBytes = 1 << 20
)

// line is one that is not blank, and what becomes of it.
type line struct {
	number  int64
	text    []byte
	tooLong bool // then there is no text

	record  *record
	refusal *refusal // nil where the record is stored
	outcome outcome
}

// lines reads the input, and counts what has been read.
type lines struct {
	input  *bufio.Reader
	bytes  int64
	number int64
}

func newLines(input io.Reader) *lines {
	return &lines{input: bufio.NewReaderSize(input, maxLine)}
}

// batch returns the next lines. The error is io.EOF behind the last one.
func (l *lines) batch() ([]*line, error) {
	if l.bytes == 0 {
		if start, _ := l.input.Peek(2); string(start) == "\xff\xfe" || string(start) == "\xfe\xff" {
			return nil, errors.New("line 1: the input is UTF-16; make it UTF-8, such as with iconv -f UTF-16 -t UTF-8")
		}
	}
	var batch []*line
	before, size := l.number, 0
	for l.number-before < batchLines && size < batchBytes {
		next, err := l.next()
		if errors.Is(err, io.EOF) && l.number > before {
			break
		}
		if err != nil {
			return nil, err
		}
		if next.tooLong || len(next.text) > 0 {
			batch = append(batch, next)
			size += len(next.text)
		}
	}
	return batch, nil
}

func (l *lines) next() (*line, error) {
	text, err := l.take()
	next := &line{number: l.number + 1}
	for errors.Is(err, bufio.ErrBufferFull) {
		next.tooLong = true
		text, err = l.take()
	}
	switch {
	case errors.Is(err, io.EOF) && len(text) == 0 && !next.tooLong:
		return nil, io.EOF
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("reading line %d: %w", next.number, err)
	}
	if !next.tooLong {
		next.text = bytes.Clone(bytes.Trim(text, " \t\r\n"))
	}
	l.number++
	return next, nil
}

func (l *lines) take() ([]byte, error) {
	text, err := l.input.ReadSlice('\n')
	l.bytes += int64(len(text))
	return text, err
}
