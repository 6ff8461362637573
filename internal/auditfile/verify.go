package auditfile

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Report tells what a chain holds.
type Report struct {
	Lines       int64  // whole ones
	First, Last string // times, RFC 3339
	Hash        string // of the last line: note it elsewhere to find out later whether lines were cut off
	Resumed     []Resumption
	Noted       bool // the noted hash was found
}

// Resumption is a place where the writer went on after lines were torn or
// lost.
type Resumption struct {
	Line      int64
	Time      string
	TornBytes int64
	Lost      int64
}

// Verify reads a chain to its end. The error names the first line that was
// changed, taken out, put in or moved; the report holds what stands before.
// noted is the hash of a line that has to be there, or "".
func Verify(ctx context.Context, r io.Reader, noted string) (Report, error) {
	v := verifier{last: link{0, genesis}, noted: noted}
	in := bufio.NewReaderSize(r, maxLine)
	for n := int64(1); ; n++ {
		if err := ctx.Err(); err != nil {
			return v.report, err
		}
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return v.report, v.atEnd(n, line)
		case errors.Is(err, bufio.ErrBufferFull):
			return v.report, fmt.Errorf("line %d was changed or put in: it is longer than any that is written", n)
		case err != nil:
			return v.report, fmt.Errorf("reading line %d: %w", n, err)
		}
		if err := v.line(n, line[:len(line)-1]); err != nil {
			return v.report, err
		}
	}
}

type verifier struct {
	report Report
	noted  string
	last   link

	// Lines that are not whole, which the next whole one has to tell of.
	broken int64 // the number of the first, 0 for none
	torn   hash.Hash
}

func (v *verifier) line(n int64, line []byte) error {
	digest, whole := unseal(line)
	if !whole {
		v.putAside(n, line)
		return nil
	}
	e, err := read(line)
	if err != nil {
		return changed(n)
	}
	if v.broken > 0 && (e.Event != resumedEvent || e.Torn != hex.EncodeToString(v.torn.Sum(nil))) {
		return changed(v.broken)
	}
	if err := v.follows(n, e); err != nil {
		return err
	}
	if v.broken == 0 && e.Torn != "" {
		return fmt.Errorf("line %d tells of a torn line before it, which is missing", n)
	}
	v.broken, v.torn = 0, nil
	v.last = link{e.Seq, digest}
	v.note(n, e, digest)
	return nil
}

// putAside keeps a line that is not whole until one tells of it.
func (v *verifier) putAside(n int64, line []byte) {
	if v.broken == 0 {
		v.broken, v.torn = n, sha256.New()
	} else {
		v.torn.Write([]byte("\n"))
	}
	v.torn.Write(line)
}

// follows checks that a whole line is the next one of the chain.
func (v *verifier) follows(n int64, e entry) error {
	want := v.last.seq + 1
	switch {
	case e.Seq > want:
		return fmt.Errorf("line %d has the number %d where %d should stand: lines before it were taken out or moved", n, e.Seq, want)
	case e.Seq < want:
		return fmt.Errorf("line %d has the number %d where %d should stand: it was put in or moved here", n, e.Seq, want)
	case e.Prev != v.last.hash:
		return fmt.Errorf("line %d does not follow the one before it: one of them was replaced", n)
	}
	return nil
}

func (v *verifier) note(n int64, e entry, digest string) {
	v.report.Lines++
	if v.report.First == "" {
		v.report.First = e.Time
	}
	v.report.Last, v.report.Hash = e.Time, digest
	v.report.Noted = v.report.Noted || digest == v.noted
	if e.Event == resumedEvent {
		v.report.Resumed = append(v.report.Resumed, Resumption{n, e.Time, e.TornBytes, e.Lost})
	}
}

// atEnd checks how the file ends; rest is what stands behind the last newline.
func (v *verifier) atEnd(n int64, rest []byte) error {
	switch {
	case len(rest) > 0:
		if v.broken > 0 {
			n = v.broken
		}
		return fmt.Errorf("line %d is not finished: the writer was interrupted and has not gone on yet, or the end was cut off", n)
	case v.broken > 0:
		return changed(v.broken)
	case v.report.Lines == 0:
		return errors.New("the file is empty")
	case v.noted != "" && !v.report.Noted:
		return fmt.Errorf("no line has the noted hash %s: the end was cut off, or this is another file", v.noted)
	}
	return nil
}

func changed(n int64) error {
	return fmt.Errorf("line %d was changed or put in: its hash is another", n)
}
