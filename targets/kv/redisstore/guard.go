package redisstore

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"
)

// Bounds of a reply of Redis. The largest value is a list of package kv; the
// longest array is a list of a former release.
const (
	maxBulk     = 4 << 20 // bytes of a string
	maxElements = 1 << 18 // of the arrays of a reply together
	maxLine     = 64 << 10
)

var errReply = errors.New("the reply of redis is larger than any that is expected, or of another kind")

// dialer connects to Redis. The client would make room for whatever length a
// reply announces; the connections of this dialer fail before.
func dialer(config *tls.Config, timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: timeout, KeepAlive: 5 * time.Minute}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		dial := plain.DialContext
		if config != nil {
			dial = (&tls.Dialer{NetDialer: plain, Config: config}).DialContext
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &guard{Conn: conn}, nil
	}
}

// guard reads along the lengths in the replies (RESP2, and RESP3 as sentinels
// speak it).
type guard struct {
	net.Conn

	line     []byte // what has come of a line
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
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		if len(g.line)+len(line) > maxLine {
			return errReply
		}
		g.line = append(g.line, line...)
		if !ended {
			return nil
		}
		if err := g.value(string(bytes.TrimSuffix(g.line, []byte("\r")))); err != nil {
			return err
		}
		g.line, data = g.line[:0], rest
	}
	return nil
}

// value looks at the line that begins a value.
func (g *guard) value(line string) error {
	if g.pending == 0 { // a new reply
		g.pending, g.elements = 1, 0
	}
	g.pending--
	if line == "" {
		return errReply
	}
	kind, each := line[0], 1
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(': // a line is all of it
		return nil
	case '$', '=', '!', '*', '~', '>':
	case '%', '|': // pairs
		each = 2
	default:
		return errReply
	}
	n, err := strconv.Atoi(line[1:])
	text := strings.IndexByte("$=!", kind) >= 0
	switch {
	case err != nil, text && n > maxBulk, !text && n > (maxElements-g.elements)/each:
		return errReply
	case n < 0: // nothing
	case text:
		g.skip = n + len("\r\n")
	default:
		g.elements, g.pending = g.elements+n*each, g.pending+n*each
	}
	return nil
}
