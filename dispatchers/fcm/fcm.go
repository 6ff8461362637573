// Package fcm delivers out-of-band messages through Firebase Cloud Messaging.
//
// The Firebase SDK's client repeats a failed send up to four times, pauses up
// to two minutes and reads answers without bound, and none of that can be
// configured. Attempts are the sidecar's to count, so this package takes the
// SDK's message types and makes the one call to the HTTP v1 API itself.
package fcm

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func init() { caddy.RegisterModule(FCM{}) }

// Defaults and bounds of the options.
const (
	defaultEndpoint = "https://fcm.googleapis.com"
	defaultTitle    = "{oob.notification.title}"
	defaultBody     = "{oob.notification.body}"
	maxTTL          = 28 * 24 * time.Hour // FCM keeps no message longer
)

// FCM delivers push messages to Android and Apple phones by the FCM
// HTTP v1 API. A message carries the out-of-band payload as the data members
// nma_data, nma_data_content_type and nma_data_version, with a visible
// notification. A registration token that FCM calls UNREGISTERED ends the
// target: it is quarantined until it is modified.
//
// Each attempt is exactly one request. A repeated attempt bears the same
// collapse key, so that the phone shows one notification.
type FCM struct {
	// Path of a service account's JSON key file, as Google's console offers
	// it; the type in it must be "service_account". A changed file is used
	// without a restart. Placeholders are resolved at load.
	Credentials string `json:"credentials,omitempty"`

	// Take the credentials from where Google's libraries look: the key file
	// that the environment variable GOOGLE_APPLICATION_CREDENTIALS names, else
	// the metadata server of a machine in Google's cloud, for which `project`
	// is needed. Users' credentials of the gcloud command are not used.
	ApplicationDefault bool `json:"application_default,omitempty"`

	// Firebase project id. It chooses no other project than that of the
	// credentials file: if both are there they must be equal, so that the file
	// of another project is not used by mistake. Default: the one in the file.
	Project string `json:"project,omitempty"`

	// Where FCM is, as scheme://host; /v1/projects/<project>/messages:send is
	// appended. Plain http is for this machine only. Default:
	// https://fcm.googleapis.com.
	Endpoint string `json:"endpoint,omitempty"`

	// Let FCM check messages and deliver none.
	DryRun bool `json:"dry_run,omitempty"`

	// How long FCM and Apple keep a message for a phone that is off, at most
	// 28 days. Default: as long as the token in it lives.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// Title of the notification, a template. Default:
	// {oob.notification.title}. If title and body are empty, a short text
	// that fits the operation is shown: iOS needs a visible notification.
	Title dispatchers.Template `json:"title,omitempty"`

	// Body of the notification, a template. Default: {oob.notification.body}.
	Body dispatchers.Template `json:"body,omitempty"`

	// Do not quarantine a target whose registration token FCM calls
	// UNREGISTERED. The caller learns of it all the same, and the next
	// message is tried.
	KeepUnregistered bool `json:"keep_unregistered,omitempty"`

	httpclient.Options

	sendURL string
	service *httpsend.Service
	oauth   *httpsend.Service
	source  func() *tokenSource             // of the credentials as they are now
	file    *watchedfile.File[*tokenSource] // they come from; nil for none
}

var options = conf.Join(conf.Table[FCM]{
	conf.Path("credentials", func(f *FCM) *string { return &f.Credentials }),
	conf.Flag("application_default", func(f *FCM) *bool { return &f.ApplicationDefault }),
	conf.Placeholder("project", func(f *FCM) *string { return &f.Project }, checkProject),
	conf.URL("endpoint", func(f *FCM) *string { return &f.Endpoint }, checkEndpoint),
	conf.Flag("dry_run", func(f *FCM) *bool { return &f.DryRun }),
	conf.Duration("ttl", func(f *FCM) *caddy.Duration { return &f.TTL }, maxTTL, 0),
	conf.Text("title", func(f *FCM) *dispatchers.Template { return &f.Title }, dispatchers.CheckTemplate),
	conf.Text("body", func(f *FCM) *dispatchers.Template { return &f.Body }, dispatchers.CheckTemplate),
	conf.Flag("keep_unregistered", func(f *FCM) *bool { return &f.KeepUnregistered }),
}, conf.Embed(httpclient.Table, func(f *FCM) *httpclient.Options { return &f.Options }))

