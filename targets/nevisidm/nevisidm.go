// Package nevisidm finds dispatch targets and users in nevisIDM, by its Core
// REST API.
//
// From release 8.2605 a dispatch target is an entity of its own (reference:
// "List dispatch targets"), before it a generic credential (reference: guide
// "Migrating Dispatch Target From Generic Credentials to Dedicated Entities").
// Neither can be asked for by nevisFIDO's id alone, so a request's username
// leads the way. What the reference leaves open is listed in docs/protocol.md.
package nevisidm

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sync/singleflight"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func init() { caddy.RegisterModule(Source{}) }

// Values of the options api and username.
const (
	apiAuto        = "auto"
	apiEntities    = "entities"
	apiCredentials = "credentials"

	usernameExtID   = "ext_id"
	usernameLoginID = "login_id"
)

// Defaults and bounds.
const (
	defaultTimeout     = 3 * time.Second
	defaultMaxResponse = 1 << 20
	largestMaxResponse = 64 << 20

	defaultPath = "/nevisidm"
	corePath    = "/api/core/v1"

	maxLookups = 32 // at a time
)

// Source finds dispatch targets in nevisIDM that the store does not hold, such
// as those that were registered before the sidecar was installed, and repairs
// stale ones. It also knows users' e-mail addresses, mobile numbers and postal
// addresses.
//
// A target is looked for among those of the user that the request names. The
// id is the `extId` of the dispatch target, or the `identification` of the
// generic credential, with or without `dispatch_target_` in front. Only active
// targets count. A request that names no user finds nothing out, and its
// dispatch fails, unless `scan` is set.
//
// nevisIDM is asked on a miss only, once for all who wait for the same target.
// The technical user needs the permissions `AccessControl.CredentialView` (or
// `AccessControl.DispatchTargetView`), for addresses `AccessControl.UserView`,
// with `username login_id` and for `scan` `AccessControl.ClientView` as well.
type Source struct {
	// Where nevisIDM is, such as `https://idm.example.com/nevisidm`;
	// `/api/core/v1/…` is appended. Without a path, `/nevisidm` is meant. Plain
	// http is for this machine only. Placeholders are resolved at load. Needed.
	URL string `json:"url,omitempty"`

	// The external id of the client (tenant) that the users belong to. Needed.
	Client string `json:"client,omitempty"`

	// How to log in. Needed unless `client_cert` is set; both may be.
	Auth *Auth `json:"auth,omitempty"`

	// Where nevisIDM holds dispatch targets: `entities` (from 8.2605),
	// `credentials` (generic credentials, before), or `auto`, which looks for an
	// entity first. Default: `auto`.
	API string `json:"api,omitempty"`

	// What nevisFIDO calls a username: the user's `ext_id` or `login_id`; the
	// latter costs another query. Default: `ext_id`.
	Username string `json:"username,omitempty"`

	// Where a request names no user, search the generic credentials of the
	// whole client, 200 a page and at most 100 pages, one search at a time. For
	// few users; nevisIDM offers this from 7.2405, and for credentials only.
	Scan bool `json:"scan,omitempty"`

	// How long a lookup may take, all its queries together. Default: 3s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The most bytes of one answer of nevisIDM, at most 64 MiB. Default: 1 MiB.
	MaxResponse int64 `json:"max_response,omitempty"`

	httpclient.Options

	base          string // URL up to the API's version, without a trailing slash
	authorize     func(*http.Request)
	transport     *http.Transport
	flights       *singleflight.Group // of targets and users
	lookups       chan struct{}       // one element for each under way
	scans         chan struct{}       // the same
	clientSegment string
}

