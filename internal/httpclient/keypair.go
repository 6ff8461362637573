package httpclient

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

// What errors call the two files of client_cert.
const (
	certOption = "client_cert (certificate)"
	keyOption  = "client_cert (key)"
)

func loadCA(path string, logger *slog.Logger) (*x509.CertPool, error) {
	path, err := placeholder.ResolvePath("ca", path)
	if err != nil {
		return nil, err
	}
	file, err := watchedfile.OpenPublic("ca", path, parseCA, logger)
	if err != nil {
		return nil, err
	}
	return file.Value(), nil
}

func parseCA(content []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("it holds no PEM certificate")
	}
	return pool, nil
}

// keyPair is a client certificate whose two files may change. They cannot
// change at the same moment, so a pair that does not match is not used.
type keyPair struct {
	cert, key *watchedfile.File[*pemText]
	logger    *slog.Logger

	mu                sync.Mutex
	pair              *tls.Certificate
	seenCert, seenKey *pemText
}

type pemText struct{ content []byte }

func openKeyPair(c ClientCert, logger *slog.Logger) (*keyPair, error) {
	certPath, err := placeholder.ResolvePath(certOption, c.Cert)
	if err != nil {
		return nil, err
	}
	keyPath, err := placeholder.ResolvePath(keyOption, c.Key)
	if err != nil {
		return nil, err
	}
	k := &keyPair{logger: logger}
	if k.cert, err = watchedfile.OpenPublic(certOption, certPath, parsePEM, logger); err != nil {
		return nil, err
	}
	if k.key, err = watchedfile.Open(keyOption, keyPath, parsePEM, logger); err != nil {
		return nil, err
	}
	if err := k.load(k.cert.Value(), k.key.Value()); err != nil {
		return nil, fmt.Errorf("client_cert: %w", err)
	}
	return k, nil
}

func parsePEM(content []byte) (*pemText, error) {
	if block, _ := pem.Decode(content); block == nil {
		return nil, errors.New("it is not a PEM file")
	}
	return &pemText{content}, nil
}

func (k *keyPair) current() *tls.Certificate {
	cert, key := k.cert.Value(), k.key.Value()
	k.mu.Lock()
	defer k.mu.Unlock()
	if cert != k.seenCert || key != k.seenKey {
		if err := k.load(cert, key); err != nil {
			k.logger.Error("a changed client certificate cannot be used; the last good one stays in force",
				slog.String("error", err.Error()))
		}
	}
	return k.pair
}

func (k *keyPair) load(cert, key *pemText) error {
	k.seenCert, k.seenKey = cert, key
	pair, err := tls.X509KeyPair(cert.content, key.content)
	if err != nil {
		return errors.New("the certificate and the private key do not fit together")
	}
	k.pair = &pair
	return nil
}
