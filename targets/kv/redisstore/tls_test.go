package redisstore

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// certificate writes <name>.crt and <name>.key to a folder: a certificate that
// stands for itself. Without a host it is for this machine.
func certificate(t *testing.T, dir, name, host string) *httpclient.ClientCert {
	t.Helper()
	made, cert, err := double.NewCertificate(double.Certificate{CommonName: name, Host: host})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	files := &httpclient.ClientCert{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	if err := errors.Join(err,
		os.WriteFile(files.Cert, cert, 0o600),
		os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return files
}

// startTLS starts a server that takes the connections of one client.
func startTLS(t *testing.T, own, client *httpclient.ClientCert) *server {
	t.Helper()
	port := freePort(t)
	s := start(t, "--tls-port", port, "--tls-cert-file", own.Cert, "--tls-key-file", own.Key, "--tls-ca-cert-file", client.Cert)
	s.url = "rediss://" + net.JoinHostPort("127.0.0.1", port)
	return s
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	byAddress, byName := certificate(t, dir, "redis", ""), certificate(t, dir, "named", "redis.example.com")
	sidecar, foreign := certificate(t, dir, "sidecar", ""), certificate(t, dir, "foreign", "")
	redis, named := startTLS(t, byAddress, sidecar), startTLS(t, byName, sidecar)
	for name, test := range map[string]struct {
		server *server
		ca     string
		change func(*Store)
		down   string // "" if it works
	}{
		"good":           {redis, byAddress.Cert, func(*Store) {}, ""},
		"server name":    {named, byName.Cert, func(s *Store) { s.ServerName = "redis.example.com" }, ""},
		"wrong name":     {named, byName.Cert, func(*Store) {}, "x509"},
		"CA not trusted": {redis, "", func(*Store) {}, "x509"},
		"another CA":     {redis, foreign.Cert, func(*Store) {}, "x509"},
		"no client cert": {redis, byAddress.Cert, func(s *Store) { s.ClientCert = nil }, "redis: "},
		"foreign cert":   {redis, byAddress.Cert, func(s *Store) { s.ClientCert = foreign }, "redis: "},
		"plain port": {redis, byAddress.Cert, func(s *Store) {
			s.Addresses, s.Timeout = []string{"rediss://" + redis.Address}, caddy.Duration(50*time.Millisecond)
		}, "redis: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(test.server)
			c.CA, c.ClientCert = test.ca, sidecar
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
	dir, later := t.TempDir(), t.TempDir()
	own, used, good := certificate(t, dir, "redis", ""), certificate(t, dir, "sidecar", ""), certificate(t, later, "sidecar", "")
	server := startTLS(t, own, good)
	c := config(server)
	c.CA, c.ClientCert = own.Cert, used
	s := open(t, c)
	mustBeDown(t, s, "redis: ")
	if err := errors.Join(os.Rename(good.Cert, used.Cert), os.Rename(good.Key, used.Key)); err != nil {
		t.Fatal(err)
	}
	mustBeUp(t, s)
	if err := os.WriteFile(used.Cert, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.do(t, "CLIENT", "KILL", "TYPE", "normal")
	mustBeUp(t, s)
	if _, err := provision(t, c); err == nil {
		t.Error("a configuration with a broken certificate was loaded")
	}
}
