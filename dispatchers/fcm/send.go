package fcm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

const sending = "sending to FCM"

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

var errAnswerTooBig = errors.New("the answer is too big")

// send makes one request, after one for an access token if there is none that
// is good.
func (f *Dispatcher) send(ctx context.Context, body []byte) error {
	token, fresh, err := f.tokens.get(ctx, f.source())
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.sendURL, bytes.NewReader(body))
	if err != nil {
		return dispatchers.Fail(dispatchers.Broken, reasonEncoding, "making the request to FCM: check endpoint and project")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GOOG-API-FORMAT-VERSION", "2") // errors with an FcmError detail

	// A RoundTripper follows no redirect. It repeats a request only where the
	// server has not seen it: on a connection that was just closed (GOAWAY).
	answer, err := f.transport.RoundTrip(r)
	if err != nil {
		return f.broken(err)
	}
	defer answer.Body.Close()
	content, err := readAnswer(answer.Body)
	switch {
	case errors.Is(err, errAnswerTooBig):
		return notFCM(answer.StatusCode)
	case err != nil:
		return f.broken(err)
	case answer.StatusCode == http.StatusOK:
		return checkReceipt(content)
	}
	e := f.refusal(answer, content, fresh)
	if e.Reason == reasonTokenRejected || e.Reason == reasonUnauthenticated {
		f.tokens.drop(token)
	}
	return e
}

// broken closes idle connections as well, so that the next attempt does not
// meet another one that died along with this.
func (f *Dispatcher) broken(err error) error {
	f.transport.CloseIdleConnections()
	return httpclient.Classify(sending, err)
}

// checkReceipt tells FCM's answer from that of something else on the way.
func checkReceipt(content []byte) error {
	var receipt struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(content, &receipt) != nil || !strings.HasPrefix(receipt.Name, "projects/") {
		return notFCM(http.StatusOK)
	}
	return nil
}

func readAnswer(body io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err == nil && len(content) > maxAnswer {
		err = errAnswerTooBig
	}
	return content, err
}
