package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/targets/internal/secretfile"
)

// setTLS checks the options of TLS and resolves their placeholders.
func (s *Store) setTLS(c *connection) error {
	if !c.TLS {
		if s.CA != "" || s.ClientCert != nil || s.ServerName != "" {
			return errors.New("ca, client_cert and server_name have no meaning without TLS: use rediss:// addresses")
		}
		return nil
	}
	var err error
	if c.ServerName, err = resolve("server_name", s.ServerName); err != nil {
		return err
	}
	if s.CA != "" {
		path, err := secretfile.Resolve("ca", s.CA)
		if err != nil {
			return err
		}
		if c.CA, err = secretfile.ReadPublic("ca", path); err != nil {
			return err
		}
	}
	if s.ClientCert == nil {
		return nil
	}
	cert, err := secretfile.Resolve("client_cert (certificate)", s.ClientCert.Cert)
	if err != nil {
		return err
	}
	key, err := secretfile.Resolve("client_cert (key)", s.ClientCert.Key)
	if err != nil {
		return err
	}
	c.ClientCert = &ClientCert{Cert: cert, Key: key}
	return nil
}

func (c *connection) tlsConfig(logger *slog.Logger) (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CA != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("ca: the file holds no PEM certificate")
		}
	}
	if c.ClientCert != nil {
		k := &keyPair{files: *c.ClientCert, logger: logger}
		if err := k.load(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = k.current
	}
	return config, nil
}

// keyPair is a client certificate whose files may change.
type keyPair struct {
	files  ClientCert
	logger *slog.Logger

	mu   sync.Mutex
	pair *tls.Certificate
}

// current reads the files for each connection, and keeps the last good pair.
func (k *keyPair) current(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(); err != nil {
		k.logger.Error("the client certificate cannot be used; the last good one stays in force", slog.String("error", err.Error()))
	}
	return k.pair, nil
}

func (k *keyPair) load() error {
	cert, err := secretfile.ReadPublic("client_cert (certificate)", k.files.Cert)
	if err != nil {
		return err
	}
	key, err := secretfile.Read("client_cert (key)", k.files.Key, k.logger)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("client_cert: the certificate %s and the private key %s do not fit together", k.files.Cert, k.files.Key)
	}
	k.pair = &pair
	return nil
}
