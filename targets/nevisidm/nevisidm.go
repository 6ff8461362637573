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
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
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

	base      string // URL up to the API's version, without a trailing slash
	authorize func(*http.Request)
	secret    *watchedfile.Secret // of Auth; nil for none
	transport *httpclient.Transport
	flights   *singleflight.Group // of targets and users
	lookups   *semaphore.Weighted
	scans     *semaphore.Weighted
}

var options = conf.Join(conf.Table[Source]{
	conf.Argument(conf.URL("url", func(s *Source) *string { return &s.URL }, checkURL)),
	conf.Placeholder("client", func(s *Source) *string { return &s.Client }, checkClient),
	conf.Resolved(conf.Custom("auth", readAuth, nil), (*Source).setAuth),
	conf.OneOf("api", func(s *Source) *string { return &s.API }, apiEntities, apiCredentials, apiAuto),
	conf.OneOf("username", func(s *Source) *string { return &s.Username }, usernameExtID, usernameLoginID),
	conf.Flag("scan", func(s *Source) *bool { return &s.Scan }),
	conf.Duration("timeout", func(s *Source) *caddy.Duration { return &s.Timeout }, 0, defaultTimeout),
	conf.Size("max_response", func(s *Source) *int64 { return &s.MaxResponse }, 1, largestMaxResponse, defaultMaxResponse),
}, conf.Embed(httpclient.Table, func(s *Source) *httpclient.Options { return &s.Options }))

// CaddyModule returns the Caddy module information.
func (Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  targets.KeySourceNamespace + ".nevisidm",
		New: func() caddy.Module { return new(Source) },
	}
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	nevisidm <url> {
//		client       <ext_id>
//		auth         basic <user> <password> | bearer <token>
//		api          auto|entities|credentials
//		username     ext_id|login_id
//		scan
//		timeout      <duration>
//		max_response <size>
//		proxy        <url>
//		ca           <file>
//		client_cert  <cert_file> <key_file>
//	}
//
// client is needed, and auth or client_cert.
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, s) }

// Check implements conf.Checker.
func (s *Source) Check() error {
	switch {
	case s.URL == "":
		return conf.Errorf("url", "the URL of nevisIDM is needed")
	case s.Client == "":
		return conf.Errorf("client", "client <ext_id> is needed")
	case s.Auth == nil && s.ClientCert == nil:
		return conf.Errorf("auth", "auth is needed, such as: auth basic <user> {file./path}, or client_cert")
	case s.Auth != nil && (s.Auth.Bearer == "") == (s.Auth.Username == "" && s.Auth.Password == ""):
		return conf.Errorf("auth", "auth: it is either basic <user> <password> or bearer <token>")
	case s.Scan && s.API == apiEntities:
		return conf.Errorf("scan", "scan: nevisIDM lists the generic credentials of a client, not its dispatch target entities; "+
			"take scan away, or api entities")
	}
	return nil
}

func checkURL(value string) error {
	u, err := httpclient.ServiceURL(value)
	if err != nil {
		return err
	}
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

// Provision checks the options and reads the credentials. It dials nothing.
func (s *Source) Provision(ctx caddy.Context) error {
	logger := ctx.Slogger()
	if err := options.Provision(s, logger); err != nil {
		return err
	}
	s.API, s.Username = cmp.Or(s.API, apiAuto), cmp.Or(s.Username, usernameExtID)
	u, err := url.Parse(s.URL)
	if err != nil {
		return err
	}
	u.Path, u.RawPath = cmp.Or(strings.TrimRight(u.Path, "/"), defaultPath), ""
	s.base = u.String() + corePath
	if s.transport, err = httpclient.NewTransport(&s.Options, logger); err != nil {
		return err
	}
	s.flights, s.lookups, s.scans = new(singleflight.Group), semaphore.NewWeighted(maxLookups), semaphore.NewWeighted(1)
	return nil
}

// Cleanup closes the connections when the last lookup has ended: a reload does
// not wait for the exchanges of the old configuration.
func (s *Source) Cleanup() error {
	if s.transport != nil {
		s.transport.Close()
	}
	return nil
}

// Live implements targets.LiveSource: nevisIDM is where nevisFIDO itself keeps
// dispatch targets.
func (*Source) Live() bool { return true }

// probedUser is the name of a user that cannot exist.
const probedUser = "oob-dispatch-check"

// Probe implements dispatchers.Prober: nevisIDM is asked for a user that cannot
// exist, and has to say so.
func (s *Source) Probe(ctx context.Context) error {
	if _, err := s.user(ctx, probedUser); err != nil && !errors.Is(err, targets.ErrNotFound) {
		return err
	}
	return nil
}

// LoadedCredentials implements dispatchers.CredentialHolder.
func (s *Source) LoadedCredentials() []dispatchers.Credential {
	all := s.Options.LoadedCredentials()
	if s.secret != nil {
		all = append(all, dispatchers.Credential{Option: "auth", Err: s.secret.Err()})
	}
	return all
}

// Interface guards
var (
	_ caddy.Provisioner            = (*Source)(nil)
	_ dispatchers.Prober           = (*Source)(nil)
	_ caddy.CleanerUpper           = (*Source)(nil)
	_ caddyfile.Unmarshaler        = (*Source)(nil)
	_ conf.Checker                 = (*Source)(nil)
	_ targets.LiveSource           = (*Source)(nil)
	_ targets.UserSource           = (*Source)(nil)
	_ dispatchers.CredentialHolder = (*Source)(nil)
)
