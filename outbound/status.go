package outbound

import (
	"context"
	"io"
	"net/http"
	"time"
)

// What is read of the body of an answer at most, in bytes, and for how long.
const (
	maxBody   = 64 << 10
	drainTime = time.Second
)

// Status makes a request where only the status and the header of the answer
// count. Of the body it reads no more than 64 KiB and no longer than a second,
// only so that the connection can be used again. It follows no redirect. See
// Classify for the error.
func Status(ctx context.Context, t http.RoundTripper, r *http.Request) (int, http.Header, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer, err := t.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	defer time.AfterFunc(drainTime, cancel).Stop()
	_, _ = io.CopyN(io.Discard, answer.Body, maxBody)
	return answer.StatusCode, answer.Header, nil
}
