package fcm

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
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
)

// tokenSource makes requests for an access token.
type tokenSource interface {
	request(ctx context.Context, now time.Time) (*http.Request, error)
}

// serviceAccount is a key file of the type service_account. Files of other
// types can name URLs and commands of their own and are never loaded.
type serviceAccount struct {
	project  string
	email    string
	tokenURI string
	signer   jose.Signer
}

var errNoServiceAccount = errors.New("it is not the JSON key file of a service account")

// parseServiceAccount reads a key file. The project, where it is set, has to
// be the file's. Errors do not quote the file.
func parseServiceAccount(content []byte, project string) (*serviceAccount, error) {
	var file struct {
		Type         string `json:"type"`
		ProjectID    string `json:"project_id"`
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		TokenURI     string `json:"token_uri"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, errNoServiceAccount
	}
	if file.Type != "service_account" {
		return nil, errors.New(`its "type" is not "service_account", the only kind of credentials that is accepted`)
	}
	key, err := parsePrivateKey(file.PrivateKey)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: file.PrivateKeyID}},
		new(jose.SignerOptions).WithType("JWT"))
	if err != nil || file.ClientEmail == "" {
		return nil, errNoServiceAccount
	}
	a := &serviceAccount{project: project, email: file.ClientEmail, tokenURI: defaultTokenURI, signer: signer}
	if file.TokenURI != "" {
		a.tokenURI = file.TokenURI
	}
	if _, err := httpclient.ParseURL("its token_uri", a.tokenURI); err != nil {
		return nil, err
	}
	switch {
	case project == "":
		a.project = file.ProjectID
	case file.ProjectID != "" && file.ProjectID != project:
		return nil, errors.New("its project_id differs from the project that is configured or was loaded first: take the key file of that project, or remove project")
	}
	if a.project == "" {
		return nil, errors.New("it has no project_id; configure project <id>")
	}
	return a, nil
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

// request trades a signed assertion for an access token (RFC 7523).
func (a *serviceAccount) request(ctx context.Context, now time.Time) (*http.Request, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": a.email, "scope": scope, "aud": a.tokenURI,
		"iat": now.Add(-clockSkew).Unix(), "exp": now.Add(assertionLifetime - clockSkew).Unix(),
	})
	if err != nil {
		return nil, err
	}
	signature, err := a.signer.Sign(claims)
	if err != nil {
		return nil, err
	}
	assertion, err := signature.CompactSerialize()
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.tokenURI, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r, nil
}

// metadataServer gives tokens to machines in Google's cloud. It is part of the
// machine, so requests to it use no proxy.
type metadataServer struct{ url string }

// metadataHost is where every machine in Google's cloud finds the server,
// unless GCE_METADATA_HOST names another.
const metadataHost = "169.254.169.254"

func newMetadataServer() *metadataServer {
	host := os.Getenv("GCE_METADATA_HOST")
	if host == "" {
		host = metadataHost
	}
	return &metadataServer{"http://" + host + "/computeMetadata/v1/instance/service-accounts/default/token?scopes=" + url.QueryEscape(scope)}
}

func (s *metadataServer) request(ctx context.Context, _ time.Time) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, errors.New("GCE_METADATA_HOST is not a host")
	}
	r.Header.Set("Metadata-Flavor", "Google")
	return r, nil
}

// oauth is the service that gives access tokens.
type oauth struct{ httpsend.Service }

func newOAuth(transport *http.Transport) *oauth {
	return &oauth{httpsend.Service{
		Name: "Google's token service", Doing: "fetching an access token", ReadsBody: true, Transport: transport,
		Statuses: httpsend.Table{
			http.StatusTooManyRequests: tokensUnavailable,
			5:                          tokensUnavailable,
			4:                          noTokenService,
			3:                          noTokenService,
			2:                          noTokenService,
		},
	}}
}

var (
	tokensUnavailable = httpsend.Temporary(reasonOAuthUnavailable, "it may be overloaded")
	noTokenService    = httpsend.Broken(reasonOAuthRefused,
		"this is not an answer of a token service; check token_uri in the credentials file, and the proxy")
)

// oauthErrors are the error codes of RFC 6749, section 5.2, that Google uses.
var oauthErrors = []string{
	"access_denied", "invalid_client", "invalid_grant", "invalid_request",
	"invalid_scope", "unauthorized_client", "unsupported_grant_type",
}

// grant is an access token as it was given.
type grant struct {
	token    string
	lifetime time.Duration // 0: unknown
}

// fetch makes one request for an access token.
func (o *oauth) fetch(ctx context.Context, s tokenSource) (grant, error) {
	r, err := s.request(ctx, time.Now())
	if err != nil {
		return grant{}, dispatchers.Fail(dispatchers.Broken, reasonOAuthRefused, "%s: %w", o.Doing, err)
	}
	answer, err := o.Do(ctx, r)
	switch {
	case errors.Is(err, httpsend.ErrBodyTooBig):
		return grant{}, o.Failed(answer, noTokenService)
	case err != nil:
		return grant{}, err
	}
	var content struct {
		Token    string  `json:"access_token"`
		Lifetime seconds `json:"expires_in"`
		Error    string  `json:"error"`
	}
	malformed := json.Unmarshal(answer.Body, &content) != nil
	switch code := content.Error; {
	case answer.Status == http.StatusOK && !malformed && content.Token != "":
		return grant{content.Token, time.Duration(content.Lifetime)}, nil
	case answer.Status == http.StatusOK:
		return grant{}, o.Failed(answer, noTokenService)
	case answer.Status/100 == 4 && slices.Contains(oauthErrors, code):
		return grant{}, o.Failed(answer, httpsend.Broken(reasonOAuthRefused,
			code+"; was the service account's key deleted, or is this machine's clock wrong?"))
	}
	return grant{}, o.Unsuccessful(answer)
}

// seconds is a number of seconds that may be a text or have a fraction; 0 for
// what is not a number.
type seconds time.Duration

func (s *seconds) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	if err == nil && n > 0 {
		*s = seconds(min(n, maxLifetime.Seconds()) * float64(time.Second))
	}
	return nil
}
