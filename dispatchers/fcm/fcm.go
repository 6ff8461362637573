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
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func init() {
	caddy.RegisterModule(Dispatcher{})
}

// Defaults and bounds of the options.
const (
	DefaultEndpoint = "https://fcm.googleapis.com"
	DefaultTitle    = "{oob.notification.title}"
	DefaultBody     = "{oob.notification.body}"
	MaxTTL          = 28 * 24 * time.Hour // FCM keeps no message longer
)

// Dispatcher delivers push messages to Android and Apple phones by the FCM
// HTTP v1 API. A message carries the out-of-band payload as the data members
// nma_data, nma_data_content_type and nma_data_version, beside a visible
// notification. A registration token that FCM calls UNREGISTERED ends the
// target: it is quarantined until it is modified.
//
// Each attempt is exactly one request. A repeated attempt bears the same
// collapse key, so that the phone shows one notification.
type Dispatcher struct {
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
	Title string `json:"title,omitempty"`

	// Body of the notification, a template. Default: {oob.notification.body}.
	Body string `json:"body,omitempty"`

	// Do not quarantine a target whose registration token FCM calls
	// UNREGISTERED. The caller learns of it all the same, and the next
	// message is tried.
	KeepUnregistered bool `json:"keep_unregistered,omitempty"`

	httpclient.Options

	sendURL   string
	source    func() tokenSource
	tokens    *tokenCache
	transport *http.Transport
	metadata  *http.Transport
}

// CaddyModule returns the Caddy module information.
func (Dispatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".fcm",
		New: func() caddy.Module { return new(Dispatcher) },
	}
}

// Provision reads the credentials. It dials nothing.
func (f *Dispatcher) Provision(ctx caddy.Context) error {
	logger := dispatchers.Logger(ctx)
	if err := f.CheckOptions(); err != nil {
		return err
	}
	f.setDefaults()
	if err := f.loadCredentials(logger); err != nil {
		return err
	}
	if err := f.setSendURL(); err != nil {
		return err
	}
	transport, err := httpclient.NewTransport(f.Options, logger)
	if err != nil {
		return err
	}
	f.transport = transport
	f.tokens = newTokenCache(transport)
	if f.DryRun {
		logger.Warn("dry_run: FCM checks the messages of this dispatcher and delivers none")
	}
	return nil
}

// CheckOptions implements dispatchers.OptionChecker.
func (f *Dispatcher) CheckOptions() error {
	switch {
	case f.ApplicationDefault && f.Credentials != "":
		return errors.New("credentials and application_default exclude each other: remove one")
	case f.Credentials == "" && !f.ApplicationDefault:
		return errors.New("credentials <path> of a service account's key file is needed, or application_default")
	case f.TTL < 0 || time.Duration(f.TTL) > MaxTTL:
		return errors.New("ttl: it must be positive and at most 28 days")
	}
	if err := checkTitle(f.Title); err != nil {
		return err
	}
	return checkBody(f.Body)
}

func checkTitle(title string) error {
	if err := dispatchers.Template(title).Check(); err != nil {
		return fmt.Errorf("title: %w", err)
	}
	return nil
}

func checkBody(body string) error {
	if err := dispatchers.Template(body).Check(); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

func checkProject(project string) error {
	return placeholder.Check("project", project, func(id string) error {
		if !validProject(id) {
			return errNoProject
		}
		return nil
	})
}

var errNoProject = errors.New("it is not a project id, such as my-bank-12345 (letters, digits, hyphens)")

func checkEndpoint(endpoint string) error {
	return httpclient.CheckURL("endpoint", endpoint, plainEndpoint)
}

func plainEndpoint(u *url.URL) error {
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return errors.New("it must be scheme://host, without a path")
	}
	return nil
}

func (f *Dispatcher) setDefaults() {
	f.Title = cmp.Or(f.Title, DefaultTitle)
	f.Body = cmp.Or(f.Body, DefaultBody)
	f.Endpoint = cmp.Or(f.Endpoint, DefaultEndpoint)
}

func (f *Dispatcher) loadCredentials(logger *slog.Logger) error {
	if f.Project != "" {
		project, err := placeholder.Resolve("project", f.Project)
		if err != nil {
			return err
		}
		f.Project = project
	}
	if f.Credentials != "" {
		path, err := placeholder.ResolvePath("credentials", f.Credentials)
		if err != nil {
			return err
		}
		return f.openServiceAccount("credentials", path, logger)
	}
	if path := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"); path != "" {
		return f.openServiceAccount("application_default", path, logger)
	}
	if f.Project == "" {
		return errors.New("project <id> is needed: GOOGLE_APPLICATION_CREDENTIALS names no file that could tell it")
	}
	metadata, err := httpclient.NewTransport(httpclient.Options{}, logger)
	if err != nil {
		return err
	}
	f.metadata = metadata
	server := newMetadataServer(metadata)
	f.source = func() tokenSource { return server }
	return nil
}

func (f *Dispatcher) openServiceAccount(option, path string, logger *slog.Logger) error {
	parse := func(content []byte) (*serviceAccount, error) { return parseServiceAccount(content, f.Project) }
	file, err := watchedfile.Open(option, path, parse, logger)
	if err != nil {
		return err
	}
	f.Project = file.Value().project
	f.source = func() tokenSource { return file.Value() }
	return nil
}

func (f *Dispatcher) setSendURL() error {
	if !validProject(f.Project) {
		return fmt.Errorf("project: %w", errNoProject)
	}
	u, err := httpclient.ParseURL("endpoint", f.Endpoint)
	if err != nil {
		return err
	}
	if err := plainEndpoint(u); err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	f.sendURL = u.Scheme + "://" + u.Host + "/v1/projects/" + f.Project + "/messages:send"
	return nil
}

// Cleanup closes idle connections. When a configuration is replaced, the
// requests of the old one go on for a while: they still get access tokens.
func (f *Dispatcher) Cleanup() error {
	for _, t := range []*http.Transport{f.transport, f.metadata} {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (*Dispatcher) Traits() dispatchers.Traits {
	return dispatchers.Traits{PayloadOnly: true, BuiltIn: nevisfido.BuiltInFCM}
}

// Dispatch implements dispatchers.Dispatcher.
func (f *Dispatcher) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	body, err := f.encode(m, time.Now())
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	if err := f.send(ctx, body); err != nil {
		return dispatchers.Receipt{}, err
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// Check fetches an access token and has FCM refuse a message to nobody: that
// FCM looks at it at all proves that the project, the service account and the
// way there are in order. Nothing is sent.
func (f *Dispatcher) Check(ctx context.Context) error {
	err := f.send(ctx, checkRequest())
	if e, ok := errors.AsType[*dispatchers.Error](err); ok && e.Reason == reasonInvalidArgument {
		return nil
	}
	return err
}

// Interface guards
var (
	_ caddy.Provisioner         = (*Dispatcher)(nil)
	_ caddy.CleanerUpper        = (*Dispatcher)(nil)
	_ dispatchers.Dispatcher    = (*Dispatcher)(nil)
	_ dispatchers.OptionChecker = (*Dispatcher)(nil)
)
