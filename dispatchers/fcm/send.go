package fcm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

// send makes one request, after one for an access token if there is none that
// is good.
func (f *FCM) send(ctx context.Context, body []byte) error {
	source := f.source()
	token, fresh, err := source.get(ctx)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.sendURL, bytes.NewReader(body))
	if err != nil {
		return dispatchers.Fail(dispatchers.Broken, dispatchers.ReasonEncoding, "making the request to FCM: check endpoint and project")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GOOG-API-FORMAT-VERSION", "2") // errors with an FcmError detail

	answer, err := f.service.Do(ctx, r)
	switch {
	case errors.Is(err, httpsend.ErrBodyTooBig), err == nil && answer.Status == http.StatusOK && !isReceipt(answer.Body):
		return f.service.FailedAs(answer, notFCM)
	case err != nil:
		return err
	case answer.Status == http.StatusOK:
		return nil
	}
	e := f.refusal(answer, fresh)
	if e.Reason == reasonTokenRejected || e.Reason == reasonUnauthenticated {
		source.drop(token)
	}
	return e
}

// isReceipt tells FCM's answer from that of something else on the way.
func isReceipt(body []byte) bool {
	var receipt struct {
		Name string `json:"name"`
	}
	return json.Unmarshal(body, &receipt) == nil && strings.HasPrefix(receipt.Name, "projects/")
}

// quotaPause is how long to wait after a 429 that does not say: Google asks for
// a minute (FCM documentation, "Scale: handling retries").
const quotaPause = time.Minute
