package smtp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/internal/wording"
	"github.com/oob-dispatch/oob-dispatch/outbound"
	"github.com/oob-dispatch/oob-dispatch/secrets"
	"github.com/oob-dispatch/oob-dispatch/templates"
)

// The values of tls.
const (
	tlsImplicit = "implicit"
	tlsSTARTTLS = "starttls"
	tlsOff      = "off"
)

var defaultPorts = map[string]string{tlsImplicit: "465", tlsSTARTTLS: "587", tlsOff: "25"}

// DefaultConnections and MaxConnections bound the connections to a server.
const (
	DefaultConnections = 4
	MaxConnections     = 100
)

// sender is the sender of all mails.
type sender struct{ name, address, domain string }

// Provision loads the texts and the credentials. It dials nothing.
func (s *Dispatcher) Provision(ctx caddy.Context) error {
	s.now = time.Now
	if s.Connections == 0 {
		s.Connections = DefaultConnections
	}
	if s.Connections < 1 || s.Connections > MaxConnections {
		return fmt.Errorf("connections: it must be 1 to %d", MaxConnections)
	}
	if err := s.setSender(); err != nil {
		return err
	}
	if err := s.loadTexts(); err != nil {
		return err
	}
	if err := s.setServer(ctx.Slogger()); err != nil {
		return err
	}
	s.pool = newPool(s.server.dial, s.Connections)
	return nil
}

func (s *Dispatcher) setSender() error {
	if s.From == "" {
		return errors.New("from <address> is needed")
	}
	text, err := secrets.Resolve("from", s.From)
	if err != nil {
		return err
	}
	parsed, err := mail.ParseAddress(text)
	if err != nil {
		return errors.New("from: it is no mail address; write login@example.com, or Example Bank <login@example.com>")
	}
	address, err := parseAddress(parsed.Address)
	if err != nil {
		return fmt.Errorf("from: %w", err)
	}
	_, domain, _ := strings.Cut(address, "@")
	s.from = sender{name: parsed.Name, address: address, domain: domain}
	return nil
}

func (s *Dispatcher) loadTexts() error {
	if err := s.Subject.Check(); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	var err error
	s.texts, err = wording.Load(templates.Mail, s.Templates, s.Language)
	return err
}

func (s *Dispatcher) setServer(logger *slog.Logger) error {
	if s.TLS == "" {
		s.TLS = tlsSTARTTLS
	}
	host, address, err := s.parseServer()
	if err != nil {
		return err
	}
	helo, err := s.helo()
	if err != nil {
		return err
	}
	s.server = &server{host: host, address: address, tls: s.TLS, helo: helo}
	if s.TLS == tlsOff {
		return s.checkWithoutTLS(host)
	}
	if s.server.login, err = newLogin(s.Auth, host, logger); err != nil {
		return err
	}
	if s.server.config, err = outbound.NewTLS(s.Options, logger); err != nil {
		return err
	}
	s.server.config.ServerName = host
	s.server.tunnel, err = newTunnel(s.Options, logger)
	return err
}

func (s *Dispatcher) parseServer() (host, address string, err error) {
	port, known := defaultPorts[s.TLS]
	if !known {
		return "", "", fmt.Errorf("tls %q: it is starttls, implicit or off", s.TLS)
	}
	if s.Server == "" {
		return "", "", errors.New("server <host:port> is needed")
	}
	host, err = secrets.Resolve("server", s.Server)
	if err != nil {
		return "", "", err
	}
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	_, ipErr := netip.ParseAddr(host)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if portErr != nil || n == 0 || ipErr != nil && !hostname.MatchString(host) {
		return "", "", errors.New("server: write the host's name or IP address and a port, such as mail.example.com:587")
	}
	return host, net.JoinHostPort(host, port), nil
}

func (s *Dispatcher) checkWithoutTLS(host string) error {
	ip, err := netip.ParseAddr(host)
	local := strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
	switch {
	case !local:
		return errors.New("tls off: this is for a server on this machine only")
	case s.Auth != nil:
		return errors.New("tls off: auth would send the password in clear; use starttls or implicit")
	case s.Options != (outbound.Options{}):
		return errors.New("tls off: proxy, ca and client_cert have no use without TLS")
	}
	return nil
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

func (s *Dispatcher) helo() (string, error) {
	if s.HELO == "" {
		if name, err := os.Hostname(); err == nil && hostname.MatchString(name) {
			return name, nil
		}
		return "localhost", nil
	}
	name, err := secrets.Resolve("helo", s.HELO)
	if err != nil {
		return "", err
	}
	if !hostname.MatchString(name) {
		return "", errors.New("helo: it is not a host name")
	}
	return name, nil
}
