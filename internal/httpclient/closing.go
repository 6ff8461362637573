package httpclient

import (
	"net/http"
	"sync/atomic"
	"time"
)

// drainTime is how long after its last byte an HTTP/2 stream has certainly
// ended.
const drainTime = time.Second

// Closing is a transport whose idle connections end with its configuration. A
// reload does not wait for the requests of the old configuration, whose
// connections would otherwise stay until they time out.
type Closing struct {
	*http.Transport
	closed atomic.Bool
}

// Close closes idle connections, and from then on all of them after each
// request.
func (c *Closing) Close() {
	c.closed.Store(true)
	c.CloseIdleConnections()
}

// Leave is called when a request has ended and its answer is closed.
func (c *Closing) Leave() {
	if c.closed.Load() {
		c.CloseIdleConnections()
		time.AfterFunc(drainTime, c.CloseIdleConnections)
	}
}
