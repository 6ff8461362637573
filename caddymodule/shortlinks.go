package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// The option short_links and its old name.
const (
	shortLinks    = "short_links"
	oldShortLinks = "handle"
)

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

func validShortLinks(text string) error {
	u, err := httpclient.ServiceURL(text)
	if err != nil {
		return err
	}
	if u.RawQuery != "" || u.ForceQuery || !plainPath.MatchString(strings.TrimSuffix(u.EscapedPath(), "/")) {
		return errors.New("the URL needs a plain path of its own and no query, such as https://fido.example.com/oob")
	}
	return nil
}

// shortLinks returns the base URL of the dispatcher's short links, and the name
// of the option that it was given with; "" for long links.
func (a *Addressing) shortLinks() (base, option string) {
	if a.ShortLinks == "" && a.Handle != "" {
		return a.Handle, oldShortLinks
	}
	return a.ShortLinks, shortLinks
}

// checkShortLinks refuses short links below nevisFIDO's own path, and tokens
// that live longer than links are kept. It says nothing of a URL that holds a
// placeholder.
func (h *Handler) checkShortLinks(d *Dispatcher) error {
	base, option := d.shortLinks()
	if base == "" {
		return nil
	}
	if d.ShortLinks != "" && d.Handle != "" {
		return conf.Errorf(oldShortLinks, "handle is the old name of short_links: remove it")
	}
	lifetimes := h.lifetimes()
	for _, op := range nevisfido.Operations() {
		if lifetimes[op] > shortlink.MaxLifetime {
			return conf.Errorf(option, "%s keeps links for at most %s; token_lifetime %s is longer", option, shortlink.MaxLifetime, op)
		}
	}
	err := placeholder.Check(option, base, func(value string) error {
		u, err := url.Parse(value)
		if err != nil {
			return errors.New("it is not a URL")
		}
		own := strings.ToLower(strings.TrimSuffix(cmp.Or(h.BasePath, defaultBasePath), "/"))
		if own != "" && strings.HasPrefix(strings.ToLower(u.Path)+"/", own+"/") {
			return fmt.Errorf("the path %s is nevisFIDO's, see base_path; choose another, such as /oob", u.Path)
		}
		return nil
	})
	if err != nil {
		return &conf.Error{Option: option, Err: err}
	}
	return nil
}

// loadShortLinks sets up the pages of short links; nil where no dispatcher has
// them. The options are resolved.
func (h *Handler) loadShortLinks(store *kv.Store) (*shortlink.Links, error) {
	links := &shortlink.Links{Store: store, Namespace: h.Namespace, Timeout: time.Duration(h.Deadline), Log: h.logger}
	for _, d := range h.Dispatchers {
		base, _ := d.shortLinks()
		if base == "" {
			continue
		}
		if err := h.checkShortLinks(d); err != nil {
			return nil, d.fault(err)
		}
		u, err := url.Parse(base)
		if err != nil {
			return nil, fmt.Errorf("dispatcher %q: %s: it is not a URL", d.Name, shortLinks)
		}
		links.Paths = append(links.Paths, strings.TrimSuffix(u.Path, "/"))
	}
	if links.Paths == nil {
		return nil, nil
	}
	slices.Sort(links.Paths)
	links.Paths = slices.Compact(links.Paths)
	return links, nil
}

// keepShortLinkFromLog leaves a request for the page of a short link out of the
// access log: its path is a secret until the link is used, and so is the answer's
// Location.
func (h *Handler) keepShortLinkFromLog(r *http.Request) {
	if h.exchange.Links.Covers(r) {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}
