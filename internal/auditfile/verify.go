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
	"time"
)

// Expectation is what a trail has to hold.
type Expectation struct {
	Keys  *Keys  // that signed its checkpoints; nil where signatures are not looked at
	Noted string // hash of a line, "" for none

	// Since and Until bound the time in which checkpoints have to follow each
	// other. A trail whose writer has not ended has to reach to Until.
	Since, Until time.Time

	// Archived is a trail of one full file that was kept elsewhere.
	Archived bool
}

// Report tells what a chain holds.
type Report struct {
	Lines       int64  // whole ones
	FirstSeq    int64  // the number of the first, above 1 where older files were removed
	First, Last string // times, RFC 3339
	Hash        string // of the last line
	Resumed     []Resumption

	Checkpoints int64
	Signed      time.Time // of the last checkpoint; zero where there is none
	Unsigned    int64     // lines after it
	Ended       bool      // the writer has ended with it
	Gaps        []Gap
}

// Resumption is a place where the writer went on after lines were torn or
// lost.
type Resumption struct {
	Line      int64 // in its file
	Time      string
	TornBytes int64
	Lost      int64
}

// Gap is a time between two checkpoints for which nobody vouches.
type Gap struct {
	From, To time.Time

	// Stopped: the writer has ended in order, and nothing was written until the
	// next one began.
	Stopped bool

	// Interrupted: the writer has not ended in order, and another process went
	// on.
	Interrupted bool

	// Unsigned lines were in the file when it went on: they may have been put
	// in, and others may have been cut off.
	Unsigned int64
}

// Long reports whether the gap is longer than a writer leaves, so that lines of
// that time may be missing or made up.
func (g Gap) Long() bool { return !g.Stopped && g.To.Sub(g.From) > longestSilence }

// A Verifier reads the files of a chain, the oldest first. Its errors name the
// first line that was changed, taken out, put in or moved; the report holds what
// comes before it.
type Verifier struct {
	Report Report

	want  Expectation
	found bool // the noted line
	last  link
	first int64 // the number of the oldest line by the word of the writer, 0 for none

	// The last checkpoint, and what came after it.
	checkpoint checkpoint
	process    string
	taken      bool  // another process went on
	content    int64 // lines that are not the chain's own

	// Lines that are not whole, which the next whole one has to tell of.
	broken   int64 // the number of the first, 0 for none
	torn     hash.Hash
	unended  bool // the last of them is not finished
	previous bool // they are in the file before
}

// NewVerifier makes a Verifier of a chain.
func NewVerifier(want Expectation) *Verifier {
	return &Verifier{want: want, last: link{0, genesis}}
}

// Read verifies one file to its end.
func (v *Verifier) Read(ctx context.Context, r io.Reader) error {
	v.previous = v.broken > 0
	in := bufio.NewReaderSize(r, MaxLine)
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
	digest, whole := unchain(line)
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
	if err := v.vouch(n, e); err != nil {
		return err
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
	v.found = v.found || r.Hash == v.want.Noted
	if e.First > 0 {
		v.first = e.First
	}
	if e.Event == resumedEvent {
		r.Resumed = append(r.Resumed, Resumption{n, e.Time, e.TornBytes, e.Lost})
	}
}

// vouch looks at the signature of a checkpoint, and at what is between it and
// the one before. Times come from signatures alone, but for the first line.
func (v *Verifier) vouch(n int64, e entry) error {
	r := &v.Report
	v.taken = v.taken || e.Process != "" && v.process != "" && e.Process != v.process
	if e.Process != "" {
		v.process = e.Process
	}
	if e.Event != checkpointEvent {
		if r.Unsigned++; r.Lines == 0 {
			v.checkpoint.at, _ = time.Parse(TimeLayout, e.Time) // one that is none is long ago
		}
		if e.Event != openedEvent && e.Event != resumedEvent {
			v.content++
		}
		return nil
	}
	r.Checkpoints++
	if v.want.Keys == nil {
		return nil
	}
	c, err := v.want.Keys.open(e.Note)
	switch {
	case err != nil:
		return fmt.Errorf("line %d is a checkpoint that cannot be trusted: %w", n, err)
	case c.link != v.last:
		return fmt.Errorf("line %d is a checkpoint of another line: the lines before it were made anew", n)
	}
	if v.checkpoint.state == ended && v.content > 0 {
		return fmt.Errorf("the lines before line %d were put in after the process had ended", n)
	}
	if gap := v.gapBefore(c); gap != (Gap{}) {
		r.Gaps = append(r.Gaps, gap)
	}
	v.checkpoint, v.taken, v.content = c, false, 0
	r.Signed, r.Unsigned, r.Ended = c.at, 0, c.state == ended
	return nil
}

// gapBefore returns the gap before a checkpoint, if there is one. A process signs
// before its first line that is not the chain's own, so that nothing can be put
// between it and the end of the one before.
func (v *Verifier) gapBefore(c checkpoint) Gap {
	gap := Gap{From: v.checkpoint.at, To: c.at, Unsigned: v.content}
	switch before := v.checkpoint.state; {
	case before == "" && v.content == 0: // the trail begins
		return Gap{}
	case before == ended:
		gap.Stopped = true
	case before != "" && v.taken:
		gap.Interrupted = true
	case !gap.Long():
		return Gap{}
	}
	return gap
}

// End checks how the last file ends.
func (v *Verifier) End() error {
	r := v.Report
	switch {
	case r.Lines == 0 && (v.broken > 0 || v.unended):
		return errors.New("it holds no whole audit line: it is another file, name that of the option audit file; or it was changed throughout")
	case v.unended:
		return fmt.Errorf("line %d is not finished: the writer was interrupted and has not gone on yet, or the end was cut off", v.broken)
	case v.broken > 0:
		return changed(v.broken)
	case r.Lines == 0:
		return errors.New("the file is empty")
	case v.want.Noted != "" && !v.found:
		return fmt.Errorf("no line has the noted hash %s: the end was cut off, or this is another file", v.want.Noted)
	case v.first > 0 && r.FirstSeq > v.first && !v.want.Archived:
		return fmt.Errorf("the lines %d to %d are missing: somebody else than the sidecar has removed the oldest files, or the newest one is missing as well", v.first, r.FirstSeq-1)
	case v.want.Keys == nil:
		return nil
	}
	return v.signedEnd()
}

// signedEnd checks that checkpoints vouch for the whole time.
func (v *Verifier) signedEnd() error {
	r := v.Report
	if r.Checkpoints == 0 {
		return errors.New("there is no checkpoint: the trail was written without the option signing_key, or made anew without the key")
	}
	for _, g := range r.Gaps {
		if g.Long() && !g.To.Before(v.want.Since) {
			return fmt.Errorf("nobody vouches for the time from %s to %s: the process was killed, or lines of that time were cut off or made anew; "+
				"if you know the reason, go on from there with --since", g.From.Format(TimeLayout), g.To.Format(TimeLayout))
		}
	}
	if r.Ended && v.content > 0 {
		return errors.New("the last lines were put in after the process had ended")
	}
	complete := r.Unsigned == 0 && (r.Ended || v.want.Archived && v.checkpoint.state == full)
	if !complete && v.want.Until.Sub(v.checkpoint.at) > longestSilence {
		return fmt.Errorf("the trail is signed to %s only, and its process has not ended in order: lines were cut off or put in at the end, "+
			"or the process was killed; for a copy, give the time when it was made with --until", v.checkpoint.at.Format(TimeLayout))
	}
	return nil
}

func changed(n int64) error {
	return fmt.Errorf("line %d was changed or put in: its hash is another", n)
}
