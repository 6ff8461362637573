package httpclient

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Dial opens a connection, as the DialContext of net.Dialer does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// NewDialer returns what connects to servers of other protocols than HTTP, through
// the proxy of the options if they name one (CONNECT; RFC 9110, section 9.3.6).
// config is that of NewTLS, without a server's name. The error is a *ProxyError
// if the proxy does not open a connection.
func NewDialer(o Options, config *tls.Config) (Dial, error) {
	direct := (&net.Dialer{Timeout: dialTimeout}).DialContext
	if o.Proxy == "" {
		return direct, nil
	}
	u, err := proxyURL(o.Proxy)
	if err != nil {
		return nil, err
	}
	dial, port := direct, "80"
	if u.Scheme == "https" {
		dial, port = dialProxy(config), "443"
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
			return nil, &net.OpError{Op: opProxy, Net: network, Err: err}
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

// tunnel asks the proxy for a connection to address.
func tunnel(c net.Conn, address string, header http.Header) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: address}, Host: address, Header: header}
	if err := request.Write(c); err != nil {
		return err
	}
	// What follows the answer is the server's: not to be read here.
	reader := bufio.NewReader(io.LimitReader(byteByByte{c}, maxHeaderBytes))
	answer, err := http.ReadResponse(reader, request) //nolint:bodyclose // what follows is the tunnel
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return &ProxyError{Status: answer.StatusCode}
	}
	return nil
}

// byteByByte keeps a buffer from reading ahead.
type byteByByte struct{ io.Reader }

func (b byteByByte) Read(p []byte) (int, error) {
	return b.Reader.Read(p[:min(len(p), 1)])
}
