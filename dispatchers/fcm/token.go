package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

const (
	// fetchTimeout bounds one request for an access token.
	fetchTimeout = 10 * time.Second
	// refreshAhead is how long before its end a token is replaced while it
	// is still used, margin how long before its end it no longer is; both are
	// less for tokens with a short life.
	refreshAhead = 5 * time.Minute
	margin       = 30 * time.Second
	// pause is how long after a failed request ahead of need the next is made.
	pause = 10 * time.Second
	// unknownLifetime is for tokens without expires_in, maxLifetime the bound
	// of those with one.
	unknownLifetime = 5 * time.Minute
	maxLifetime     = 24 * time.Hour
)

// tokenSource gives the access tokens of one key file, or of the machine. One
// request serves all who wait, and outlives those who give up waiting.
// (ReuseTokenSource of x/oauth2 waits without a context, and repeats a failed
// request for each who waits.)
type tokenSource struct {
	project    string
	service    *httpsend.Service
	newRequest func(ctx context.Context, now time.Time) (*http.Request, error)

	fetches singleflight.Group
	mu      sync.Mutex
	token   accessToken
}

// accessToken is a token, when to fetch the next, and how long it is used.
type accessToken struct {
	value          string
	refresh, until time.Time
}

func (t accessToken) young(now time.Time) bool { return now.Before(t.refresh) && now.Before(t.until) }

// get returns an access token, and whether it is fresh: fetched while the caller
// waited.
func (s *tokenSource) get(ctx context.Context) (value string, fresh bool, err error) {
	now, t := time.Now(), s.present()
	if t.young(now) {
		return t.value, false, nil
	}
	fetched := s.fetches.DoChan("", s.replace)
	if now.Before(t.until) {
		return t.value, false, nil
	}
	select {
	case result := <-fetched:
		value, _ = result.Val.(string)
		return value, true, result.Err
	case <-ctx.Done():
		return "", false, httpclient.Explain("waiting for an access token", ctx.Err())
	}
}

func (s *tokenSource) present() accessToken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// replace fetches a token, unless somebody else has just done so, and returns
// its value.
func (s *tokenSource) replace() (any, error) {
	if t := s.present(); t.young(time.Now()) {
		return t.value, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	t, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.token.refresh = time.Now().Add(pause)
		return "", err
	}
	s.token = t
	return t.value, nil
}

var oauthStatuses = httpsend.Table{
	http.StatusTooManyRequests: tokensUnavailable,
	5:                          tokensUnavailable,
	4:                          noTokenService,
	3:                          noTokenService,
	2:                          noTokenService,
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

// fetch makes one request for an access token.
func (s *tokenSource) fetch(ctx context.Context) (accessToken, error) {
	r, err := s.newRequest(ctx, time.Now())
	if err != nil {
		return accessToken{}, dispatchers.Fail(dispatchers.Broken, reasonOAuthRefused, "%s: %w", s.service.Doing, err)
	}
	answer, err := s.service.Do(ctx, r)
	if err != nil && !errors.Is(err, httpsend.ErrBodyTooBig) {
		return accessToken{}, err
	}
	var content struct {
		Token    string  `json:"access_token"`
		Lifetime seconds `json:"expires_in"`
		Error    string  `json:"error"`
	}
	readable := err == nil && json.Unmarshal(answer.Body, &content) == nil
	switch {
	case readable && answer.Status == http.StatusOK && content.Token != "":
		return newAccessToken(content.Token, time.Duration(content.Lifetime), time.Now()), nil
	case readable && answer.Status/100 == 4 && slices.Contains(oauthErrors, content.Error):
		return accessToken{}, s.service.FailedAs(answer, httpsend.Broken(reasonOAuthRefused,
			content.Error+"; was the service account's key deleted, or is this machine's clock wrong?"))
	case err != nil:
		return accessToken{}, s.service.FailedAs(answer, noTokenService)
	}
	return accessToken{}, s.service.Failed(answer)
}

func newAccessToken(value string, life time.Duration, now time.Time) accessToken {
	if life == 0 {
		life = unknownLifetime
	}
	expiry := now.Add(life)
	return accessToken{value, expiry.Add(-min(refreshAhead, life/4)), expiry.Add(-min(margin, life/10))}
}

// drop forgets a token that was not accepted, unless it is replaced already.
func (s *tokenSource) drop(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.value == value {
		s.token = accessToken{}
	}
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
