package fcm

import (
	"context"
	"sync"
	"time"

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
	// pause is the least between two requests ahead of need.
	pause = 10 * time.Second
	// unknownLifetime is for tokens without expires_in, maxLifetime the bound
	// of those with one.
	unknownLifetime = 5 * time.Minute
	maxLifetime     = 24 * time.Hour
)

// accessToken is a token and when to replace it.
type accessToken struct {
	value          string
	source         tokenSource
	refresh, until time.Time
}

// tokenCache holds the present access token. Requests for a new one are made
// once for all who wait, and outlive those who give up waiting. (ReuseTokenSource
// of x/oauth2 waits without a context, and repeats a failed request for each
// who waits.)
type tokenCache struct {
	fetch   func(context.Context, tokenSource) (grant, error)
	fetches sync.WaitGroup

	mu        sync.Mutex
	token     *accessToken
	fetching  *tokenFetch
	nextAhead time.Time
}

// tokenFetch is a request that is under way; done is closed after token and
// err are set.
type tokenFetch struct {
	source tokenSource
	done   chan struct{}
	token  *accessToken
	err    error
}

// get returns an access token of the source, and whether it is fresh: fetched
// while the caller waited.
func (c *tokenCache) get(ctx context.Context, s tokenSource) (token string, fresh bool, err error) {
	t, fetch := c.present(s) //nolint:contextcheck // the request serves others who wait as well
	if t != nil {
		return t.value, false, nil
	}
	select {
	case <-fetch.done:
	case <-ctx.Done():
		return "", false, httpsend.Classify("waiting for an access token", ctx.Err())
	}
	if fetch.err != nil {
		return "", false, fetch.err
	}
	return fetch.token.value, true, nil
}

// present returns the token that is good, or else the request for one.
func (c *tokenCache) present(s tokenSource) (*accessToken, *tokenFetch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, t := time.Now(), c.token
	if t == nil || t.source != s || !now.Before(t.until) {
		return nil, c.start(s)
	}
	if now.After(t.refresh) && now.After(c.nextAhead) {
		c.start(s)
	}
	return t, nil
}

// start joins the request that is under way or starts one. The lock is held.
func (c *tokenCache) start(s tokenSource) *tokenFetch {
	if c.fetching != nil && c.fetching.source == s {
		return c.fetching
	}
	f := &tokenFetch{source: s, done: make(chan struct{})}
	c.fetching = f
	c.fetches.Go(func() { c.run(f) })
	return f
}

func (c *tokenCache) run(f *tokenFetch) {
	defer close(f.done)
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	g, err := c.fetch(ctx, f.source)

	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.nextAhead = now.Add(pause)
	if f.err = err; err == nil {
		f.token = newAccessToken(g, f.source, now)
	}
	if c.fetching != f {
		return // the credentials have changed meanwhile
	}
	c.fetching = nil
	if err == nil {
		c.token = f.token
	}
}

func newAccessToken(g grant, s tokenSource, now time.Time) *accessToken {
	life := g.lifetime
	if life == 0 {
		life = unknownLifetime
	}
	expiry := now.Add(life)
	return &accessToken{
		value:   g.token,
		source:  s,
		refresh: expiry.Add(-min(refreshAhead, life/4)),
		until:   expiry.Add(-min(margin, life/10)),
	}
}

// drop forgets a token that was not accepted, unless it is replaced already.
func (c *tokenCache) drop(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != nil && c.token.value == token {
		c.token = nil
	}
}
