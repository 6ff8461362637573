package smtp

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// tunnel is the way through an HTTP proxy (CONNECT; RFC 9110, section 9.3.6).
type tunnel struct {
	address string
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	header  http.Header
}

// newTunnel returns the way through the proxy of the options, nil for none.
func newTunnel(o httpclient.Options, logger *slog.Logger) (*tunnel, error) {
	if o.Proxy == "" {
		return nil, nil
	}
	transport, err := httpclient.NewTransport(o, logger)
	if err != nil {
		return nil, err
	}
	u, err := transport.Proxy(nil) // always the same
	if err != nil {
		return nil, err
	}
	t := &tunnel{dial: transport.DialContext, header: http.Header{}}
	port := "80"
	if u.Scheme == "https" {
		port, t.dial = "443", transport.DialTLSContext
	}
	t.address = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	if u.User != nil {
		password, _ := u.User.Password()
		t.header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	return t, nil
}

// connect returns a connection to address. The error is an
// *httpclient.ProxyError if the proxy will not open one.
func (t *tunnel) connect(ctx context.Context, address string) (net.Conn, error) {
	c, err := t.dial(ctx, "tcp", t.address)
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err} // as net/http has it
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err = t.ask(c, address)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// maxProxyAnswer bounds the header of the proxy's answer, in bytes.
const maxProxyAnswer = 16 << 10

func (t *tunnel) ask(c net.Conn, address string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: address}, Host: address, Header: t.header}
	if err := request.Write(c); err != nil {
		return err
	}
	// What follows the answer is the mail server's greeting: not to be read here.
	reader := bufio.NewReader(io.LimitReader(byteByByte{c}, maxProxyAnswer))
	answer, err := http.ReadResponse(reader, request) //nolint:bodyclose // what follows is the tunnel
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return &httpclient.ProxyError{Status: answer.StatusCode}
	}
	return nil
}

// byteByByte keeps a buffer from reading ahead.
type byteByByte struct{ io.Reader }

func (b byteByByte) Read(p []byte) (int, error) {
	return b.Reader.Read(p[:min(len(p), 1)])
}
