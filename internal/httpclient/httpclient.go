// Package httpclient holds what every outbound connection of a dispatcher
// shares: the options proxy, ca and client_cert, the transport that they
// make, and what an error of that transport means.
package httpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

// Options are the settings of outbound connections. Placeholders such as
// {env.NAME} are resolved when the configuration is loaded. Nothing switches
// the verification of certificates off, and TLS is never older than 1.2.
type Options struct {
	// The HTTP proxy to go through, an http or https URL. A user and password
	// in it (percent-encoded) are used for Basic authentication. Default:
	// none. HTTP_PROXY and its like in the environment have no effect. For a
	// proxy with https, ca and client_cert are in force as for the server, so
	// that ca has to name the authorities of both.
	Proxy string `json:"proxy,omitempty"`

	// File of PEM certificates to trust in place of the system's. With an https
	// proxy it has to hold the authorities of both, proxy and server. Read when
	// the configuration is loaded.
	CA string `json:"ca,omitempty"`

	// The certificate to present to servers that ask for one. Changed files
	// are used for new connections without a restart.
	ClientCert *ClientCert `json:"client_cert,omitempty"`
}

// ClientCert names the PEM files of a client certificate.
type ClientCert struct {
	// File of the certificate and its chain.
	Cert string `json:"cert,omitempty"`

	// File of the private key.
	Key string `json:"key,omitempty"`
}

// Bounds of a connection. How long a request may take is its context's matter.
const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	idleTimeout      = 90 * time.Second
	pingAfter        = 15 * time.Second
	pingTimeout      = 5 * time.Second
	maxIdlePerHost   = 32
	maxHeaderBytes   = 64 << 10
)

// NewTransport returns a transport with these options. It dials nothing, asks
// for no compression and has no state shared with others; its user closes the
// idle connections in the end.
func NewTransport(o Options, logger *slog.Logger) (*http.Transport, error) {
	config, err := NewTLS(o, logger)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    handshakeTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		OnProxyConnectResponse: refuseProxyError,
	}
	if o.Proxy == "" {
		return t, nil
	}
	proxy, err := parseProxy(o.Proxy, logger)
	if err != nil {
		return nil, err
	}
	t.Proxy = http.ProxyURL(proxy)
	if proxy.Scheme == "https" {
		t.DialTLSContext = dialProxy(config)
	}
	return t, nil
}

// dialProxy returns what connects to an https proxy. The transport would offer
// the proxy HTTP/2, as to the server behind it, and then speak HTTP/1.1.
func dialProxy(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout + handshakeTimeout}, Config: config}
	return dialer.DialContext
}

// NewTLS returns the TLS part of the options, for protocols other than HTTP.
func NewTLS(o Options, logger *slog.Logger) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pool, err := loadCA(o.CA, logger)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	if o.ClientCert != nil {
		pair, err := openKeyPair(*o.ClientCert, logger)
		if err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return pair.current(), nil
		}
	}
	return config, nil
}

func (c *ClientCert) check() error {
	if err := placeholder.CheckPath(certOption, c.Cert); err != nil {
		return err
	}
	return placeholder.CheckPath(keyOption, c.Key)
}

func parseProxy(text string, logger *slog.Logger) (*url.URL, error) {
	value, err := placeholder.Resolve("proxy", text)
	if err != nil {
		return nil, err
	}
	u, err := proxyURL(value)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if _, secret := u.User.Password(); secret && value == text {
		placeholder.WarnLiteral("proxy", logger)
	}
	return u, nil
}

func checkProxy(text string) error {
	return placeholder.Check("proxy", text, func(value string) error {
		_, err := proxyURL(value)
		return err
	})
}

func proxyURL(value string) (*url.URL, error) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it is not an http or https URL, such as http://proxy.example.com:3128; " +
			"special characters in user and password have to be percent-encoded")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("a path, query or fragment has no meaning here: leave it out")
	}
	return u, nil
}

// ParseURL resolves and parses the URL of a service: https, or http if the
// host is this machine. Credentials and fragments have no place in it.
// Errors name the option and do not quote the URL.
func ParseURL(option, text string) (*url.URL, error) {
	value, err := placeholder.Resolve(option, text)
	if err != nil {
		return nil, err
	}
	u, err := ServiceURL(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return u, nil
}

// CheckURL looks at the URL of a service before the configuration is loaded,
// see placeholder.Check; further is for what else it has to be, nil for nothing.
func CheckURL(option, text string, further func(*url.URL) error) error {
	return placeholder.Check(option, text, func(value string) error {
		u, err := ServiceURL(value)
		if err != nil || further == nil {
			return err
		}
		return further(u)
	})
}

// ServiceURL is ParseURL for a text without placeholders. Errors do not name
// the option.
func ServiceURL(value string) (*url.URL, error) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("it is not a URL with a host, such as https://www.example.com")
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("the URL must not hold a user or a fragment: leave that out")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("the URL must be https; plain http is for this machine only")
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// refuseProxyError replaces the transport's own error, which quotes the
// proxy's text.
func refuseProxyError(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{Status: answer.StatusCode}
}
