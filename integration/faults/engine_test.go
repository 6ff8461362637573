package faults

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// engine stands in front of a party, as one listener, and does to its
// connections, or to its HTTP requests, what the fault of a cell says. It is the
// one way in which anything goes wrong on the network in this package.
type engine struct {
	t       *testing.T
	address string // host:port of the listener
	host    string // that the sidecar connects to: address, or with TLS a name of this package's DNS
	trusted []byte // with TLS: PEM of the authorities for the sidecar to trust

	passed    chan net.Conn // connections for the party
	closed    chan struct{}
	delivered atomic.Int32 // HTTP requests that the party carried out with a 2xx
	good      *tls.Config  // nil without TLS
	expired   *tls.Config
	wrongName *tls.Config
	unknown   *tls.Config

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	strike   trouble
	conns    map[net.Conn]bool
	running  sync.WaitGroup
	ended    sync.Once
}

// trouble is what an engine does; the zero value is nothing.
type trouble struct {
	refuse      bool
	name        bool                                  // the DNS does not know the party's name
	certificate func(*engine) *tls.Config             // in place of the right one
	transport   func(c net.Conn, pass func(net.Conn)) // decides about each connection
	http        fault.Fault                           // about each request

	encrypted bool     // the party speaks TLS in the cell
	protocols []string // of TLS; default http/1.1
}

// newEngine listens on an address of this machine. serve, or what it gets, ends
// when the connections do.
func newEngine(t *testing.T, encrypted bool, protocols ...string) *engine {
	t.Helper()
	e := &engine{
		t: t, address: freeAddress(t),
		passed: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]bool{},
	}
	e.host = e.address
	if encrypted {
		name := names.next()
		_, port, _ := net.SplitHostPort(e.address)
		e.host = net.JoinHostPort(name, port)
		e.good = e.certificate(double.Certificate{Host: name}, true, protocols)
		e.expired = e.certificate(double.Certificate{Host: name, Expired: true}, true, protocols)
		e.wrongName = e.certificate(double.Certificate{Host: "other" + zone}, true, protocols)
		e.unknown = e.certificate(double.Certificate{Host: name}, false, protocols)
	}
	e.set(trouble{})
	t.Cleanup(e.close)
	return e
}

func (e *engine) certificate(c double.Certificate, trusted bool, protocols []string) *tls.Config {
	e.t.Helper()
	c.CommonName = "a party of the fault matrix"
	config, err := double.NewTLS(c)
	if err != nil {
		e.t.Fatal(err)
	}
	config.NextProtos = protocols
	if trusted {
		e.trusted = append(e.trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]})...)
	}
	return config
}

// set has a trouble strike from now on, also those who are connected already.
func (e *engine) set(what trouble) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.strike = what
	name, _, _ := net.SplitHostPort(e.host)
	names.lose(name, what.name)
	for c := range e.conns {
		_ = c.Close()
	}
	if e.listener != nil && what.refuse {
		_ = e.listener.Close()
		e.listener = nil
	}
	if e.listener == nil && !what.refuse {
		listener, err := net.Listen("tcp", e.address)
		if err != nil {
			e.t.Fatal(err)
		}
		e.listener = listener
		e.running.Go(func() { e.run(listener) })
	}
}

func (e *engine) close() {
	_ = e.Close()
	e.set(trouble{refuse: true})
	e.running.Wait()
}

func (e *engine) run(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		what := e.strike
		e.conns[c] = true
		e.mu.Unlock()
		e.running.Go(func() { e.take(c, what) })
	}
}

// take gives the connection to the trouble, or to the party.
func (e *engine) take(c net.Conn, what trouble) {
	pass := func(c net.Conn) {
		select {
		case e.passed <- c:
		case <-e.closed:
			_ = c.Close()
		}
	}
	if e.good != nil {
		config := e.good
		if what.certificate != nil {
			config = what.certificate(e)
		}
		encrypted := tls.Server(c, config)
		_ = c.SetDeadline(time.Now().Add(patience))
		if err := encrypted.Handshake(); err != nil {
			_ = c.Close()
			return
		}
		_ = c.SetDeadline(time.Time{})
		c = encrypted
	}
	if what.transport == nil {
		pass(c)
		return
	}
	what.transport(c, pass)
}

// Accept, Close and Addr make the engine the listener of the party.
func (e *engine) Accept() (net.Conn, error) {
	select {
	case c := <-e.passed:
		return c, nil
	case <-e.closed:
		return nil, net.ErrClosed
	}
}

