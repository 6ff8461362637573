package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

var errWithoutTLS = errors.New("ca, client_cert and server_name have no meaning without TLS: use rediss:// addresses")

func (s *Store) wantsTLS() bool { return s.CA != "" || s.ClientCert != nil || s.ServerName != "" }

// setTLS checks the options of TLS and resolves their placeholders.
func (s *Store) setTLS(c *connection) error {
	if !c.TLS {
		if s.wantsTLS() {
			return errWithoutTLS
		}
		return nil
	}
	var err error
	if c.ServerName, err = resolve("server_name", s.ServerName); err != nil {
		return err
	}
	if s.CA != "" {
		path, err := placeholder.Resolve("ca", s.CA)
		if err != nil {
			return err
		}
		if c.CA, err = watchedfile.ReadPublic("ca", path); err != nil {
			return err
		}
	}
	if s.ClientCert == nil {
		return nil
	}
	cert, err := placeholder.Resolve("client_cert (certificate)", s.ClientCert.Cert)
	if err != nil {
		return err
	}
	key, err := placeholder.Resolve("client_cert (key)", s.ClientCert.Key)
	if err != nil {
		return err
	}
	c.ClientCert = &httpclient.ClientCert{Cert: cert, Key: key}
	return nil
}

func (c *connection) tlsConfig(logger *slog.Logger) (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	config, err := httpclient.NewTLS(httpclient.Options{ClientCert: c.ClientCert}, logger)
	if err != nil {
		return nil, err
	}
	config.ServerName = c.ServerName
	if c.CA != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("ca: the file holds no PEM certificate")
		}
	}
	return config, nil
}
