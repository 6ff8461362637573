// Package httpclient holds what every outbound connection of a dispatcher
// shares: the options proxy, ca and client_cert, the transport that they
// make, and what an error of that transport means.
package httpclient

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/conf"
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

	pair *keyPair // of ClientCert, once it is loaded
}

// ClientCert names the PEM files of a client certificate.
type ClientCert struct {
	// File of the certificate and its chain.
	Cert string `json:"cert,omitempty"`

	// File of the private key.
	Key string `json:"key,omitempty"`
}

// Table has the options that all outbound connections share.
var Table = conf.Table[Options]{
	conf.Resolved(
		conf.Text("proxy", func(o *Options) *string { return &o.Proxy }, func(text string) error {
			return placeholder.Check("proxy", text, conf.Parses(proxyURL))
		}),
		resolveProxy,
	),
	conf.Path("ca", func(o *Options) *string { return &o.CA }),
	ClientCertOption(func(o *Options) **ClientCert { return &o.ClientCert }),
}

// ClientCertOption is the row of client_cert, for those that have no proxy.
func ClientCertOption[M any](field func(*M) **ClientCert) conf.Option[M] {
	return conf.Resolved(conf.Custom("client_cert",
		func(m *M, d *caddyfile.Dispenser) (err error) {
			*field(m), err = readClientCert(d)
			return err
		},
		func(m *M) error { return checkClientCert(*field(m)) },
	), func(m *M, logger *slog.Logger) error { return resolveClientCert(*field(m), logger) })
}

// resolveProxy warns about a password that is part of the configuration.
func resolveProxy(o *Options, logger *slog.Logger) error {
	if o.Proxy == "" {
		return nil
	}
	value, err := placeholder.ResolveURL("proxy", o.Proxy)
	if err != nil {
		return err
	}
	u, err := proxyURL(value)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if _, secret := u.User.Password(); secret && value == o.Proxy {
		placeholder.WarnLiteral("proxy", logger)
	}
	o.Proxy = value
	return nil
}

// proxyURL parses the option proxy. Errors do not quote it.
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

// What errors call the two files of client_cert.
const (
	certOption = "client_cert (certificate)"
	keyOption  = "client_cert (key)"
)

var clientCert = conf.Table[ClientCert]{
	conf.Path(certOption, func(c *ClientCert) *string { return &c.Cert }),
	conf.Path(keyOption, func(c *ClientCert) *string { return &c.Key }),
}

func readClientCert(d *caddyfile.Dispenser) (*ClientCert, error) {
	args, err := conf.Values(d, 2, "client_cert takes two arguments: the file of the certificate and that of its key")
	if err != nil {
		return nil, err
	}
	return &ClientCert{Cert: args[0], Key: args[1]}, nil
}

func checkClientCert(c *ClientCert) error {
	switch {
	case c == nil:
		return nil
	case c.Cert == "":
		return errors.New(certOption + ": it is empty; name its file")
	case c.Key == "":
		return errors.New(keyOption + ": it is empty; name its file")
	}
	return clientCert.Check(c)
}

func resolveClientCert(c *ClientCert, logger *slog.Logger) error {
	if c == nil {
		return nil
	}
	return clientCert.Provision(c, logger)
}

// ServiceURL parses the URL of a service: https, or http if the host is this
// machine. Credentials and fragments have no place in it. Errors do not quote
// the URL.
func ServiceURL(value string) (*url.URL, error) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("it is not a URL with a host, such as https://www.example.com")
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("the URL must not hold a user or a fragment: leave that out")
	case u.Scheme == "https", u.Scheme == "http" && Loopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("the URL must be https; plain http is for this machine only")
}

// Loopback reports whether a host is this machine, by its name or address.
func Loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}
