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

// newTunnel returns what connects through the HTTP proxy of the options
// (CONNECT; RFC 9110, section 9.3.6). Its error is an *httpclient.ProxyError if
// the proxy will not open a connection.
func newTunnel(o httpclient.Options, logger *slog.Logger) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	transport, err := httpclient.NewTransport(o, logger)
	if err != nil {
		return nil, err
	}
	u, err := transport.Proxy(nil) // always the same
	if err != nil {
		return nil, err
	}
	port, dial := "80", transport.DialContext
	if u.Scheme == "https" {
		port, dial = "443", transport.DialTLSContext
	}
	proxy := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	header := http.Header{}
	if u.User != nil {
		password, _ := u.User.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, proxy)
		if err != nil {
			return nil, &net.OpError{Op: "proxyconnect", Net: network, Err: err} // as net/http has it
		}
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		err = tunnel(c, address, header)
		if !stop() {
			err = ctx.Err()
		}
		if err != nil {
			_ = c.Close()
			return nil, err
		}
		return c, nil
	}, nil
}

// maxProxyAnswer bounds the header of the proxy's answer, in bytes.
const maxProxyAnswer = 16 << 10

// tunnel asks the proxy for a connection to address.
func tunnel(c net.Conn, address string, header http.Header) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: address}, Host: address, Header: header}
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
