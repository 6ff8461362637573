package fcm

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// scope is what the service account needs to be allowed.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

const fetchingToken = "fetching an access token from Google" //nolint:gosec // no secret

// tokenSource makes one request for an access token.
type tokenSource interface {
	fetch(ctx context.Context, transport http.RoundTripper) (*oauth2.Token, error)
}

// serviceAccount is a key file of the type service_account. Files of other
// types can name URLs and commands of their own and are never loaded.
type serviceAccount struct {
	project string
	config  *jwt.Config
}

// parseServiceAccount reads a key file. The project, where it is set, has to
// be the file's. Errors do not quote the file.
func parseServiceAccount(content []byte, project string) (*serviceAccount, error) {
	var file struct {
		Type      string `json:"type"`
		ProjectID string `json:"project_id"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, errors.New("it is not the JSON key file of a service account")
	}
	if file.Type != "service_account" {
		return nil, errors.New(`its "type" is not "service_account", the only kind of credentials that is accepted`)
	}
	config, err := google.JWTConfigFromJSON(content, scope)
	if err != nil || config.Email == "" {
		return nil, errors.New("it is not the JSON key file of a service account")
	}
	if err := checkPrivateKey(config.PrivateKey); err != nil {
		return nil, err
	}
	if _, err := httpclient.ParseURL("its token_uri", config.TokenURL); err != nil {
		return nil, err
	}
	switch {
	case project == "":
		project = file.ProjectID
	case file.ProjectID != "" && file.ProjectID != project:
		return nil, errors.New("its project_id differs from the project that is configured or was loaded first: take the key file of that project, or remove project")
	}
	if project == "" {
		return nil, errors.New("it has no project_id; configure project <id>")
	}
	return &serviceAccount{project: project, config: config}, nil
}

func checkPrivateKey(text []byte) error {
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("its private_key is not a PEM text")
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if _, ok := key.(*rsa.PrivateKey); err != nil || !ok {
		return errors.New("its private_key is not an RSA key")
	}
	return nil
}

// fetch trades a signed assertion for an access token (RFC 7523).
func (a *serviceAccount) fetch(ctx context.Context, transport http.RoundTripper) (*oauth2.Token, error) {
	x := &tokenExchange{ctx: ctx, transport: transport}
	client := &http.Client{Transport: x, CheckRedirect: keepRedirect}
	token, err := a.config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client)).Token()
	if x.err != nil {
		return nil, noToken(fetchingToken, x.err)
	}
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return nil, refusedToken(e.Response, e.Body)
	}
	if err != nil || token.AccessToken == "" {
		return nil, notOAuth()
	}
	return token, nil
}

func keepRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// tokenExchange gives the request of oauth2/jwt what that package leaves out:
// the context, a bound for the answer, and an error that can be told apart.
type tokenExchange struct {
	ctx       context.Context
	transport http.RoundTripper
	err       error
}

func (x *tokenExchange) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := x.transport.RoundTrip(r.WithContext(x.ctx))
	if err != nil {
		x.err = err
		return nil, err
	}
	defer answer.Body.Close()
	body, err := readAnswer(answer.Body)
	if err != nil {
		x.err = err
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// oauthErrors are the error codes of RFC 6749, section 5.2, that Google uses.
var oauthErrors = []string{
	"access_denied", "invalid_client", "invalid_grant", "invalid_request",
	"invalid_scope", "unauthorized_client", "unsupported_grant_type",
}

// refusedToken says what an error of the token endpoint means.
func refusedToken(answer *http.Response, body []byte) error {
	status := answer.StatusCode
	switch {
	case status == http.StatusProxyAuthRequired:
		return httpclient.Classify(fetchingToken, &httpclient.ProxyError{Status: status})
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		e := dispatchers.Fail(dispatchers.Temporary, reasonOAuthUnavailable, "%s: it answered %d", fetchingToken, status)
		e.RetryAfter = httpclient.RetryAfter(answer.Header, time.Now())
		return e
	}
	var content struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(body, &content)
	if !slices.Contains(oauthErrors, content.Error) {
		return dispatchers.Fail(dispatchers.Broken, reasonOAuthRefused,
			"%s: it answered %d; check token_uri in the credentials file, and the proxy", fetchingToken, status)
	}
	return dispatchers.Fail(dispatchers.Broken, reasonOAuthRefused,
		"%s: it answered %s; was the service account's key deleted, or is this machine's clock wrong?",
		fetchingToken, content.Error)
}

// noToken says what it means that there was no whole answer.
func noToken(doing string, err error) error {
	if errors.Is(err, errAnswerTooBig) {
		return notOAuth()
	}
	return httpclient.Classify(doing, err)
}

func notOAuth() error {
	return dispatchers.Fail(dispatchers.Broken, reasonOAuthRefused,
		"%s: the answer is not one of a token service; check token_uri in the credentials file, and the proxy", fetchingToken)
}

// metadataServer gives tokens to machines in Google's cloud. It is part of the
// machine, so no proxy stands in between.
type metadataServer struct {
	url       string
	transport http.RoundTripper
}

// metadataHost is where every machine in Google's cloud finds the server,
// unless GCE_METADATA_HOST tells otherwise.
const metadataHost = "169.254.169.254"

func newMetadataServer(transport http.RoundTripper) *metadataServer {
	host := os.Getenv("GCE_METADATA_HOST")
	if host == "" {
		host = metadataHost
	}
	return &metadataServer{
		url: "http://" + host + "/computeMetadata/v1/instance/service-accounts/default/token?scopes=" +
			url.QueryEscape(scope),
		transport: transport,
	}
}

func (s *metadataServer) fetch(ctx context.Context, _ http.RoundTripper) (*oauth2.Token, error) {
	const doing = "fetching an access token from the metadata server"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonOAuthRefused, "%s: GCE_METADATA_HOST is not a host", doing)
	}
	r.Header.Set("Metadata-Flavor", "Google")
	answer, err := s.transport.RoundTrip(r)
	if err != nil {
		return nil, httpclient.Classify(doing, err)
	}
	defer answer.Body.Close()
	body, err := readAnswer(answer.Body)
	if err != nil {
		return nil, noToken(doing, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, refusedToken(answer, body)
	}
	var token oauth2.Token
	if json.Unmarshal(body, &token) != nil || token.AccessToken == "" {
		return nil, notOAuth()
	}
	token.Expiry = time.Now().Add(time.Duration(token.ExpiresIn) * time.Second)
	return &token, nil
}