// Close ends what the party is given.
func (e *engine) Close() error {
	e.ended.Do(func() { close(e.closed) })
	return nil
}

// Addr is where the party seems to listen.
func (e *engine) Addr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", e.address)
	if err != nil {
		panic(err) // it was listened on
	}
	return a
}

// serveHTTP has a handler be the party. It counts what it carries out.
func (e *engine) serveHTTP(party http.Handler) {
	counting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &counter{ResponseWriter: w}
		party.ServeHTTP(c, r)
		if c.status/100 == 2 {
			e.delivered.Add(1)
		}
	})
	server := &http.Server{
		ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: e.good,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			e.mu.Lock()
			strike := e.strike.http
			e.mu.Unlock()
			if strike == nil {
				strike = fault.None
			}
			strike(w, r, counting)
		}),
	}
	e.running.Go(func() { _ = server.Serve(e) })
	e.t.Cleanup(func() { _ = server.Close() })
}

// counter keeps the status.
type counter struct {
	http.ResponseWriter
	status int
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(b)
}

func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// serveTCP has a server elsewhere be the party.
func (e *engine) serveTCP(address string) {
	e.running.Go(func() {
		for {
			c, err := e.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", address)
			if err != nil {
				_ = c.Close()
				continue
			}
			join := func(to, from net.Conn) {
				_, _ = io.Copy(onlyWriter{to}, from)
				_, _ = to.Close(), from.Close()
			}
			e.running.Go(func() { join(server, c) })
			e.running.Go(func() { join(c, server) })
		}
	})
}

type onlyWriter struct{ io.Writer }

// The troubles of a connection. Those that do not pass it on are the whole
// party: nothing is delivered.

// reset ends the connection once something was asked.
func reset(c net.Conn, _ func(net.Conn)) {
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // who speaks second never asks
	_, _ = c.Read(make([]byte, 4096))
	raw := c
	if encrypted, ok := c.(*tls.Conn); ok {
		raw = encrypted.NetConn()
	}
	_ = raw.(*net.TCPConn).SetLinger(0)
	_ = raw.Close()
}

// halfClose says that there will be no answer, and listens on.
func halfClose(c net.Conn, _ func(net.Conn)) {
	_ = c.(interface{ CloseWrite() error }).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

func hang(c net.Conn, _ func(net.Conn)) {
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

// says is a party that gives one answer to whatever it gets.
func says(text string) func(net.Conn, func(net.Conn)) {
	return func(c net.Conn, _ func(net.Conn)) {
		defer c.Close()
		buffer := make([]byte, 4096)
		for {
			if _, err := c.Read(buffer); err != nil {
				return
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// pours is a party that begins an answer and never ends it.
func pours(begin string) func(net.Conn, func(net.Conn)) {
	return func(c net.Conn, _ func(net.Conn)) {
		defer c.Close()
		_, err := io.WriteString(c, begin)
		for blanks := strings.Repeat("x", 16<<10); err == nil; {
			_, err = io.WriteString(c, blanks)
		}
	}
}

// drip passes the connection on, and gives one byte of an answer at a time.
func drip(c net.Conn, pass func(net.Conn)) {
	pass(&answering{c, func(b []byte) (int, error) {
		for i := range b {
			if _, err := c.Write(b[i : i+1]); err != nil {
				return i, err
			}
			time.Sleep(100 * time.Millisecond)
		}
		return len(b), nil
	}})
}

// truncate passes the connection on, and ends it in the middle of the answer.
func truncate(c net.Conn, pass func(net.Conn)) {
	pass(&answering{c, func(b []byte) (int, error) {
		n, _ := c.Write(b[:len(b)/2])
		return n, errors.Join(io.ErrShortWrite, c.Close())
	}})
}

// replace passes the connection on, and puts another text into an answer.
func replace(text, by string) func(net.Conn, func(net.Conn)) {
	return func(c net.Conn, pass func(net.Conn)) {
		pass(&answering{c, func(b []byte) (int, error) {
			if bytes.Contains(b, []byte(text)) {
				_, err := io.WriteString(c, by)
				return len(b), err
			}
			return c.Write(b)
		}})
	}
}

// answering is a connection of which a trouble writes the answers.
type answering struct {
	net.Conn
	write func([]byte) (int, error)
}

func (a *answering) Write(b []byte) (int, error) { return a.write(b) }