// CaddyModule returns the Caddy module information.
func (FCM) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".fcm",
		New: func() caddy.Module { return new(FCM) },
	}
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens.
func (f *FCM) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, f) }

// Check implements conf.Checker.
func (f *FCM) Check() error {
	switch {
	case f.ApplicationDefault && f.Credentials != "":
		return conf.Errorf("application_default", "credentials and application_default exclude each other: remove one")
	case f.Credentials == "" && !f.ApplicationDefault:
		return errors.New("credentials <path> of a service account's key file is needed, or application_default")
	}
	return nil
}

var validProject = regexp.MustCompile(`^[A-Za-z0-9.:-]+$`)

// checkProject reports whether a project id can be part of a path: letters,
// digits, hyphens, and the dots and colon of ids with a domain.
func checkProject(id string) error {
	if !validProject.MatchString(id) || strings.Trim(id, ".") == "" {
		return errors.New("it is not a project id, such as my-bank-12345 (letters, digits, hyphens)")
	}
	return nil
}

func checkEndpoint(endpoint string) error {
	u, err := httpclient.ServiceURL(endpoint)
	switch {
	case err != nil:
		return err
	case u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return errors.New("it must be scheme://host, without a path")
	}
	return nil
}

// Provision reads the credentials. It dials nothing.
func (f *FCM) Provision(ctx caddy.Context) error {
	logger := dispatchers.Logger(ctx)
	err := options.Provision(f, logger)
	if err != nil {
		return err
	}
	f.Title, f.Body = cmp.Or(f.Title, defaultTitle), cmp.Or(f.Body, defaultBody)
	transport, err := httpclient.NewTransport(&f.Options, logger)
	if err != nil {
		return err
	}
	f.service = &httpsend.Service{Name: "FCM", Doing: "sending to FCM", Statuses: statuses, ReadsBody: true, Transport: transport}
	f.oauth = &httpsend.Service{
		Name: "Google's token service", Doing: "fetching an access token", Statuses: oauthStatuses, ReadsBody: true, Transport: transport,
	}
	if err := f.loadCredentials(logger); err != nil {
		return err
	}
	f.sendURL = strings.TrimSuffix(cmp.Or(f.Endpoint, defaultEndpoint), "/") + "/v1/projects/" + f.Project + "/messages:send"
	if f.DryRun {
		logger.Warn("dry_run: FCM checks the messages of this dispatcher and delivers none")
	}
	return nil
}

// Cleanup closes the connections that are idle, and the others when their
// requests have ended: those of the old configuration still get access tokens.
func (f *FCM) Cleanup() error {
	f.service.Close()
	f.oauth.Close()
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (*FCM) Traits() dispatchers.Traits {
	return dispatchers.Traits{PayloadOnly: true, BuiltIn: nevisfido.BuiltInFCM}
}

// Dispatch implements dispatchers.Dispatcher.
func (f *FCM) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	body, err := f.encode(m, time.Now())
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	if err := f.send(ctx, body); err != nil {
		return dispatchers.Receipt{}, err
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// Probe fetches an access token and has FCM refuse a message to nobody: that
// FCM looks at it at all proves that the project, the service account and the
// way there are in order. Nothing is sent.
func (f *FCM) Probe(ctx context.Context) error {
	err := f.send(ctx, []byte(`{"validate_only":true,"message":{"token":"oob-dispatch-check"}}`))
	if e, ok := errors.AsType[*dispatchers.Error](err); ok && e.Reason == reasonInvalidArgument {
		return nil
	}
	return err
}

// LoadedCredentials implements dispatchers.CredentialHolder.
func (f *FCM) LoadedCredentials() []dispatchers.Credential {
	all := f.Options.LoadedCredentials()
	if f.file != nil {
		all = append(all, dispatchers.Credential{Option: "credentials", Err: f.file.Err()})
	}
	return all
}

// Interface guards
var (
	_ caddy.Provisioner            = (*FCM)(nil)
	_ caddy.CleanerUpper           = (*FCM)(nil)
	_ caddyfile.Unmarshaler        = (*FCM)(nil)
	_ dispatchers.Dispatcher       = (*FCM)(nil)
	_ dispatchers.CredentialHolder = (*FCM)(nil)
	_ conf.Checker                 = (*FCM)(nil)
)
