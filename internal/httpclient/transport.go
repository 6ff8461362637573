package httpclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

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

// NewTransport returns a transport with these options, whose placeholders are
// resolved. It dials nothing, asks for no compression and has no state shared
// with others; its user closes it in the end.
func NewTransport(o *Options, logger *slog.Logger) (*Transport, error) {
	config, err := NewTLS(o, logger)
	if err != nil {
		return nil, err
	}
	t := &Transport{Transport: &http.Transport{
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
	}}
	if o.Proxy == "" {
		return t, nil
	}
	proxy, err := proxyURL(o.Proxy)
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
func dialProxy(config *tls.Config) Dial {
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout + handshakeTimeout}, Config: config}
	return dialer.DialContext
}

// refuseProxyError replaces the transport's own error, which quotes the
// proxy's text.
func refuseProxyError(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{Status: answer.StatusCode}
}

// NewTLS returns the TLS part of the options, whose placeholders are resolved,
// for protocols other than HTTP.
func NewTLS(o *Options, logger *slog.Logger) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		file, err := watchedfile.OpenPublic("ca", o.CA, parseCertificates, logger)
		if err != nil {
			return nil, err
		}
		config.RootCAs = file.Value()
	}
	if o.ClientCert != nil {
		pair, err := openKeyPair(*o.ClientCert, logger)
		if err != nil {
			return nil, err
		}
		o.pair = pair
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return pair.current(), nil
		}
	}
	return config, nil
}

func parseCertificates(content []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("it holds no PEM certificate")
	}
	return pool, nil
}

// keyPair is a client certificate whose two files may change. They cannot
// change at the same moment, so a pair that does not match is not used.
type keyPair struct {
	cert, key *watchedfile.File[[]byte]
	logger    *slog.Logger

	mu     sync.Mutex
	good   tls.Certificate
	faulty bool // a later pair does not match, which was logged
}

// LoadedCredentials implements dispatchers.CredentialHolder for who embeds the
// options and has loaded them.
func (o *Options) LoadedCredentials() []dispatchers.Credential {
	if o.pair == nil {
		return nil
	}
	return []dispatchers.Credential{o.pair.state()}
}

var errNoPair = errors.New("the certificate and the private key do not fit together")

// state tells of the pair that is in use.
func (k *keyPair) state() dispatchers.Credential {
	c := dispatchers.Credential{Option: "client_cert", Expires: k.current().Leaf.NotAfter, Err: cmp.Or(k.cert.Err(), k.key.Err())}
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.Err == nil && k.faulty {
		c.Err = errNoPair
	}
	return c
}

func openKeyPair(c ClientCert, logger *slog.Logger) (*keyPair, error) {
	k := &keyPair{logger: logger}
	var err error
	if k.cert, err = watchedfile.OpenPublic(certOption, c.Cert, checkPEM, logger); err != nil {
		return nil, err
	}
	if k.key, err = watchedfile.Open(keyOption, c.Key, checkPEM, logger); err != nil {
		return nil, err
	}
	if k.good, err = tls.X509KeyPair(k.cert.Value(), k.key.Value()); err != nil {
		return nil, fmt.Errorf("client_cert: %w", errNoPair)
	}
	return k, nil
}

func checkPEM(content []byte) ([]byte, error) {
	if block, _ := pem.Decode(content); block == nil {
		return nil, errors.New("it is not a PEM file")
	}
	return content, nil
}

// current reads the pair for each connection that asks for one, which costs
// little next to its handshake.
func (k *keyPair) current() *tls.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	pair, err := tls.X509KeyPair(k.cert.Value(), k.key.Value())
	switch {
	case err == nil:
		k.good, k.faulty = pair, false
	case !k.faulty:
		k.faulty = true
		k.logger.Error("a changed client certificate cannot be used; the last good one stays in force",
			slog.Any("error", errNoPair))
	}
	good := k.good
	return &good
}
