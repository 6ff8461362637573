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

// setTLS reads the files of TLS and resolves placeholders.
func (s *Store) setTLS(c *connection) error {
	if !c.TLS {
		if s.CA != "" || s.ClientCert != nil || s.ServerName != "" {
			return errWithoutTLS
		}
		return nil
	}
	var err error
	if c.ServerName, err = resolve("server_name", s.ServerName); err != nil {
		return err
	}
	if s.CA != "" {
		if c.CA, err = watchedfile.ReadPublic("ca", s.CA); err != nil {
			return err
		}
	}
	if s.ClientCert == nil {
		return nil
	}
	cert, err := placeholder.ResolvePath("client_cert (certificate)", s.ClientCert.Cert)
	if err != nil {
		return err
	}
	key, err := placeholder.ResolvePath("client_cert (key)", s.ClientCert.Key)
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
