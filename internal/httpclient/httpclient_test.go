package httpclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = slog.New(slog.DiscardHandler)

// newPair returns the PEM texts of a certificate with this name and its key.
func newPair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	pair, cert, err := double.NewCertificate(double.Certificate{CommonName: name})
	if err != nil {
		t.Fatal(err)
	}
	return cert, double.KeyPEM(pair)
}

// startTLS runs a server that answers with the name in the client's
// certificate, and returns the file to trust it by.
func startTLS(t *testing.T, config *tls.Config) (url, ca string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range r.TLS.PeerCertificates {
			_, _ = io.WriteString(w, c.Subject.CommonName)
		}
	}))
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, testservice.File(t, "ca.pem", pemOf(s.Certificate()))
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// get makes one request on a new transport.
func get(t *testing.T, o Options, url string) (string, error) {
	t.Helper()
	transport, err := NewTransport(&o, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	return fetch(t, transport, url)
}

func fetch(t *testing.T, transport *Transport, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func TestVerificationIsNeverOff(t *testing.T) {
	url, ca := startTLS(t, nil)
	if _, err := get(t, Options{CA: ca}, url); err != nil {
		t.Errorf("a server that is trusted: %v", err)
	}
	_, other := startTLS(t, nil)
	cert, _ := newPair(t, "another")
	testservice.Put(t, other, cert)
	tests := map[string]struct {
		o   Options
		url string
	}{
		"system's certificates": {Options{}, url},
		"another ca":            {Options{CA: other}, url},
		"another name":          {Options{CA: ca}, strings.Replace(url, "127.0.0.1", "localhost", 1)},
	}
	for name, tt := range tests {
		_, err := get(t, tt.o, tt.url)
		if e := Explain("x", err); err == nil || e.Class != dispatchers.Broken || e.Reason != ReasonTLS {
			t.Errorf("%s: got %v, want broken/tls", name, err)
		}
	}

	old, ca := startTLS(t, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if _, err := get(t, Options{CA: ca}, old); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

func TestClientCertificate(t *testing.T) {
	url, ca := startTLS(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert})
	_, err := get(t, Options{CA: ca}, url)
	if e := Explain("x", err); err == nil || e.Reason != ReasonTLS {
		t.Errorf("without a certificate: %v, want broken/tls", err)
	}

	folder := t.TempDir()
	o := Options{CA: ca, ClientCert: &ClientCert{Cert: filepath.Join(folder, "cert.pem"), Key: filepath.Join(folder, "key.pem")}}
	cert, key := newPair(t, "first")
	testservice.Put(t, o.ClientCert.Cert, cert)
	testservice.Put(t, o.ClientCert.Key, key)
	transport, err := NewTransport(&o, silent)
	if err != nil {
		t.Fatal(err)
	}
	want := func(name string) {
		t.Helper()
		got, err := fetch(t, transport, url)
		if err != nil || got != name {
			t.Errorf("presented %q (%v), want %q", got, err, name)
		}
		transport.CloseIdleConnections()
	}
	want("first")
	cert, key = newPair(t, "second")
	testservice.Put(t, o.ClientCert.Cert, cert)
	want("first") // the key of the new certificate is not there yet
	testservice.Put(t, o.ClientCert.Key, key)
	want("second")
}

// provision makes a transport of options as a configuration has them.
func provision(o Options, logger *slog.Logger) error {
	if err := Table.Provision(&o, logger); err != nil {
		return err
	}
	_, err := NewTransport(&o, logger)
	return err
}

func TestOptionsAtLoad(t *testing.T) {
	folder := t.TempDir()
	cert, _ := newPair(t, "one")
	_, key := newPair(t, "another")
	path := func(name string, content []byte) string {
		p := filepath.Join(folder, name)
		testservice.Put(t, p, content)
		return p
	}
	certFile, keyFile, junk := path("cert", cert), path("key", key), path("junk", []byte("canary"))
	t.Setenv("OOB_CA", certFile)
	t.Setenv("OOB_CERT", certFile)
	for name, tt := range map[string]struct {
		o    Options
		want string
	}{
		"placeholder":                {Options{CA: "{env.OOB_CA}"}, ""},
		"proxy without scheme":       {Options{Proxy: "proxy.example.com:3128"}, "proxy: "},
		"proxy without host":         {Options{Proxy: "http://"}, "proxy: "},
		"SOCKS":                      {Options{Proxy: "socks5://canary@proxy.example.com"}, "proxy: "},
		"proxy with bad escape":      {Options{Proxy: "http://u:canary%zz@proxy.example.com"}, "proxy: "},
		"proxy with path":            {Options{Proxy: "http://proxy.example.com/canary"}, "proxy: "},
		"proxy from nowhere":         {Options{Proxy: "{env.OOB_NO_SUCH_PROXY}"}, "proxy: "},
		"file as proxy":              {Options{Proxy: "{env.OOB_CA}"}, "proxy: "},
		"no ca file":                 {Options{CA: filepath.Join(folder, "missing")}, "ca: there is no file"},
		"ca without certificate":     {Options{CA: junk}, "ca: "},
		"no key":                     {Options{ClientCert: &ClientCert{Cert: certFile}}, "client_cert (key): "},
		"no certificate":             {Options{ClientCert: &ClientCert{Key: keyFile}}, "client_cert (certificate): "},
		"certificate is none":        {Options{ClientCert: &ClientCert{Cert: junk, Key: keyFile}}, "client_cert (certificate): "},
		"key of another certificate": {Options{ClientCert: &ClientCert{Cert: "{env.OOB_CERT}", Key: keyFile}}, "do not fit together"},
	} {
		err := provision(tt.o, silent)
		if tt.want == "" && err == nil {
			continue
		}
		if err == nil || tt.want == "" || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want an error with %q that quotes nothing", name, err, tt.want)
		}
	}
}

func TestLiteralProxyPassword(t *testing.T) {
	t.Setenv("OOB_PROXY_PASSWORD", "canary")
	for text, want := range map[string]bool{
		"http://user:canary@proxy.example.com":                   true,
		"http://user:{env.OOB_PROXY_PASSWORD}@proxy.example.com": false,
		"http://proxy.example.com":                               false,
	} {
		var logged bytes.Buffer
		if err := provision(Options{Proxy: text}, slog.New(slog.NewTextHandler(&logged, nil))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(logged.String(), "option=proxy"); got != want || strings.Contains(logged.String(), "canary") {
			t.Errorf("%s: logged %q", text, &logged)
		}
	}
}

func TestProxy(t *testing.T) {
	url, ca := startTLS(t, nil)
	p, err := proxy.Start(proxy.Options{User: "user", Password: "p:ä@"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if _, err := get(t, Options{CA: ca, Proxy: p.URL()}, url); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	_, err = get(t, Options{CA: ca, Proxy: "http://" + p.Addr()}, url)
	if e := Explain("x", err); err == nil || e.Class != dispatchers.Broken || e.Reason != ReasonProxy {
		t.Errorf("without a password: %v, want broken/proxy", err)
	}
	if got := p.Counts(); got != (proxy.Counts{Connects: 1, Refused: 1}) {
		t.Errorf("the proxy saw %+v", got)
	}
	p.Refuse(http.StatusServiceUnavailable)
	_, err = get(t, Options{CA: ca, Proxy: p.URL()}, url)
	if e := Explain("x", err); err == nil || e.Class != dispatchers.Temporary || e.Reason != ReasonProxy {
		t.Errorf("a proxy that fails: %v, want temporary/proxy", err)
	}
	if strings.Contains(Explain("x", err).Error(), "refused 127") {
		t.Error("the error quotes the proxy")
	}
	if direct, err := NewTransport(new(Options), silent); err != nil || direct.Proxy != nil {
		t.Errorf("without the option the environment may name a proxy: %v", err)
	}
}

func TestServiceURL(t *testing.T) {
	for text, want := range map[string]bool{
		"https://fcm.googleapis.com": true, "https://host.example.com:8443/a?b=c": true,
		"http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost": true,
		"http://canary.example.com": false, "http://127.0.0.1.example.com": false, "http://localhost.example.com": false,
		"https://user:canary@example.com": false, "https://example.com/#canary": false, "https:canary": false,
		"//canary.example.com": false, "https://:8443": false, "ftp://canary.example.com": false, "canary": false,
		"https://exa mple.com/canary": false, "": false,
	} {
		_, err := ServiceURL(text)
		if (err == nil) != want || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// text is an error with the other side's words.
type text struct{ error }

func TestOptionsOfACaddyfileAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"proxy http://a:{env.OOB_UNSET}@proxy.example.com": "",
		"proxy canary:3128":                          "proxy: it is not an http or https URL",
		"proxy http://proxy.example.com/canary":      "proxy: a path, query or fragment has no meaning here",
		"ca {file./nowhere}":                         "",
		"ca -----BEGIN":                              "ca: it takes the path of a file",
		"client_cert /cert.pem {canary}":             "client_cert (key): it holds a placeholder that is unknown here",
		"client_cert \"-----BEGIN canary\" /key.pem": "client_cert (certificate): it takes the path of a file",
	} {
		err := Table.Unmarshal(caddyfile.NewTestDispenser("x {\n"+text+"\n}"), new(Options))
		if (err == nil) != (want == "") {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:2") || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestExplain(t *testing.T) {
	deadline, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	_, refused := net.Dial("tcp", listener.Addr().String())
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	_, noTLS := get(t, Options{}, strings.Replace(plain.URL, "http:", "https:", 1))
	tests := []struct {
		name   string
		err    error
		class  dispatchers.Class
		reason string
	}{
		{"deadline", deadline.Err(), dispatchers.Temporary, "timeout"},
		{"canceled", context.Canceled, dispatchers.Temporary, "canceled"},
		{"time-out of a socket", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, dispatchers.Temporary, "timeout"},
		{"nobody there", refused, dispatchers.Temporary, "connection"},
		{"no such host", &net.DNSError{IsNotFound: true}, dispatchers.Temporary, "connection"},
		{"cut off", io.ErrUnexpectedEOF, dispatchers.Temporary, "connection"},
		{"other side's words", text{errors.New("canary")}, dispatchers.Temporary, "connection"},
		{"alert", &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, dispatchers.Broken, "tls"},
		{"no TLS spoken", noTLS, dispatchers.Broken, "tls"},
		{"proxy refuses", &ProxyError{Status: 407}, dispatchers.Broken, "proxy"},
		{"proxy forbids", &ProxyError{Status: 403}, dispatchers.Broken, "proxy"},
		{"proxy overloaded", &ProxyError{Status: 429}, dispatchers.Temporary, "proxy"},
		{"proxy cannot connect", &ProxyError{Status: 502}, dispatchers.Temporary, "proxy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := Explain("doing this", tt.err)
			if e.Class != tt.class || e.Reason != tt.reason {
				t.Errorf("got %s %s, want %s %s", e.Class, e.Reason, tt.class, tt.reason)
			}
			if s := e.Error(); !strings.Contains(s, "doing this: ") || strings.Contains(s, "canary") {
				t.Errorf("the text is %q", s)
			}
		})
	}
}