// CaddyModule returns the Caddy module information.
func (Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  targets.KeySourceNamespace + ".nevisidm",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision checks the options and reads the credentials. It dials nothing.
func (s *Source) Provision(ctx caddy.Context) error {
	logger := ctx.Slogger()
	for _, set := range []func(*slog.Logger) error{s.setURL, s.setClient, s.setAuth, s.setChoices, s.setBounds} {
		if err := set(logger); err != nil {
			return err
		}
	}
	transport, err := httpclient.NewTransport(s.Options, logger)
	if err != nil {
		return err
	}
	s.transport = transport
	s.flights = new(singleflight.Group)
	s.lookups = make(chan struct{}, maxLookups)
	s.scans = make(chan struct{}, 1)
	return nil
}

// CheckOptions implements dispatchers.OptionChecker.
func (s *Source) CheckOptions() error {
	if err := httpclient.CheckURL("url", s.URL, checkService); err != nil {
		return err
	}
	if err := placeholder.Check("client", s.Client, checkClient); err != nil {
		return err
	}
	for _, check := range []func() error{s.checkAuth, func() error { return s.setChoices(nil) }, func() error { return s.setBounds(nil) }} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func checkService(u *url.URL) error {
	path := strings.TrimRight(u.Path, "/")
	switch {
	case u.RawQuery != "" || u.ForceQuery:
		return errors.New("a query has no meaning here: leave it out")
	case strings.HasSuffix(path, "/api") || strings.Contains(path, "/api/core/"):
		return errors.New("leave out /api/…, which is appended")
	}
	return nil
}

func checkClient(name string) error {
	if !validName(name) {
		return errors.New("it is not the external id of a client")
	}
	return nil
}

func (s *Source) setURL(*slog.Logger) error {
	if s.URL == "" {
		return errors.New("the URL of nevisIDM is needed")
	}
	u, err := httpclient.ParseURL("url", s.URL)
	if err != nil {
		return err
	}
	if err := checkService(u); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	if u.Path == "" {
		u.Path = defaultPath
	}
	s.base = u.String() + corePath
	return nil
}

func (s *Source) setClient(*slog.Logger) error {
	if s.Client == "" {
		return errors.New("client <ext_id> is needed")
	}
	client, err := placeholder.Resolve("client", s.Client)
	if err != nil {
		return err
	}
	if err := checkClient(client); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	s.clientSegment = url.PathEscape(client)
	return nil
}

func (s *Source) setChoices(*slog.Logger) error {
	switch s.API {
	case "":
		s.API = apiAuto
	case apiAuto, apiEntities, apiCredentials:
	default:
		return errors.New("api: it is entities, credentials or auto")
	}
	switch s.Username {
	case "":
		s.Username = usernameExtID
	case usernameExtID, usernameLoginID:
	default:
		return errors.New("username: it is ext_id or login_id")
	}
	if s.Scan && s.API == apiEntities {
		return errors.New("scan: nevisIDM lists the generic credentials of a client, not its dispatch target entities; " +
			"take scan away, or api entities")
	}
	return nil
}

func (s *Source) setBounds(*slog.Logger) error {
	switch {
	case s.Timeout < 0:
		return errors.New("timeout: it must be positive")
	case s.Timeout == 0:
		s.Timeout = caddy.Duration(defaultTimeout)
	}
	switch {
	case s.MaxResponse < 0 || s.MaxResponse > largestMaxResponse:
		return fmt.Errorf("max_response: it is a number of bytes up to %d", largestMaxResponse)
	case s.MaxResponse == 0:
		s.MaxResponse = defaultMaxResponse
	}
	return nil
}

// Cleanup closes idle connections. Lookups that are under way go on: a reload
// does not wait for the exchanges of the old configuration.
func (s *Source) Cleanup() error {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return nil
}

// Live implements targets.LiveSource: nevisIDM is where nevisFIDO itself keeps
// dispatch targets.
func (*Source) Live() bool { return true }

// Interface guards
var (
	_ caddy.Provisioner  = (*Source)(nil)
	_ caddy.CleanerUpper = (*Source)(nil)
	_ targets.LiveSource = (*Source)(nil)
	_ targets.UserSource = (*Source)(nil)

	_ dispatchers.OptionChecker = (*Source)(nil)
)
