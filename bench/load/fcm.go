package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

// fcm stands for Firebase Cloud Messaging: it accepts every message over TLS and
// HTTP/2, and costs as little as it can. That of simulator/google examines and keeps
// what it gets; here it only gives access tokens.
type fcm struct {
	url         string // for those that can be told where FCM is
	proxy       string // of HTTP, that leads every connection to the double
	credentials string // path of a service account's key file
	ca          string // path of the certificates to trust
}

const fcmHost = "fcm.googleapis.com"

// startFCM starts the double. It ends with the process.
func startFCM(ctx context.Context, folder string) (*fcm, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var trusted []byte
	for _, host := range []string{"", fcmHost} {
		certificate, text, err := double.NewCertificate(double.Certificate{CommonName: "bench", Host: host})
		if err != nil {
			return nil, err
		}
		config.Certificates, trusted = append(config.Certificates, certificate), append(trusted, text...)
	}
	direct, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tunnels, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	for _, l := range []net.Listener{direct, tunnelListener{tunnels}} {
		s := &http.Server{Handler: http.HandlerFunc(acceptMessage), TLSConfig: config.Clone(), ErrorLog: log.New(io.Discard, "", 0)}
		go func() { _ = s.ServeTLS(l, "", "") }()
	}
	f := &fcm{
		url: "https://" + direct.Addr().String(), proxy: "http://" + tunnels.Addr().String(),
		credentials: filepath.Join(folder, "firebase.json"), ca: filepath.Join(folder, "ca.pem"),
	}
	tokens, err := google.Start(google.Options{Project: "bench"})
	if err != nil {
		return nil, err
	}
	return f, errors.Join(os.WriteFile(f.ca, trusted, 0o600), os.WriteFile(f.credentials, tokens.ServiceAccountJSON(), 0o600))
}

func acceptMessage(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"name":"projects/bench/messages/0:1500415314455276%31bd1c9631bd1c96"}`)
}

// tunnelListener answers CONNECT as a proxy does, and is the server itself that
// the tunnel leads to: no byte is copied.
type tunnelListener struct{ net.Listener }

func (l tunnelListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		// The client sends no more than this before it has its answer.
		if _, err = readHead(bufio.NewReader(conn)); err == nil {
			_, err = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		}
		if err == nil {
			return conn, nil
		}
		_ = conn.Close()
	}
}

func pushToken(i int) string {
	return fmt.Sprintf("bench-%d:%s", i, strings.Repeat("APA91b", 23))
}

// startGorush starts gorush (github.com/appleboy/gorush), which sends push messages
// that others have made. It is told by its environment where FCM is.
func startGorush(ctx context.Context, folder, binary string, pushes *fcm) (*server, error) {
	return startServer(ctx, folder, func(address string) (*exec.Cmd, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(folder, "config.yml")
		cmd := exec.CommandContext(ctx, binary, "-c", path)
		cmd.Env = append(os.Environ(), "HTTPS_PROXY="+pushes.proxy, "SSL_CERT_FILE="+pushes.ca)
		return cmd, os.WriteFile(path, fmt.Appendf(nil, `core:
  address: %q
  port: %q
  sync: true
  mode: release
log:
  access_log: %q
  access_level: info
  error_log: %q
android:
  enabled: true
  key_path: %q
`, host, port, filepath.Join(folder, "access.log"), filepath.Join(folder, "error.log"), pushes.credentials), 0o600)
	})
}
