package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

// completeHandle sets the URL of short links.
func (d *Dispatcher) completeHandle(c *delivery.Channel) error {
	if d.Handle == "" {
		return nil
	}
	if c.Traits.PayloadOnly {
		return errNoLinks
	}
	u, err := httpclient.ParseURL("handle", d.Handle)
	if err != nil {
		return err
	}
	if err := validHandle(u); err != nil {
		return fmt.Errorf("handle: %w", err)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	c.ShortLinks = u.Scheme + "://" + u.Host + path
	return nil
}

var errNoLinks = errors.New("handle makes links short, and this type of dispatcher sends none: remove it")

func checkHandle(text string) error { return httpclient.CheckURL("handle", text, validHandle) }

func validHandle(u *url.URL) error {
	if u.RawQuery != "" || u.ForceQuery || !plainPath.MatchString(strings.TrimSuffix(u.EscapedPath(), "/")) {
		return errors.New("the URL needs a plain path of its own and no query, such as https://fido.example.com/oob")
	}
	return nil
}

// besideBasePath refuses short links below nevisFIDO's own path.
func (h *Handler) besideBasePath(handle *url.URL) error {
	base := strings.TrimSuffix(cmp.Or(h.BasePath, defaultBasePath), "/")
	if base != "" && strings.HasPrefix(strings.ToLower(handle.Path)+"/", strings.ToLower(base)+"/") {
		return fmt.Errorf("the path %s is nevisFIDO's, see base_path; choose another, such as /oob", handle.Path)
	}
	return nil
}

// checkLifetimes refuses tokens that live longer than short links are kept.
func (h *Handler) checkLifetimes() error {
	for op, lifetime := range h.lifetimes() {
		if lifetime > shortlink.MaxLifetime {
			return fmt.Errorf("a dispatcher has the option handle, which keeps links for at most %s; token_lifetime %s is longer", shortlink.MaxLifetime, op)
		}
	}
	return nil
}

// handles sets up short links where a dispatcher has them.
func (h *Handler) handles(log *slog.Logger, store *kv.Store, channels map[string]*delivery.Channel) (*shortlink.Links, error) {
	var paths []string
	for _, d := range h.Dispatchers {
		handle := channels[d.Name].ShortLinks
		if handle == "" {
			continue
		}
		u, err := url.Parse(handle)
		if err != nil {
			return nil, fmt.Errorf("dispatcher %q: handle: it is not a URL", d.Name)
		}
		if err := h.besideBasePath(u); err != nil {
			return nil, fmt.Errorf("dispatcher %q: handle: %w", d.Name, err)
		}
		paths = append(paths, u.Path)
	}
	if paths == nil {
		return nil, nil
	}
	if err := h.checkLifetimes(); err != nil {
		return nil, err
	}
	slices.Sort(paths)
	return &shortlink.Links{Store: store, Namespace: h.Namespace, Paths: slices.Compact(paths), Timeout: time.Duration(h.Deadline), Log: log}, nil
}

// keepFromLog leaves a request for the page of a short link out of the access
// log: its path is a secret until the link is used, and so is the answer's
// Location.
func (h *Handler) keepFromLog(r *http.Request) {
	if h.exchange.Links.Covers(r) {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}
