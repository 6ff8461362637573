package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
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

// line is one that is not blank.
type line struct {
	number  int64
	text    []byte
	tooLong bool // then there is no text
}

// lines reads the input. It knows how much has been read, and the hash of that.
type lines struct {
	input  *bufio.Reader
	sum    hash.Hash
	bytes  int64
	number int64
}

func newLines(input io.Reader) *lines {
	return &lines{input: bufio.NewReaderSize(input, maxLine), sum: sha256.New()}
}

// skip passes over what a state says has been done.
func (l *lines) skip(s *state) error {
	if n, err := io.CopyN(l.sum, l.input, s.Bytes); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the input: %w", err)
	} else if n < s.Bytes || l.hash() != s.SHA256 {
		return errors.New("the input does not begin with what was imported so far")
	}
	l.bytes, l.number = s.Bytes, s.Report.Lines
	return nil
}

func (l *lines) hash() string { return hex.EncodeToString(l.sum.Sum(nil)) }

// batch returns the next lines. The error is io.EOF behind the last one.
func (l *lines) batch() ([]line, error) {
	if l.bytes == 0 {
		if start, _ := l.input.Peek(2); string(start) == "\xff\xfe" || string(start) == "\xfe\xff" {
			return nil, errors.New("line 1: the input is UTF-16; make it UTF-8, such as with iconv -f UTF-16 -t UTF-8")
		}
	}
	var batch []line
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

func (l *lines) next() (line, error) {
	text, err := l.take()
	next := line{number: l.number + 1}
	for errors.Is(err, bufio.ErrBufferFull) {
		next.tooLong = true
		text, err = l.take()
	}
	switch {
	case errors.Is(err, io.EOF) && len(text) == 0 && !next.tooLong:
		return line{}, io.EOF
	case err != nil && !errors.Is(err, io.EOF):
		return line{}, fmt.Errorf("reading line %d: %w", next.number, err)
	}
	if !next.tooLong {
		next.text = bytes.Clone(bytes.Trim(text, " \t\r\n"))
	}
	l.number++
	return next, nil
}

func (l *lines) take() ([]byte, error) {
	text, err := l.input.ReadSlice('\n')
	l.sum.Write(text)
	l.bytes += int64(len(text))
	return text, err
}
