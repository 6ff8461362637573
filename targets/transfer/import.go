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

	// State is the path of a file that says how far the import has come, or
	// empty. It is written when a batch of lines is durable, and read at the
	// beginning, so that an import that was killed goes on from there. The
	// lines after that are stored again, which changes nothing. Destination
	// is any text that says where to; a state with another one is an error.
	State       string
	Destination string

	// Progress, if not nil, is called between batches with what is done.
	Progress func(r *Report, bytes int64)
}

// Run imports all lines. The report is that of the lines that are done, also
// beside an error: then the lines after report.Lines are not, or not all. It is
// nil where the import cannot begin. A refused line is no error unless Strict.
func (im *Import) Run(ctx context.Context, input io.Reader) (*Report, error) {
	l := newLines(input)
	report, err := im.resume(l)
	if err != nil {
		return nil, err
	}
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
		next := report.clone()
		next.Lines = l.number
		if err := im.batch(ctx, batch, next); err != nil {
			return report, err
		}
		report = next
		if err := im.save(l, report); err != nil {
			return report, err
		}
		if im.Progress != nil {
			im.Progress(report, l.bytes)
		}
	}
}

// batch stores lines and adds them to the report.
func (im *Import) batch(ctx context.Context, batch []line, report *Report) error {
	records, refusals := im.vetAll(batch)
	for i, why := range refusals {
		switch {
		case why != nil && im.Strict:
			return fmt.Errorf("line %d: %s", batch[i].number, why.text)
		case why != nil:
			report.refuse(batch[i].number, why)
		case records[i].User != nil:
			report.Users++
		}
	}
	outcomes, err := im.putAll(ctx, batch, records)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if records[i] != nil {
			report.count(o)
		}
	}
	return nil
}

// vetAll returns a record or a refusal for each line.
func (im *Import) vetAll(batch []line) ([]*record, []*refusal) {
	records, refusals := make([]*record, len(batch)), make([]*refusal, len(batch))
	var g errgroup.Group
	g.SetLimit(im.jobs())
	for i, l := range batch {
		g.Go(func() error {
			records[i], refusals[i] = im.vet(l)
			return nil
		})
	}
	_ = g.Wait() // there are no errors
	return records, refusals
}

// putAll stores the records that there are, those of one target in turn.
func (im *Import) putAll(ctx context.Context, batch []line, records []*record) ([]outcome, error) {
	ofTarget := make(map[targets.Ref][]int)
	for i, r := range records {
		if r != nil {
			ofTarget[r.Ref()] = append(ofTarget[r.Ref()], i)
		}
	}
	outcomes := make([]outcome, len(batch))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(im.jobs())
	for _, indexes := range ofTarget {
		g.Go(func() (err error) {
			for _, i := range indexes {
				if outcomes[i], err = im.put(ctx, &records[i].Target); err != nil {
					return fmt.Errorf("line %d: %w", batch[i].number, err)
				}
			}
			return nil
		})
	}
	return outcomes, g.Wait()
}

// put stores one target.
func (im *Import) put(ctx context.Context, t *targets.Target) (o outcome, err error) {
	if im.DryRun {
		present, err := im.Store.Load(ctx, t.Ref())
		if err != nil && !errors.Is(err, targets.ErrNotFound) {
			return 0, fmt.Errorf("loading the target that is there: %w", err)
		}
		return im.Overwrite.of(present, t), nil
	}
	err = im.Store.Update(ctx, t.Ref(), func(present *targets.Target) (*targets.Target, error) {
		if o = im.Overwrite.of(present, t); o != added && o != replaced {
			return present, nil
		}
		next := *t
		if byHand(t) {
			next.Created, next.Updated = im.now(), im.now()
		}
		return &next, nil
	})
	if err != nil {
		return 0, fmt.Errorf("storing the target: %w", err)
	}
	return o, nil
}

func (im *Import) jobs() int { return max(1, im.Jobs) }

func (im *Import) now() time.Time {
	if im.Now == nil {
		return time.Now().UTC()
	}
	return im.Now().UTC()
}
