package redisstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// authority is a CA whose files lie in a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.write(t, "ca", a.cert, nil)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes <name>.crt and <name>.key for a host or client.
func (a *authority) issue(t *testing.T, name string, hosts ...string) {
	t.Helper()
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, host)
		}
	}
	a.write(t, name, cert, a.key)
}

func (a *authority) write(t *testing.T, name string, cert *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

func (a *authority) start(t *testing.T, cert string) *server {
	t.Helper()
	port := freePort(t)
	s := start(t, "--tls-port", portText(port), "--tls-cert-file", a.path(cert+".crt"), "--tls-key-file", a.path(cert+".key"),
		"--tls-ca-cert-file", a.path("ca.crt"))
	s.url = "rediss://" + net.JoinHostPort("127.0.0.1", portText(port))
	return s
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	a.issue(t, "redis", "127.0.0.1")
	a.issue(t, "named", "redis.example.com")
	a.issue(t, "sidecar")
	other.issue(t, "sidecar")
	sidecar := &httpclient.ClientCert{Cert: a.path("sidecar.crt"), Key: a.path("sidecar.key")}
	redis, named := a.start(t, "redis"), a.start(t, "named")
	for name, test := range map[string]struct {
		server *server
		change func(*Store)
		down   string // "" if it works
	}{
		"good":           {redis, func(*Store) {}, ""},
		"server name":    {named, func(s *Store) { s.ServerName = "redis.example.com" }, ""},
		"wrong name":     {named, func(*Store) {}, "x509"},
		"CA not trusted": {redis, func(s *Store) { s.CA = "" }, "unknown authority"},
		"another CA":     {redis, func(s *Store) { s.CA = other.path("ca.crt") }, "x509"},
		"no client cert": {redis, func(s *Store) { s.ClientCert = nil }, "redis: "},
		"foreign cert": {redis, func(s *Store) {
			s.ClientCert = &httpclient.ClientCert{Cert: other.path("sidecar.crt"), Key: other.path("sidecar.key")}
		}, "redis: "},
		"plain port": {redis, func(s *Store) {
			s.Addresses, s.Timeout = []string{"rediss://" + redis.addr}, caddy.Duration(50*time.Millisecond)
		}, "redis: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(test.server)
			c.CA, c.ClientCert = a.path("ca.crt"), sidecar
			test.change(c)
			if test.down != "" {
				mustBeDown(t, open(t, c), test.down)
				return
			}
			mustBeUp(t, open(t, c))
		})
	}
}

func TestClientCertificateIsReplaced(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	a.issue(t, "redis", "127.0.0.1")
	other.issue(t, "sidecar")
	server := a.start(t, "redis")
	c := config(server)
	c.CA, c.ClientCert = a.path("ca.crt"), &httpclient.ClientCert{Cert: other.path("sidecar.crt"), Key: other.path("sidecar.key")}
	s := open(t, c)
	mustBeDown(t, s, "redis: ")
	a.dir = other.dir // the same files
	a.issue(t, "sidecar")
	mustBeUp(t, s)
	if err := os.WriteFile(c.ClientCert.Cert, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.do(t, "CLIENT", "KILL", "TYPE", "normal")
	mustBeUp(t, s)
	if _, err := provision(t, c); err == nil {
		t.Error("a configuration with a broken certificate was loaded")
	}
}
