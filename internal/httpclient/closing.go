package httpclient

import (
	"net/http"
	"sync/atomic"
	"time"
)

// drainTime is how long after its last byte an HTTP/2 stream has certainly
// ended.
const drainTime = time.Second

// Transport is a transport whose idle connections end with its configuration. A
// reload does not wait for the requests of the old configuration, whose
// connections would otherwise stay until they time out.
type Transport struct {
	*http.Transport
	closed atomic.Bool
}

// Close closes idle connections, and from then on all of them after each
// request.
func (t *Transport) Close() {
	t.closed.Store(true)
	t.CloseIdleConnections()
}

// Leave is called when a request has ended and its answer is closed.
func (t *Transport) Leave() {
	if t.closed.Load() {
		t.CloseIdleConnections()
		time.AfterFunc(drainTime, t.CloseIdleConnections)
	}
}
