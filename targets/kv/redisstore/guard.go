package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"
)

// Bounds of a reply of Redis. The largest value is a list of package kv; the
// longest array is a list of a former release.
const (
	maxBulk     = 4 << 20 // bytes of a string
	maxElements = 1 << 18 // of the arrays of a reply together
	maxLine     = 64 << 10
)

var errReply = errors.New("the reply of redis is larger than any that is expected")

// dialer connects to Redis. The client would make room for whatever length a
// reply announces; the connections of this dialer fail before.
func dialer(config *tls.Config, timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: timeout, KeepAlive: 5 * time.Minute}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var conn net.Conn
		var err error
		if config == nil {
			conn, err = plain.DialContext(ctx, network, addr)
		} else {
			conn, err = (&tls.Dialer{NetDialer: plain, Config: config}).DialContext(ctx, network, addr)
		}
		if err != nil {
			return nil, err
		}
		return &guard{Conn: conn}, nil
	}
}

// guard reads along the lengths in the replies (RESP2).
type guard struct {
	net.Conn

	line     []byte // what has come of a line, as far as it matters
	length   int    // of that
	skip     int    // bytes of a string that are still to come, with its line break
	elements int    // announced by the arrays of this reply
	pending  int    // of those that are still to come
}

// Read implements net.Conn.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if e := g.follow(p[:n]); e != nil {
		_ = g.Close()
		return 0, e
	}
	return n, err
}

func (g *guard) follow(data []byte) error {
	for len(data) > 0 {
		if g.skip > 0 {
			n := min(g.skip, len(data))
			g.skip, data = g.skip-n, data[n:]
			continue
		}
		b := data[0]
		data = data[1:]
		if b != '\n' {
			if g.length++; g.length > maxLine {
				return errReply
			}
			if len(g.line) < 32 {
				g.line = append(g.line, b)
			}
			continue
		}
		if err := g.endOfLine(); err != nil {
			return err
		}
		g.line, g.length = g.line[:0], 0
	}
	return nil
}

// endOfLine looks at the line that begins a value.
func (g *guard) endOfLine() error {
	if g.pending == 0 { // a new reply
		g.pending, g.elements = 1, 0
	}
	g.pending--
	if len(g.line) < 2 || g.line[0] != '$' && g.line[0] != '*' {
		return nil
	}
	n, err := strconv.Atoi(string(g.line[1 : len(g.line)-1]))
	switch {
	case err != nil:
		return errReply
	case n < 0: // nothing
	case g.line[0] == '$':
		if n > maxBulk {
			return errReply
		}
		g.skip = n + len("\r\n")
	default:
		if n > maxElements-g.elements {
			return errReply
		}
		g.elements, g.pending = g.elements+n, g.pending+n
	}
	return nil
}
