package exchange

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

var errTooLarge = errors.New("body too large")

// readTime is how long a caller may take to send a body that has to be read as
// a whole, so that one who sends a byte now and then holds no memory.
const readTime = 30 * time.Second

// discardTime is how long the rest of a body that is refused may take.
const discardTime = 5 * time.Second

// maxTargetBody bounds what is read of the calls that targets are learned
// from, and of their answers. Beyond it they stream through.
const maxTargetBody = 256 << 10

// wholeRequest reads a request to its end before a record becomes stale: who
// sends half of one, and leaves, must not be able to disable a target.
func wholeRequest(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	body, upstream, err := readTargetCall(w, r)
	if err == nil && body == nil && r.Body != nil {
		return nil, statusError(http.StatusRequestEntityTooLarge, "the request exceeds %d bytes", maxTargetBody)
	}
	return upstream, err
}

// readTargetCall returns the body of a request, nil where it is too large to be
// read, and the request to forward, which has all of it.
func readTargetCall(w http.ResponseWriter, r *http.Request) ([]byte, *http.Request, error) {
	body, err := readBody(w, r, maxTargetBody)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, r.Clone(r.Context()), nil
	case err != nil:
		return nil, nil, statusError(http.StatusBadRequest, "reading the request: %w", err)
	}
	return body, withBody(r, body), nil
}

// readBody reads at most limit bytes of a request's body. Beyond that it
// returns errTooLarge, and r.Body still yields every byte.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	if r.Body == nil {
		return nil, nil
	}
	controller := http.NewResponseController(w)
	ours, servers := readDeadlines(r, readTime)
	_ = controller.SetReadDeadline(ours) // some connections know no deadlines
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	_ = controller.SetReadDeadline(servers)
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		return nil, errTooLarge
	}
	return body, nil
}

// discardBody reads what is left of an HTTP/2 request that is refused, at most
// limit bytes: some clients never see an answer that is sent before they have
// sent their body (RFC 9113, section 8.1). For HTTP/1.1 the server does so
// after the answer.
func discardBody(w http.ResponseWriter, r *http.Request, limit int64) {
	if r.Body == nil || r.ProtoMajor < 2 {
		return
	}
	controller := http.NewResponseController(w)
	ours, servers := readDeadlines(r, discardTime)
	_ = controller.SetReadDeadline(ours)
	_, _ = io.CopyN(io.Discard, r.Body, limit)
	_ = controller.SetReadDeadline(servers)
}

// readDeadlines returns by when a body has to be read that may take so long, and
// by when the server wants it: zero for no limit.
func readDeadlines(r *http.Request, limit time.Duration) (ours, servers time.Time) {
	now := time.Now()
	ours = now.Add(limit)
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok || server.ReadTimeout <= 0 {
		return ours, time.Time{}
	}
	servers = now.Add(server.ReadTimeout)
	if servers.Before(ours) {
		ours = servers
	}
	return ours, servers
}

// withBody returns the request with another body, or with the same one to be
// read again.
func withBody(r *http.Request, body []byte) *http.Request {
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	// There is no GetBody: of a request with an Idempotency-Key the transport
	// would repeat it by itself, and nevisFIDO would make another token.
	r.GetBody = nil
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	if r.Header.Get("Content-Length") != "" {
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return r
}
