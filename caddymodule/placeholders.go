package caddymodule

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// placeholdersSetLater are the placeholders that handlers and matchers set while
// a request is handled, so that nothing can be said of them before.
var placeholdersSetLater = []string{
	"http.auth.", "http.error", "http.handlers.", "http.intercept.", "http.matchers.", "http.regexp.",
	"http.request.tls.", "http.response.", "http.reverse_proxy.", "http.vars.",
}

// caddysPlaceholders are the beginnings of the names that are Caddy's alone, and
// of requests.
var caddysPlaceholders = []string{"http.", "system.", "time."}

// unknownPlaceholders returns those of the names of placeholders of a request
// that Caddy cannot know, most likely because they are misspelt, such as
// http.request.headers.X. Names that others may have made are left out.
func unknownPlaceholders(names []string) []string {
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, new(net.TCPAddr))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://localhost/", http.NoBody)
	if err != nil {
		return nil
	}
	replacer := caddy.NewReplacer()
	caddyhttp.PrepareRequest(request, replacer, nil, new(caddyhttp.Server))
	hasPrefix := func(prefixes []string, name string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	var unknown []string
	for _, name := range names {
		if !hasPrefix(caddysPlaceholders, name) || hasPrefix(placeholdersSetLater, name) {
			continue
		}
		if _, ok := replacer.Get(name); !ok {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
