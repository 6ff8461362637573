package letter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

const (
	ippPort   = "631"     // of ipp and of ipps (RFC 8010, RFC 7472)
	maxAnswer = 256 << 10 // bytes
	mimePDF   = "application/pdf"
	mimeIPP   = "application/ipp"
)

// printer is a print queue that speaks IPP.
type printer struct {
	uri       string // as IPP names it: ipp://… or ipps://…
	url       string // as HTTP reaches it
	transport *http.Transport
}

func newPrinter(text string, o httpclient.Options, logger *slog.Logger) (*printer, error) {
	uri, web, err := parsePrinter(text)
	if err != nil {
		return nil, err
	}
	transport, err := httpclient.NewTransport(o, logger)
	if err != nil {
		return nil, err
	}
	// A job must never be sent again on another connection, so there is one
	// connection a job; printers speak HTTP/1.1.
	transport.DisableKeepAlives = true
	transport.ForceAttemptHTTP2 = false
	return &printer{uri: uri, url: web, transport: transport}, nil
}

func checkPrinter(text string) error {
	return placeholder.Check("printer", text, func(value string) error {
		_, _, err := printerURLs(value)
		return err
	})
}

func parsePrinter(text string) (uri, web string, err error) {
	value, err := placeholder.Resolve("printer", text)
	if err != nil {
		return "", "", err
	}
	if uri, web, err = printerURLs(value); err != nil {
		return "", "", fmt.Errorf("printer: %w", err)
	}
	return uri, web, nil
}

func printerURLs(value string) (uri, web string, err error) {
	scheme, rest, _ := strings.Cut(value, "://")
	scheme = strings.ToLower(scheme)
	schemes := map[string]string{"ipp": "http", "ipps": "https"}
	if schemes[scheme] == "" {
		return "", "", errors.New("it is not an ipps or ipp URL, such as ipps://printer.example.com/ipp/print")
	}
	u, err := httpclient.ServiceURL(schemes[scheme] + "://" + rest)
	if err != nil {
		return "", "", fmt.Errorf("%w (ipps is IPP over https, ipp over plain http)", err)
	}
	if u.Port() == "" {
		u.Host += ":" + ippPort
	}
	named := url.URL{Scheme: scheme, Host: u.Host, Path: u.Path}
	return named.String(), u.String(), nil
}

// print sends the job. Once the whole document is on its way only the
// printer's own word tells that it was not printed.
func (p *printer) print(ctx context.Context, j *job) error {
	r := newRequest(opPrintJob, p.uri)
	r.text(tagName, "job-name", j.ticket.ID)
	r.boolean("ipp-attribute-fidelity", false)
	r.text(tagMIME, "document-format", mimePDF)
	r.group(tagJob)
	r.integer("copies", 1)
	r.text(tagKeyword, "sides", "one-sided")
	r.text(tagKeyword, "media", "iso_a4_210x297mm")
	r.text(tagKeyword, "print-scaling", "none") // the modules keep their size

	body := &document{r: bytes.NewReader(append(r.bytes(), j.pdf...))}
	answer, err := p.send(ctx, body)
	if err == nil {
		return jobOutcome(answer)
	}
	failure := dispatchers.AsError(err)
	if body.abandon() && failure.Reason != reasonPrinter {
		return uncertain(failure.Err)
	}
	return failure
}

func uncertain(err error) error {
	return dispatchers.Fail(dispatchers.Refused, reasonUncertain, "the letter may have been printed, so it is not sent again: %w", err)
}

// document is a request's body that knows whether all of it was handed to the
// connection.
type document struct {
	mu        sync.Mutex
	r         *bytes.Reader
	abandoned bool
}

func (d *document) Read(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abandoned {
		return 0, io.ErrUnexpectedEOF
	}
	return d.r.Read(b)
}

// abandon ends the reading, and reports whether there was nothing left to read.
func (d *document) abandon() (sent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abandoned = true
	return d.r.Len() == 0
}

// check asks for the state of the queue.
func (p *printer) check(ctx context.Context) error {
	r := newRequest(opGetPrinterAttributes, p.uri)
	r.text(tagKeyword, "requested-attributes", "printer-is-accepting-jobs", "document-format-supported")
	answer, err := p.send(ctx, &document{r: bytes.NewReader(r.bytes())})
	if err != nil {
		return err
	}
	if e := statusError(answer.status); e != nil {
		return e
	}
	switch {
	case answer.refuses("printer-is-accepting-jobs"):
		return printerFailure(dispatchers.Temporary, "the printer accepts no jobs at present")
	case len(answer.attributes["document-format-supported"]) > 0 && !answer.has("document-format-supported", mimePDF):
		return printerFailure(dispatchers.Broken, "the printer does not print PDF; use the queue of a print server")
	}
	return nil
}

const asking = "asking the printer"

// send makes one request. Errors with reasonPrinter are the printer's word
// that it did not take the request.
func (p *printer) send(ctx context.Context, body *document) (*ippAnswer, error) {
	size := body.r.Size()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, io.NopCloser(body))
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonPrinter, "making the request: check the printer's URL")
	}
	r.ContentLength = size
	r.Header.Set("Content-Type", mimeIPP)
	r.Header.Set("Accept", mimeIPP)
	answer, err := p.transport.RoundTrip(r)
	if err != nil {
		return nil, httpclient.Classify(asking, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, httpFailure(answer.StatusCode)
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, httpclient.Classify(asking, err)
	}
	if len(content) > maxAnswer {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonNotIPP, "%s: the answer is too big", asking)
	}
	parsed, err := parseAnswer(content)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonNotIPP, "%s: %w; check the printer's URL", asking, err)
	}
	return parsed, nil
}

const reasonNotIPP = "not_ipp"

// httpFailure: what is no answer of IPP. A gateway's error does not tell
// whether the printer has the job.
func httpFailure(status int) error {
	switch {
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		return printerFailure(dispatchers.Temporary, "the printer answered %d %s", status, http.StatusText(status))
	case status >= http.StatusInternalServerError:
		return dispatchers.Fail(dispatchers.Temporary, reasonNotIPP, "the printer answered %d %s", status, http.StatusText(status))
	}
	return printerFailure(dispatchers.Broken, "the printer answered %d %s: check its URL and who may print",
		status, http.StatusText(status))
}

func printerFailure(class dispatchers.Class, format string, args ...any) *dispatchers.Error {
	return dispatchers.Fail(class, reasonPrinter, format, args...)
}
