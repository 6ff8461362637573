package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
)

const (
	mediaJSON = "application/json"
	mediaUAF  = "application/fido+uaf"
	mediaJOSE = "application/jose"

	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 1 << 20
)

// StatusError reports an HTTP answer with another status than the documented
// one for success.
type StatusError struct {
	Status int // such as 401
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("HTTP status %d (%s)", e.Status, http.StatusText(e.Status))
}

// call is a request to nevisFIDO and the answer that is hoped for.
type call struct {
	method, url string
	consumes    string // media type of the body, "" for none
	produces    string // media type of the answer, "" for none
	status      int
	body        string
}

func (d *Device) do(ctx context.Context, c call) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, d.options.Header.Clone())
	if c.consumes != "" {
		r.Header.Set("Content-Type", c.consumes+";charset=UTF-8")
	}
	if c.produces != "" {
		r.Header.Set("Accept", c.produces)
	}
	response, err := d.options.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxAnswer:
		return nil, errors.New("the answer is too long")
	case response.StatusCode != c.status:
		return nil, &StatusError{response.StatusCode}
	}
	got, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if c.produces != "" && (err != nil || got != c.produces) {
		return nil, fmt.Errorf("the answer's Content-Type is not %s", c.produces)
	}
	return body, nil
}

// doUAF makes a call whose answer carries a UAF status code.
func (d *Device) doUAF(ctx context.Context, url string, media string, body any) (*uafAnswer, error) {
	got, err := d.do(ctx, call{
		method: http.MethodPost, url: url, consumes: media, produces: mediaUAF, status: http.StatusOK, body: text(body),
	})
	if err != nil {
		return nil, err
	}
	var a uafAnswer
	if err := json.Unmarshal(got, &a); err != nil {
		return nil, errors.New("the answer is not the JSON of a UAF answer")
	}
	if a.StatusCode != uafOK {
		return nil, fmt.Errorf("UAF status code %d", a.StatusCode)
	}
	return &a, nil
}

// text writes JSON without escaping for HTML, as the SDK does.
func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own types come here
	}
	return string(out)
}
