package transfer

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Export writes the targets of a namespace, one line each, and returns how
// many. It calls damaged for every record of the store that cannot be read.
func Export(ctx context.Context, l targets.Lister, namespace string, w io.Writer, damaged func(*targets.RecordError)) (n int, err error) {
	out := bufio.NewWriter(w)
	err = Walk(ctx, l, namespace, func(t *targets.Target) error {
		record, err := targets.Encode(t, t.Ref())
		if err != nil {
			damaged(&targets.RecordError{Hash: t.Ref().Hash(), Err: err})
			return nil //nolint:nilerr // the others go on
		}
		if _, err := out.Write(append(record, '\n')); err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
		n++
		return nil
	}, damaged)
	if err != nil {
		return n, err
	}
	if err := out.Flush(); err != nil {
		return n, fmt.Errorf("writing the export: %w", err)
	}
	return n, nil
}
