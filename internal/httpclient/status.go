package httpclient

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
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

// Unsuccessful makes the failure of an attempt that was answered with a status
// that means no success: who gave the answer, and what the status means there.
// A temporary one says how long to wait if the answer does.
func Unsuccessful(doing, who string, status int, h http.Header,
	meaning func(status int) (class dispatchers.Class, reason, advice string),
) *dispatchers.Error {
	if status == http.StatusProxyAuthRequired {
		return Classify(doing, &ProxyError{Status: status})
	}
	class, reason, advice := meaning(status)
	e := dispatchers.Fail(class, reason, "%s answered %d %s: %s", who, status, http.StatusText(status), advice)
	if class == dispatchers.Temporary {
		e.RetryAfter = RetryAfter(h, time.Now())
	}
	return e
}
