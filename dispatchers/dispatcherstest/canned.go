package dispatcherstest

import (
	"bytes"
	"io"
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// Scheme is that of URLs that a Canned answers.
const Scheme = "canned"

// Canned is the answer to all requests to URLs of Scheme, without a network: a
// fuzz target has no time for one.
type Canned struct {
	Status int
	Header http.Header
	Body   []byte

	Requests int // so far
}

// Transport returns a transport that takes requests to Scheme to the answer.
func (c *Canned) Transport() *httpclient.Transport {
	t := &httpclient.Transport{Transport: new(http.Transport)}
	t.RegisterProtocol(Scheme, c)
	return t
}

// RoundTrip implements http.RoundTripper.
func (c *Canned) RoundTrip(r *http.Request) (*http.Response, error) {
	c.Requests++
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{
		StatusCode: c.Status, Header: c.Header, Body: io.NopCloser(bytes.NewReader(c.Body)), ContentLength: int64(len(c.Body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
	}, nil
}
