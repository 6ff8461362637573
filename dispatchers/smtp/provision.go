package smtp

import (
	"cmp"
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

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/internal/wording"
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
	if err := s.CheckOptions(); err != nil {
		return err
	}
	s.TLS = cmp.Or(s.TLS, tlsSTARTTLS)
	s.Connections = cmp.Or(s.Connections, DefaultConnections)
	from, err := placeholder.Resolve("from", s.From)
	if err != nil {
		return err
	}
	if s.from, err = parseSender(from); err != nil {
		return fmt.Errorf("from: %w", err)
	}
	if s.texts, err = wording.Load(texts.Mail, s.Templates, s.Language); err != nil {
		return err
	}
	if err := s.setServer(dispatchers.Logger(ctx)); err != nil {
		return err
	}
	s.pool = newPool(s.server.dial, s.Connections)
	return nil
}

// CheckOptions implements dispatchers.OptionChecker.
func (s *Dispatcher) CheckOptions() error {
	switch {
	case s.Server == "":
		return errors.New("server <host:port> is needed, such as: server mail.example.com:587")
	case s.From == "":
		return errors.New("from <address> is needed, such as: from login@example.com")
	case s.Connections < 0 || s.Connections > MaxConnections:
		return fmt.Errorf("connections: it must be 1 to %d", MaxConnections)
	}
	for _, check := range []func() error{
		func() error { return checkTLS(s.TLS) },
		func() error { return checkServer(s.Server) },
		func() error { return checkSubject(string(s.Subject)) },
		func() error { return wording.Check(texts.Mail, s.Templates, s.Language) },
		s.checkAuth,
		s.checkWithoutTLS,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func checkSubject(subject string) error {
	if err := dispatchers.Template(subject).Check(); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	return nil
}

func checkFrom(from string) error {
	return placeholder.Check("from", from, func(value string) error {
		_, err := parseSender(value)
		return err
	})
}

func parseSender(text string) (sender, error) {
	parsed, err := mail.ParseAddress(text)
	if err != nil {
		return sender{}, errors.New("it is no mail address; write login@example.com, or \"Example Bank <login@example.com>\"")
	}
	address, err := parseAddress(parsed.Address)
	if err != nil {
		return sender{}, err
	}
	_, domain, _ := strings.Cut(address, "@")
	return sender{name: parsed.Name, address: address, domain: domain}, nil
}

func checkTLS(mode string) error {
	if defaultPorts[mode] == "" && mode != "" {
		return fmt.Errorf("tls %q: it is starttls, implicit or off", mode)
	}
	return nil
}

func checkServer(server string) error {
	return placeholder.Check("server", server, func(value string) error {
		_, _, err := parseServer(value, defaultPorts[tlsSTARTTLS])
		return err
	})
}

func (s *Dispatcher) checkAuth() error {
	switch {
	case s.Auth == nil:
		return nil
	case s.Auth.Username == "":
		return fmt.Errorf("%s: it is empty", optionUser)
	case s.Auth.Password == "":
		return fmt.Errorf("%s: it is empty", optionPassword)
	}
	return checkAuthType(s.Auth.Type)
}

func (s *Dispatcher) setServer(logger *slog.Logger) error {
	text, err := placeholder.Resolve("server", s.Server)
	if err != nil {
		return err
	}
	host, address, err := parseServer(text, defaultPorts[s.TLS])
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	helo, err := s.helo()
	if err != nil {
		return err
	}
	s.server = &server{host: host, address: address, tls: s.TLS, helo: helo}
	if s.TLS == tlsOff {
		return checkLocal(host)
	}
	if s.server.login, err = newLogin(s.Auth, host, logger); err != nil {
		return err
	}
	if s.server.config, err = httpclient.NewTLS(s.Options, logger); err != nil {
		return err
	}
	s.server.config.ServerName = host
	s.server.tunnel, err = newTunnel(s.Options, logger)
	return err
}

func parseServer(text, port string) (host, address string, err error) {
	host = text
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	_, ipErr := netip.ParseAddr(host)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if portErr != nil || n == 0 || ipErr != nil && !hostname.MatchString(host) {
		return "", "", errors.New("write the host's name or IP address and a port, such as mail.example.com:587")
	}
	return host, net.JoinHostPort(host, port), nil
}

// checkWithoutTLS refuses what tls off does not go with.
func (s *Dispatcher) checkWithoutTLS() error {
	switch {
	case s.TLS != tlsOff:
		return nil
	case s.Auth != nil:
		return errors.New("tls off: auth would send the password in clear; use starttls or implicit")
	case s.Options != (httpclient.Options{}):
		return errors.New("tls off: proxy, ca and client_cert have no use without TLS")
	}
	return placeholder.Check("server", s.Server, func(value string) error {
		host, _, err := parseServer(value, defaultPorts[tlsOff])
		if err != nil {
			return err
		}
		return checkLocal(host)
	})
}

func checkLocal(host string) error {
	ip, err := netip.ParseAddr(host)
	if strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return errors.New("tls off is for a server on this machine only; use starttls or implicit")
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

func (s *Dispatcher) helo() (string, error) {
	if s.HELO == "" {
		if name, err := os.Hostname(); err == nil && hostname.MatchString(name) {
			return name, nil
		}
		return "localhost", nil
	}
	name, err := placeholder.Resolve("helo", s.HELO)
	if err != nil {
		return "", err
	}
	if err := validHELO(name); err != nil {
		return "", fmt.Errorf("helo: %w", err)
	}
	return name, nil
}

func checkHELO(name string) error { return placeholder.Check("helo", name, validHELO) }

func validHELO(name string) error {
	if !hostname.MatchString(name) {
		return errors.New("it is not a host name, such as sidecar.example.com")
	}
	return nil
}
