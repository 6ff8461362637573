package fcm

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

const (
	// scope is what the service account needs to be allowed.
	scope = "https://www.googleapis.com/auth/firebase.messaging"
	// defaultTokenURI is Google's token endpoint, for key files without one.
	defaultTokenURI = "https://oauth2.googleapis.com/token" //nolint:gosec // no secret
	// assertionLifetime is the longest that Google takes.
	assertionLifetime = time.Hour
	// clockSkew is how far this machine's clock may be ahead of Google's.
	clockSkew = 10 * time.Second
	// metadataHost is where every machine in Google's cloud finds the metadata
	// server, unless GCE_METADATA_HOST names another.
	metadataHost = "169.254.169.254"
)

func (f *FCM) loadCredentials(logger *slog.Logger) error {
	option, path := "credentials", f.Credentials
	if path == "" {
		option, path = "application_default", os.Getenv("GOOGLE_APPLICATION_CREDENTIALS")
	}
	if path != "" {
		file, err := watchedfile.Open(option, path, func(content []byte) (*tokenSource, error) {
			return parseServiceAccount(content, f.Project, f.oauth)
		}, logger)
		if err != nil {
			return err
		}
		f.Project, f.source, f.file = file.Value().project, file.Value, file
		return checkProject(f.Project)
	}
	if f.Project == "" {
		return errors.New("project <id> is needed: GOOGLE_APPLICATION_CREDENTIALS names no file that could tell it")
	}
	// The metadata server is part of the machine: no proxy leads to it.
	transport, err := httpclient.NewTransport(new(httpclient.Options), logger)
	if err != nil {
		return err
	}
	f.oauth.Transport = transport
	server := metadataServer(f.oauth)
	f.source = func() *tokenSource { return server }
	return nil
}

var errNoServiceAccount = errors.New("it is not the JSON key file of a service account")

// parseServiceAccount reads a key file of the type service_account. Files of
// other types can name URLs and commands of their own and are never loaded. The
// project, where it is set, has to be the file's. Errors do not quote the file.
func parseServiceAccount(content []byte, project string, service *httpsend.Service) (*tokenSource, error) {
	var file struct {
		Type         string `json:"type"`
		ProjectID    string `json:"project_id"`
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		TokenURI     string `json:"token_uri"`
	}
	switch {
	case json.Unmarshal(content, &file) != nil:
		return nil, errNoServiceAccount
	case file.Type != "service_account":
		return nil, errors.New(`its "type" is not "service_account", the only kind of credentials that is accepted`)
	case file.ClientEmail == "":
		return nil, errNoServiceAccount
	case project == "" && file.ProjectID == "":
		return nil, errors.New("it has no project_id; configure project <id>")
	case project != "" && file.ProjectID != "" && file.ProjectID != project:
		return nil, errors.New("its project_id differs from the project that is configured or was loaded first: take the key file of that project, or remove project")
	}
	tokenURI := cmp.Or(file.TokenURI, defaultTokenURI)
	if _, err := httpclient.ServiceURL(tokenURI); err != nil {
		return nil, fmt.Errorf("its token_uri: %w", err)
	}
	key, err := parsePrivateKey(file.PrivateKey)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: file.PrivateKeyID}},
		new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, errNoServiceAccount
	}
	return &tokenSource{
		project: cmp.Or(project, file.ProjectID),
		service: service,
		newRequest: func(ctx context.Context, now time.Time) (*http.Request, error) {
			return assertionRequest(ctx, signer, file.ClientEmail, tokenURI, now)
		},
	}, nil
}

func parsePrivateKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("its private_key is not a PEM text")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("its private_key is not an RSA key")
	}
	return key, nil
}

// assertionRequest trades a signed assertion for an access token (RFC 7523).
func assertionRequest(ctx context.Context, signer jose.Signer, email, tokenURI string, now time.Time) (*http.Request, error) {
	assertion, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": email, "scope": scope, "aud": tokenURI,
		"iat": now.Add(-clockSkew).Unix(), "exp": now.Add(assertionLifetime - clockSkew).Unix(),
	}).Serialize()
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURI, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r, nil
}

// metadataServer gives tokens to machines in Google's cloud.
func metadataServer(service *httpsend.Service) *tokenSource {
	address := "http://" + cmp.Or(os.Getenv("GCE_METADATA_HOST"), metadataHost) +
		"/computeMetadata/v1/instance/service-accounts/default/token?scopes=" + url.QueryEscape(scope)
	return &tokenSource{service: service, newRequest: func(ctx context.Context, _ time.Time) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil) //nolint:gosec // the host is the environment's
		if err != nil {
			return nil, errors.New("GCE_METADATA_HOST is not a host")
		}
		r.Header.Set("Metadata-Flavor", "Google")
		return r, nil
	}}
}
