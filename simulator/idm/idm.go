// Package idm is a simulated nevisIDM: as much of its Core REST API as it
// takes to find users and their dispatch targets. It follows the API reference
// of nevisIDM: dispatch targets as entities of their own (from 8.2605) and as
// generic credentials (before), pages with continuation tokens, Basic
// authentication, bearer tokens and client certificates. The names of the
// properties that hold a credential's keys are assumed; docs/protocol.md tells
// what else is.
//
// A Server is safe for concurrent use.
package idm

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// Release is the nevisIDM release to be.
type Release int

const (
	// V8_2605 has entities for dispatch targets, and generic credentials.
	V8_2605 Release = iota
	// V8_2511 has generic credentials only.
	V8_2511
	// LTS21 has them too, but no list of those of a whole client.
	LTS21
)

const (
	client  = "100" // the external id of the only one
	created = 1_767_225_600_000
)

// Options configure a Server. The zero value asks for no login.
type Options struct {
	// Address is where to listen, host:port. Default: a free port of 127.0.0.1.
	Address string
	// ClientCA, PEM certificates, makes the server speak HTTPS and ask for a
	// client certificate that one of them vouches for.
	ClientCA []byte
	// Release is the release to be. Default: V8_2605.
	Release Release
	// Login is what callers have to present. Default: nothing.
	Login Login
	// MaxPage is the most items of a page, whatever is asked for. Default: 100.
	MaxPage int
}

// Login is a user and password for Basic authentication, or a bearer token;
// the zero value lets everybody in.
type Login struct{ Username, Password, Bearer string }

// User is a user of the client.
type User struct {
	ExtID, LoginID        string
	State                 string // default: active
	FirstName, FamilyName string
	Email, Mobile         string
	Address               Address
}

// Address is a postal address, as far as nevisIDM's members are used.
type Address struct{ Street, HouseNumber, PostalCode, City, CountryCode string }

// Target is a dispatch target of a user.
type Target struct {
	ID         string // nevisFIDO's
	ExtID      string // default: the ID
	State      string // default: active
	DeviceID   string
	Name       string
	Address    string // the member target, such as a push token
	Dispatcher string

	// EncryptionKey and SigningKey are JWKs.
	EncryptionKey, SigningKey string

	// Credential keeps the target as a generic credential, as older releases
	// always do.
	Credential bool
}

// Server is a simulated nevisIDM.
type Server struct {
	*double.Server
	options Options

	mu      sync.Mutex
	login   Login
	users   []User
	targets map[string][]Target // by the user's external id
}

// Start runs a nevisIDM without users; Close ends it.
func Start(o Options) (*Server, error) {
	o.MaxPage = cmp.Or(o.MaxPage, 100)
	s := &Server{options: o, login: o.Login, targets: make(map[string][]Target)}
	config, err := clientTLS(o.ClientCA)
	if err != nil {
		return nil, err
	}
	if s.Server, err = double.Listen(o.Address, config); err != nil {
		return nil, err
	}
	double.Serve(s.Server, http.HandlerFunc(s.answer))
	return s, nil
}

// clientTLS returns nil without a CA.
func clientTLS(ca []byte) (*tls.Config, error) {
	if ca == nil {
		return nil, nil
	}
	config, err := double.NewTLS(double.Certificate{CommonName: "simulated nevisIDM"})
	if err != nil {
		return nil, err
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(ca) {
		return nil, errors.New("ClientCA holds no PEM certificate")
	}
	return config, nil
}

// URL is where the server is, as scheme://host:port/nevisidm.
func (s *Server) URL() string { return s.Server.URL() + basePath }

// SetLogin changes what callers have to present.
func (s *Server) SetLogin(l Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login = l
}

// SetUser adds a user, or replaces the one with this external id.
func (s *Server) SetUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.users, func(other User) bool { return other.ExtID == u.ExtID }); i >= 0 {
		s.users[i] = u
		return
	}
	s.users = append(s.users, u)
}

// SetTarget adds a dispatch target to a user, or replaces the one of the same
// ID, kind and state.
func (s *Server) SetTarget(userExtID string, t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Credential = t.Credential || s.options.Release != V8_2605
	list := s.targets[userExtID]
	if i := slices.IndexFunc(list, func(other Target) bool {
		return other.ID == t.ID && other.Credential == t.Credential && other.State == t.State
	}); i >= 0 {
		list[i] = t
		return
	}
	s.targets[userExtID] = append(list, t)
}
