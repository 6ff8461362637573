package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Import stores targets that come as lines of JSON. Keys are vetted as those
// of devices are; a line with a key or anything else that is not in order is
// refused as a whole. Memory does not grow with the number of lines. Lines of
// the same target are stored in their order.
type Import struct {
	Store     targets.Store
	Namespace string         // lines of another one are refused
	Policy    encrypt.Policy // for encryption keys
	Overwrite Overwrite
	Jobs      int              // how many records are stored at a time; 0 means 1
	DryRun    bool             // change nothing, report what would happen
	Strict    bool             // end with the first line that is refused
	Now       func() time.Time // nil means time.Now

	// Stored, if not nil, is called for every record that was stored, with the
	// one that it replaced, nil for none, by several goroutines.
	Stored func(ctx context.Context, before, t *targets.Target)

	// Progress, if not nil, is called between batches with what is done.
	Progress func(r *Report, bytes int64)
}

// Run imports all lines. The report is that of the lines that are done, also
// where there is an error: then the lines after report.Lines are not, or not all.
// To import the same lines again changes nothing. A refused line is not an error
// unless Strict is set.
func (im *Import) Run(ctx context.Context, input io.Reader) (*Report, error) {
	l, report := newLines(input), new(Report)
	for {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		batch, err := l.batch()
		if errors.Is(err, io.EOF) {
			return report, nil
		}
		if err != nil {
			return report, err
		}
		if err := im.batch(ctx, batch, report); err != nil {
			return report, err
		}
		report.Lines = l.number
		if im.Progress != nil {
			im.Progress(report, l.bytes)
		}
	}
}

// batch stores lines and adds them to the report, unless there is an error.
func (im *Import) batch(ctx context.Context, batch []*line, report *Report) error {
	var vetting errgroup.Group
	vetting.SetLimit(max(1, im.Jobs))
	for _, l := range batch {
		vetting.Go(func() error {
			if l.record, l.refusal = parse(l); l.refusal == nil {
				l.refusal = im.check(&l.record.Target)
			}
			return nil
		})
	}
	_ = vetting.Wait() // there are no errors
	for _, l := range batch {
		if l.refusal != nil && im.Strict {
			return fmt.Errorf("line %d: %s", l.number, l.refusal.text)
		}
	}
	if err := im.putAll(ctx, batch); err != nil {
		return err
	}
	for _, l := range batch {
		report.add(l)
	}
	return nil
}

// putAll stores the records that there are, those of one target in turn.
func (im *Import) putAll(ctx context.Context, batch []*line) error {
	ofTarget := make(map[targets.Ref][]*line)
	for _, l := range batch {
		if l.refusal == nil {
			ofTarget[l.record.Ref()] = append(ofTarget[l.record.Ref()], l)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, im.Jobs))
	for _, lines := range ofTarget {
		g.Go(func() (err error) {
			for _, l := range lines {
				if l.outcome, err = im.put(ctx, &l.record.Target); err != nil {
					return fmt.Errorf("line %d: %w", l.number, err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// put stores one target.
func (im *Import) put(ctx context.Context, t *targets.Target) (o outcome, err error) {
	if im.DryRun {
		present, err := im.Store.Load(ctx, t.Ref())
		if err != nil && !errors.Is(err, targets.ErrNotFound) {
			return 0, fmt.Errorf("loading the target that is there: %w", err)
		}
		return im.Overwrite.of(present, blockedAs(present, t)), nil
	}
	var before, next *targets.Target
	err = im.Store.Update(ctx, t.Ref(), func(present *targets.Target) (*targets.Target, error) {
		before, next = present, blockedAs(present, t)
		if o = im.Overwrite.of(present, next); o != added && o != replaced {
			return present, nil
		}
		if byHand(t) {
			next.Created, next.Updated = im.now(), im.now()
		}
		return next, nil
	})
	if err != nil {
		return 0, fmt.Errorf("storing the target: %w", err)
	}
	if im.Stored != nil && (o == added || o == replaced) {
		im.Stored(ctx, before, next)
	}
	return o, nil
}

// blockedAs returns a copy of a record that is blocked if the present one is: no
// import lifts what an operator has blocked.
func blockedAs(present, t *targets.Target) *targets.Target {
	next := *t
	if next.Blocked.IsZero() && present != nil {
		next.Blocked = present.Blocked
	}
	return &next
}

func (im *Import) now() time.Time {
	if im.Now == nil {
		return time.Now().UTC()
	}
	return im.Now().UTC()
}

// Overwrite says what happens to a target that the store holds already.
type Overwrite string

// The ways to treat a target that the store holds already.
const (
	// Newer replaces a record by one that was updated after it, but never a
	// modification of the device by an older one of the same registration.
	Newer  Overwrite = "newer"
	Never  Overwrite = "never"
	Always Overwrite = "always"
)

// Set implements pflag.Value.
func (o *Overwrite) Set(text string) error {
	switch value := Overwrite(text); value {
	case Newer, Never, Always:
		*o = value
		return nil
	}
	return errors.New("use newer, never or always")
}

// String implements pflag.Value.
func (o *Overwrite) String() string { return string(*o) }

// Type implements pflag.Value.
func (*Overwrite) Type() string { return "when" }

type outcome int

const (
	added outcome = iota
	replaced
	unchanged
	kept
)

// of tells what becomes of a record where the store holds the present one.
func (o Overwrite) of(present, next *targets.Target) outcome {
	switch {
	case present == nil:
		return added
	case targets.Equal(present, next):
		return unchanged
	case o == Always, o == Newer && newer(next, present):
		return replaced
	default:
		return kept
	}
}

func newer(a, b *targets.Target) bool {
	older := a.Created.Equal(b.Created) && a.Modified < b.Modified
	return a.Updated.After(b.Updated) && !older
}
