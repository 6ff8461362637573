package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // reverse_proxy and all

	_ "github.com/oob-dispatch/oob-dispatch" // the module
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

//go:embed Caddyfile
var caddyfile string

const visualCodeDigits = 4

// A stack is everything on one machine: Caddy with the module, and the
// simulated parties around it.
type stack struct {
	address string // of Caddy, host:port
	nevis   *nevis.Server
	google  *google.Server
	folder  string
}

// start runs the stack, Caddy on the given address.
func start(address string, mode nevis.Mode, logLevel string) (s *stack, err error) {
	s = &stack{address: address, nevis: nevis.New(nevis.Options{Mode: mode})}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	nevisURL, err := s.nevis.Start()
	if err != nil {
		return s, fmt.Errorf("starting the simulated nevisFIDO: %w", err)
	}
	if s.google, err = google.Start(google.Options{}); err != nil {
		return s, fmt.Errorf("starting the simulated Google: %w", err)
	}
	if s.folder, err = os.MkdirTemp("", "oob-dispatch-demo-"); err != nil {
		return s, err
	}
	credentials := filepath.Join(s.folder, "firebase.json")
	if err := os.WriteFile(credentials, s.google.ServiceAccountJSON(), 0o600); err != nil {
		return s, err
	}
	return s, load(map[string]any{
		"Address": address, "LogLevel": logLevel, "VisualCode": visualCodeDigits,
		"Storage": filepath.Join(s.folder, "storage"), "Credentials": credentials,
		"Google": s.google.URL(), "NevisFIDO": strings.TrimPrefix(nevisURL, "http://"),
	})
}

// load starts Caddy in this process with the embedded Caddyfile.
func load(values map[string]any) error {
	var text bytes.Buffer
	if err := template.Must(template.New("Caddyfile").Parse(caddyfile)).Execute(&text, values); err != nil {
		return err
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(text.Bytes(), nil)
	if err != nil {
		return fmt.Errorf("adapting the Caddyfile: %w", err)
	}
	for _, w := range warnings {
		log.Print(w)
	}
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("starting Caddy: %w", err)
	}
	return nil
}

// stop ends everything and removes the folder.
func (s *stack) stop() {
	if err := caddy.Stop(); err != nil {
		log.Print(err)
	}
	if s.google != nil {
		s.google.Close()
	}
	if err := s.nevis.Close(); err != nil {
		log.Print(err)
	}
	if s.folder != "" {
		if err := os.RemoveAll(s.folder); err != nil {
			log.Print(err)
		}
	}
}

func (s *stack) url() string { return "http://" + s.address }

// post is the relying party's call.
func (s *stack) post(ctx context.Context, path, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url()+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("POST %s: status %d", path, response.StatusCode)
	}
	return answer, nil
}

// freeAddress finds a free port of the loopback interface.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := l.Addr().String()
	return address, l.Close()
}
