package command

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/assumptions"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/shapes"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

const (
	questionTimeout = 10 * time.Second
	maxAnswer       = 256 << 10 // bytes
)

// upstream is a nevisFIDO that is asked.
type upstream struct {
	url, basePath, username, headerFile string
	ca, cert, key                       string

	client *http.Client
	header http.Header
	base   string
}

// doctorQuestion is one that was asked, and the status of the answer.
type doctorQuestion struct {
	Name   string `json:"question"`
	Status int    `json:"status"`

	method, path, query string
	media, body         string
}

// questions have no effect on a nevisFIDO that follows its reference guide: each
// is malformed, reads, or names what does not exist. nobody is a name that
// nothing has.
func questions(nobody, user string) []doctorQuestion {
	const dispatch, list = "/token/dispatch/authentication", "/token/dispatch/targets"
	const isJSON = "application/json"
	unknown := fmt.Sprintf(`{"dispatcher":%[1]q,"dispatchTargetId":%[1]q,"getUafRequest":{"op":"Auth","context":"{\"username\":\"%[1]s\"}"}}`, nobody)
	if user == "" {
		user = nobody
	}
	return []doctorQuestion{
		{Name: assumptions.AskMalformed, method: http.MethodPost, path: dispatch, media: isJSON, body: "{"},
		{Name: assumptions.AskMalformedSlash, method: http.MethodPost, path: dispatch + "/", media: isJSON, body: "{"},
		{Name: assumptions.AskOtherType, method: http.MethodPost, path: dispatch, media: "text/plain", body: "{"},
		{Name: assumptions.AskUnknown, method: http.MethodPost, path: dispatch, media: isJSON, body: unknown},
		{Name: assumptions.AskQuery, method: http.MethodGet, path: list},
		{Name: assumptions.AskQuerySlash, method: http.MethodGet, path: list + "/"},
		{Name: assumptions.AskQueryUser, method: http.MethodGet, path: list, query: "username=" + url.QueryEscape(user)},
		{Name: assumptions.AskModify, method: http.MethodPatch, path: list + "/" + nobody, media: "application/jose", body: "not-signed"},
		{Name: assumptions.AskRegister, method: http.MethodPost, path: "/uaf/1.1/registration", media: "application/fido+uaf", body: "{}"},
	}
}

// ask puts all questions, and adds the shapes of the answers to what was seen.
func (u *upstream) ask(ctx context.Context, seen *shapes.Set) ([]doctorQuestion, error) {
	transport, err := u.prepare() //nolint:contextcheck // it dials nothing
	if err != nil {
		return nil, err
	}
	defer transport.CloseIdleConnections()
	all := questions("oob-doctor-"+strings.ToLower(rand.Text()), u.username)
	for i := range all {
		q := &all[i]
		m, err := u.put(ctx, q)
		if err != nil {
			return nil, err
		}
		if i == 0 && !slices.Contains(likeNevisFIDO, q.Status) {
			return nil, fmt.Errorf("what answers at --upstream is not nevisFIDO: it answered HTTP status %d to a malformed dispatch request, "+
				"which nevisFIDO answers with 400; check the port and --base-path %s, and that nothing between answers in its place", q.Status, u.basePath)
		}
		seen.Add(m)
	}
	first := all[0].Status
	if first == http.StatusBadRequest && !slices.ContainsFunc(all, func(q doctorQuestion) bool { return q.Status != first }) {
		return nil, errors.New("what answers at --upstream is not nevisFIDO: it answered HTTP status 400 to whatever it was asked; if the port is one for https, write https:// before the host")
	}
	return all, nil
}

// likeNevisFIDO are the answers to a malformed dispatch request of a server that
// has a dispatch service, or asks for a login before.
var likeNevisFIDO = []int{400, 401, 403, 406, 415, 422, 500}

// prepare reads the files and the URL. It dials nothing.
func (u *upstream) prepare() (*httpclient.Transport, error) {
	if u.headerFile != "" {
		if err := u.readHeader(); err != nil {
			return nil, err
		}
	}
	base, err := url.Parse(u.url)
	if err != nil || base.Scheme != "http" || base.Host == "" || u.header != nil { // in clear only without secrets
		base, err = httpclient.ServiceURL(u.url)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("--upstream: %w", err)
	case strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.User != nil:
		return nil, errors.New("--upstream takes a URL without a path, such as https://nevisfido.example.com:8443: give the path with --base-path")
	case (u.cert == "") != (u.key == ""):
		return nil, errors.New("--client-cert and --client-key go together: give both")
	}
	u.base = strings.TrimSuffix(base.String(), "/") + "/" + strings.Trim(u.basePath, "/")
	o := httpclient.Options{CA: u.ca}
	if u.cert != "" {
		o.ClientCert = &httpclient.ClientCert{Cert: u.cert, Key: u.key}
	}
	transport, err := httpclient.NewTransport(&o, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	u.client = &http.Client{
		Transport: transport, Timeout: questionTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return transport, nil
}

func (u *upstream) readHeader() error {
	content, err := watchedfile.Read("--header-file", u.headerFile, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if u.header, err = parseHeaders(string(bytes.TrimSpace(content))); err != nil {
		return fmt.Errorf("--header-file %s: it takes one header a line, such as Authorization: Basic …", u.headerFile)
	}
	return nil
}

// put asks one question.
func (u *upstream) put(ctx context.Context, q *doctorQuestion) (shapes.Message, error) {
	request, err := http.NewRequestWithContext(ctx, q.method, u.base+q.path, strings.NewReader(q.body))
	if err != nil {
		return shapes.Message{}, errors.New("--base-path is not a path, such as /nevisfido")
	}
	request.URL.RawQuery = q.query
	if u.header != nil {
		request.Header = u.header.Clone()
	}
	if q.media != "" {
		request.Header.Set("Content-Type", q.media)
	}
	response, err := u.client.Do(request)
	if err != nil {
		return shapes.Message{}, unreachable(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return shapes.Message{}, unreachable(err)
	}
	q.Status = response.StatusCode
	route, err := nevisfido.Recognise("", q.method, q.path)
	return shapes.Message{
		Route: route, Query: q.query, Asked: true, Status: q.Status,
		Answer: shapes.Body{
			ContentEncoding: response.Header.Get("Content-Encoding"),
			Text:            content[:min(len(content), maxAnswer)], TooLarge: len(content) > maxAnswer,
		},
	}, err
}

// unreachable says what to look at.
func unreachable(err error) error {
	failure := httpclient.Explain("asking nevisFIDO", err)
	look := "check https or http, host and port of --upstream, and firewalls between"
	if failure.Reason == httpclient.ReasonTLS {
		look = "check that the port is one for https, name the authority of its certificate with --ca, use the name that the certificate is for, and give --client-cert if it asks for one"
	}
	return fmt.Errorf("%w; nothing was found out: %s", failure.Err, look)
}
