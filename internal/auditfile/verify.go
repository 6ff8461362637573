package auditfile

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Report tells what a chain holds.
type Report struct {
	Lines       int64  // whole ones
	FirstSeq    int64  // the number of the first, above 1 where older files were removed
	First, Last string // times, RFC 3339
	Hash        string // of the last line: note it elsewhere to find out later whether lines were cut off
	Resumed     []Resumption
}

// Resumption is a place where the writer went on after lines were torn or
// lost.
type Resumption struct {
	Line      int64 // in its file
	Time      string
	TornBytes int64
	Lost      int64
}

// A Verifier reads the files of a chain, the oldest first. Its errors name the
// first line that was changed, taken out, put in or moved; the report holds what
// comes before it.
type Verifier struct {
	Report Report

	noted string // the hash of a line that has to be there, or ""
	found bool
	last  link

	// Lines that are not whole, which the next whole one has to tell of.
	broken   int64 // the number of the first, 0 for none
	torn     hash.Hash
	unended  bool // the last of them is not finished
	previous bool // they are in the file before
}

// NewVerifier makes a Verifier of a chain that has to hold a line with the noted
// hash, unless that is "".
func NewVerifier(noted string) *Verifier { return &Verifier{noted: noted, last: link{0, genesis}} }

// Read verifies one file to its end.
func (v *Verifier) Read(ctx context.Context, r io.Reader) error {
	v.previous = v.broken > 0
	in := bufio.NewReaderSize(r, maxLine)
	for n := int64(1); ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			if v.unended = len(line) > 0; v.unended {
				v.putAside(n, line)
			}
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("line %d was changed or put in: it is longer than any that is written", n)
		case err != nil:
			return fmt.Errorf("reading line %d: %w", n, err)
		}
		if err := v.line(n, line[:len(line)-1]); err != nil {
			return err
		}
	}
}

func (v *Verifier) line(n int64, line []byte) error {
	digest, whole := unseal(line)
	if !whole {
		v.putAside(n, line)
		return nil
	}
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return changed(n)
	}
	switch {
	case v.broken > 0 && (e.Event != resumedEvent || e.Torn != hex.EncodeToString(v.torn.Sum(nil))):
		if v.previous {
			return fmt.Errorf("line %d does not tell of the end of the file before, which was changed", n)
		}
		return changed(v.broken)
	case v.Report.Lines == 0 && e.Continues:
		v.last = link{e.Seq - 1, e.Prev} // older files were removed
	case v.broken == 0 && e.Torn != "":
		return fmt.Errorf("line %d tells of a torn line before it, which is missing", n)
	}
	if want := v.last.seq + 1; e.Seq != want {
		return fmt.Errorf("line %d has the number %d where %d is next: lines were taken out, put in or moved", n, e.Seq, want)
	}
	if e.Prev != v.last.hash {
		return fmt.Errorf("line %d does not follow the one before it: one of them was replaced", n)
	}
	v.broken, v.torn, v.previous, v.last = 0, nil, false, link{e.Seq, digest}
	v.note(n, e)
	return nil
}

// putAside keeps a line that is not whole until one tells of it.
func (v *Verifier) putAside(n int64, line []byte) {
	if v.broken == 0 {
		v.broken, v.torn = n, sha256.New()
	} else {
		v.torn.Write([]byte("\n"))
	}
	v.torn.Write(line)
}

func (v *Verifier) note(n int64, e entry) {
	r := &v.Report
	if r.Lines++; r.Lines == 1 {
		r.First, r.FirstSeq = e.Time, e.Seq
	}
	r.Last, r.Hash = e.Time, v.last.hash
	v.found = v.found || r.Hash == v.noted
	if e.Event == resumedEvent {
		r.Resumed = append(r.Resumed, Resumption{n, e.Time, e.TornBytes, e.Lost})
	}
}

// End checks how the last file ends.
func (v *Verifier) End() error {
	switch {
	case v.unended:
		return fmt.Errorf("line %d is not finished: the writer was interrupted and has not gone on yet, or the end was cut off", v.broken)
	case v.broken > 0:
		return changed(v.broken)
	case v.Report.Lines == 0:
		return errors.New("the file is empty")
	case v.noted != "" && !v.found:
		return fmt.Errorf("no line has the noted hash %s: the end was cut off, or this is another file", v.noted)
	}
	return nil
}

func changed(n int64) error {
	return fmt.Errorf("line %d was changed or put in: its hash is another", n)
}
