package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"text/template"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // reverse_proxy and all

	_ "github.com/oob-dispatch/oob-dispatch" // the module
	"github.com/oob-dispatch/oob-dispatch/dispatchers/webpush"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
	"github.com/oob-dispatch/oob-dispatch/simulator/pushservice"
)

//go:embed Caddyfile
var caddyfile string

const visualCodeDigits = 4

// A stack is everything on one machine: Caddy with the module, and the
// simulated parties around it.
type stack struct {
	address string // of Caddy, host:port
	folder  string // for what Caddy keeps and reads
	files   string // where files go that a Caddyfile names, with --only

	nevis   *nevis.Server
	google  *google.Server
	mail    *mail.Server
	gateway *gateway.Server
	browser *pushservice.Server
	idm     *idm.Server // with --only
	vapid   string      // the public key that browsers subscribe with
	page    *page
}

// start runs the stack, Caddy on the given address.
func start(address string, mode nevis.Mode, logLevel string) (s *stack, err error) {
	site, host, err := siteOf(address)
	if err != nil {
		return nil, err
	}
	if err := unused(address); err != nil {
		return nil, err
	}
	s = &stack{address: address}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.nevis, err = nevis.Start(nevis.Options{Mode: mode}); err != nil {
		return s, fmt.Errorf("starting the simulated nevisFIDO: %w", err)
	}
	if s.folder, err = os.MkdirTemp("", "oob-dispatch-demo-"); err != nil {
		return s, err
	}
	hash := rand.Text() + rand.Text()
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(rand.Text()+rand.Text()))
	if err := s.startThirdParties(secret); err != nil {
		return s, err
	}
	if err := s.writeFiles(secret, hash); err != nil {
		return s, err
	}
	if s.page, err = startPage(s, hash, mode); err != nil {
		return s, err
	}
	gone := s.google.Register()
	s.google.Unregister(gone)
	return s, load(map[string]any{
		"Site": site, "Host": host, "LogLevel": logLevel, "VisualCode": visualCodeDigits,
		"Folder": s.folder, "Storage": s.storage(),
		"Google": s.google.URL(), "GoneToken": gone,
		"Mail": s.mail.Addr(), "Gateway": s.gateway.URL(), "PushService": s.browser.Host(),
		"Page": s.page.addr(),
	})
}

// startThirdParties starts what the messages pass through.
func (s *stack) startThirdParties(secret string) (err error) {
	if s.google, err = google.Start(google.Options{}); err != nil {
		return fmt.Errorf("starting the simulated Google: %w", err)
	}
	if s.mail, err = mail.Start(mail.Options{}); err != nil {
		return fmt.Errorf("starting the simulated mail server: %w", err)
	}
	if s.gateway, err = gateway.Start(gateway.Options{Secrets: []string{secret}}); err != nil {
		return fmt.Errorf("starting the simulated SMS gateway: %w", err)
	}
	if s.browser, err = pushservice.Start(); err != nil {
		return fmt.Errorf("starting the simulated push service: %w", err)
	}
	return nil
}

// writeFiles writes what the Caddyfile names.
func (s *stack) writeFiles(secret, hash string) error {
	vapid, err := webpush.NewVAPID("mailto:login@bank.example.com")
	if err != nil {
		return err
	}
	var public struct {
		Key string `json:"publicKey"`
	}
	if err := json.Unmarshal(vapid, &public); err != nil {
		return err
	}
	s.vapid = public.Key
	if err := os.Mkdir(filepath.Join(s.folder, "letters"), 0o700); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"firebase.json":  s.google.ServiceAccountJSON(),
		"mail-ca.pem":    s.mail.CA(),
		"push-ca.pem":    s.browser.CA(),
		"vapid.json":     vapid,
		"webhook-secret": []byte(secret),
		"hash.key":       []byte(hash),
	} {
		if err := os.WriteFile(filepath.Join(s.folder, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
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

// stop ends everything. The page goes first: its events
// would have Caddy wait.
func (s *stack) stop() {
	if s.page != nil {
		s.page.Close()
	}
	if err := caddy.Stop(); err != nil {
		log.Print(err)
	}
	s.close()
}

// close ends the simulated parties and removes the folder.
func (s *stack) close() {
	for _, party := range []interface{ Close() }{s.nevis, s.google, s.mail, s.gateway, s.browser, s.idm} {
		if !reflect.ValueOf(party).IsNil() {
			party.Close()
		}
	}
	if s.folder != "" {
		if err := os.RemoveAll(s.folder); err != nil {
			log.Print(err)
		}
	}
}

func (s *stack) url() string { return "http://" + s.address }

// siteOf returns the addresses of a site in a Caddyfile, and where it binds. A
// site on the loopback interface answers to that host and to localhost only, so
// that no page of another site reaches it under a name of its own.
func siteOf(address string) (sites, host string, err error) {
	host, port, err := net.SplitHostPort(address)
	if n, numberErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || numberErr != nil || n == 0 {
		return "", "", fmt.Errorf("--listen %s: it takes host:port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all interfaces", address)
	}
	host = strings.TrimSuffix(address, ":"+port) // as in a URL
	switch {
	case !isLoopback(strings.Trim(host, "[]")):
		return "http://:" + port, host, nil
	case host == "localhost":
		return "http://" + address, host, nil
	}
	return "http://" + address + ", http://localhost:" + port, host, nil
}

// unused returns an error if another program listens on an address. Caddy would
// share it, and each of two demos would get some of the requests.
func unused(address string) error {
	l, err := net.Listen("tcp", address) //nolint:noctx // it ends at once
	if err != nil {
		return fmt.Errorf("--listen %s cannot be used: %w", address, err)
	}
	return l.Close()
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
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
