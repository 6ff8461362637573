package nevisidm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

const (
	pageSize = 200
	maxPages = 100
)

// errNoSuchPath stands for a 404 with a web page: that of a server, or of a
// proxy, that does not know the path.
var errNoSuchPath = errors.New("the server does not know the path, and answers with a web page: check url and api")

// get makes one query and reads its answer into a value. A 404 is
// targets.ErrNotFound, or errNoSuchPath.
func (s *Source) get(ctx context.Context, doing, path string, query url.Values, into any) error {
	target := s.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return fmt.Errorf("%s: the request cannot be made: check url and client", doing)
	}
	r.Header.Set("Accept", "application/json")
	s.authorize(r)
	answer, err := s.transport.RoundTrip(r) // follows no redirect
	if err != nil {
		return httpclient.Explain(doing, err).Err
	}
	defer func() { _ = answer.Body.Close() }()
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", doing, failure(answer.StatusCode, kind))
	}
	if kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return fmt.Errorf("%s: the answer is not JSON, so it is not nevisIDM's: check url", doing)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, s.MaxResponse+1))
	switch {
	case err != nil:
		return httpclient.Explain(doing, err).Err
	case int64(len(body)) > s.MaxResponse:
		return fmt.Errorf("%s: the answer has more than %d bytes, the bound max_response", doing, s.MaxResponse)
	}
	if err := json.Unmarshal(body, into); err != nil { // its text may quote the answer
		return fmt.Errorf("%s: the answer is not of the form that nevisIDM documents", doing)
	}
	return nil
}

func failure(status int, kind string) error {
	advice := "it does not take the query"
	switch {
	case status == http.StatusNotFound && kind == "text/html":
		return errNoSuchPath
	case status == http.StatusNotFound:
		return targets.ErrNotFound
	case status == http.StatusUnauthorized:
		advice = "check auth and client_cert"
	case status == http.StatusForbidden:
		advice = "check auth, and the permissions of the technical user"
	case status >= 500 || status == http.StatusTooManyRequests:
		advice = "it is out of order or too busy"
	case status/100 == 3:
		advice = "redirects are not followed: check url and auth"
	}
	return fmt.Errorf("nevisIDM answered %d %s: %s", status, http.StatusText(status), advice)
}

// page is one of a list. The token that leads to the next has been seen in two
// places.
type page[T any] struct {
	Items      []T `json:"items"`
	Pagination *struct {
		ContinuationToken string `json:"continuationToken"`
	} `json:"_pagination"`
	ContinuationToken string `json:"continuationToken"`
}

// pages reads a list page by page, until each has seen enough.
func pages[T any](ctx context.Context, s *Source, doing, path string, query url.Values, each func([]T) (enough bool, err error)) error {
	if query == nil {
		query = make(url.Values)
	}
	query.Set("limit", strconv.Itoa(pageSize))
	for range maxPages {
		var p page[T]
		if err := s.get(ctx, doing, path, query, &p); err != nil {
			return err
		}
		next := p.ContinuationToken
		if p.Pagination != nil {
			next = cmp.Or(p.Pagination.ContinuationToken, next)
		} else if p.Items == nil {
			return fmt.Errorf("%s: the answer is not a list", doing)
		}
		enough, err := each(p.Items)
		switch {
		case err != nil, enough, next == "", len(p.Items) == 0:
			return err
		case next == query.Get("continuationToken"):
			return fmt.Errorf("%s: the list does not go on after a page", doing)
		}
		query.Set("continuationToken", next)
	}
	return fmt.Errorf("%s: the list has more than %d pages", doing, maxPages)
}
