package letter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

const (
	ippPort = "631" // of ipp and of ipps (RFC 8010, RFC 7472)
	ippID   = 1     // of the one request of a connection
	mimePDF = "application/pdf"
	asking  = "asking the printer"
)

// printer is a print queue that speaks IPP (RFC 8010, encoding; RFC 8011,
// semantics).
type printer struct {
	uri     string   // as IPP names it: ipp://… or ipps://…
	url     *url.URL // as HTTP reaches it
	service *httpsend.Service
}

func newPrinter(text string, o *httpclient.Options, logger *slog.Logger) (*printer, error) {
	uri, web, err := printerURLs(text)
	if err != nil {
		return nil, err
	}
	transport, err := httpclient.NewTransport(o, logger)
	if err != nil {
		return nil, err
	}
	// A job must never be sent again on another connection, so there is one
	// connection a job, which ends with it; printers speak HTTP/1.1.
	transport.DisableKeepAlives = true
	transport.ForceAttemptHTTP2 = false
	// A printer, or what is in front of it, that refuses does so before it has
	// the document; one that knows nothing of this gets it a second later.
	transport.ExpectContinueTimeout = time.Second
	return &printer{uri, web, &httpsend.Service{Doing: asking, ReadsBody: true, Transport: transport}}, nil
}

func printerURLs(text string) (uri string, web *url.URL, err error) {
	scheme, rest, _ := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	over := map[string]string{"ipp": "http", "ipps": "https"}[scheme]
	if over == "" {
		return "", nil, errors.New("it is not an ipps or ipp URL, such as ipps://printer.example.com/ipp/print")
	}
	if web, err = httpclient.ServiceURL(over + "://" + rest); err != nil {
		return "", nil, fmt.Errorf("%w (ipps is IPP over https, ipp over plain http)", err)
	}
	if web.Port() == "" {
		web.Host += ":" + ippPort
	}
	named := url.URL{Scheme: scheme, Host: web.Host, Path: web.Path}
	return named.String(), web, nil
}

// request returns a request with the attributes that all have, in the order of
// RFC 8011, section 4.1.4, and with further ones of the operation. Version 1.1
// is the one that every printer has to know, whatever else it speaks.
func (p *printer) request(operation goipp.Op, more ...goipp.Attribute) *goipp.Message {
	r := goipp.NewRequest(goipp.MakeVersion(1, 1), operation, ippID)
	r.Operation = append(goipp.Attributes{
		goipp.MakeAttr("attributes-charset", goipp.TagCharset, goipp.String("utf-8")),
		goipp.MakeAttr("attributes-natural-language", goipp.TagLanguage, goipp.String("en")),
		goipp.MakeAttr("printer-uri", goipp.TagURI, goipp.String(p.uri)),
		goipp.MakeAttr("requesting-user-name", goipp.TagName, goipp.String("oob-dispatch")),
	}, more...)
	return r
}

// print sends the job. Once the whole document is on its way only the
// printer's own word tells that it was not printed.
func (p *printer) print(ctx context.Context, j *job) error {
	r := p.request(goipp.OpPrintJob,
		goipp.MakeAttr("job-name", goipp.TagName, goipp.String(j.ticket.ID)),
		goipp.MakeAttr("ipp-attribute-fidelity", goipp.TagBoolean, goipp.Boolean(false)),
		goipp.MakeAttr("document-format", goipp.TagMimeType, goipp.String(mimePDF)))
	r.Job = goipp.Attributes{
		goipp.MakeAttr("copies", goipp.TagInteger, goipp.Integer(1)),
		goipp.MakeAttr("sides", goipp.TagKeyword, goipp.String("one-sided")),
		goipp.MakeAttr("media", goipp.TagKeyword, goipp.String("iso_a4_210x297mm")),
		goipp.MakeAttr("print-scaling", goipp.TagKeyword, goipp.String("none")), // the modules keep their size
	}
	answer, sent, err := p.send(ctx, r, j.pdf)
	if err == nil {
		return jobOutcome(answer)
	}
	if failure := dispatchers.AsError(err); sent && failure.Reason != reasonPrinter {
		return uncertain(failure.Err)
	}
	return err
}

// jobOutcome says what the printer's answer to a job means.
func jobOutcome(answer *goipp.Message) error {
	err := statusError(answer)
	switch status := goipp.Status(answer.Code); {
	case status == goipp.StatusErrorInternal, status == goipp.StatusErrorDevice: // it failed while it was at the job
		return uncertain(err)
	case err != nil:
		return err
	}
	const canceled, aborted = goipp.Integer(7), goipp.Integer(8) // RFC 8011, section 5.3.7
	if state := values(answer, "job-state"); len(state) > 0 && (state[0] == canceled || state[0] == aborted) {
		return uncertain(errors.New("the printer took the job and gave it up"))
	}
	return nil
}

func uncertain(err error) error {
	return dispatchers.Fail(dispatchers.Refused, reasonUncertain, "the letter may have been printed, so it is not sent again: %w", err)
}

// probe asks for the state of the queue.
func (p *printer) probe(ctx context.Context) error {
	const accepting, formats = "printer-is-accepting-jobs", "document-format-supported"
	answer, _, err := p.send(ctx, p.request(goipp.OpGetPrinterAttributes,
		goipp.MakeAttr("requested-attributes", goipp.TagKeyword, goipp.String(accepting), goipp.String(formats))), nil)
	if err != nil {
		return err
	}
	if err := statusError(answer); err != nil {
		return err
	}
	if v := values(answer, accepting); len(v) > 0 && v[0] == goipp.Boolean(false) {
		return printerFailure(dispatchers.Temporary, "the printer accepts no jobs at present")
	}
	if v := values(answer, formats); len(v) > 0 && !slices.Contains(v, goipp.Value(goipp.String(mimePDF))) {
		return printerFailure(dispatchers.Broken, "the printer does not print PDF; use the queue of a print server")
	}
	return nil
}

// values returns those of an attribute, in whatever group it is.
func values(answer *goipp.Message, name string) (all []goipp.Value) {
	for _, group := range answer.Groups {
		for _, attribute := range group.Attrs {
			for _, v := range attribute.Values {
				if attribute.Name == name {
					all = append(all, v.V)
				}
			}
		}
	}
	return all
}

// send makes one request, and reports whether all of it was handed over. Errors
// with reasonPrinter are the printer's word that it did not take the request; the
// answers of a gateway in trouble do not tell.
func (p *printer) send(ctx context.Context, r *goipp.Message, pdf []byte) (answer *goipp.Message, sent bool, err error) {
	content, err := r.EncodeBytes()
	if err != nil {
		return nil, false, dispatchers.Fail(dispatchers.Broken, reasonPrinter, "encoding the request: %w", err)
	}
	content = append(content, pdf...)
	got, sent, err := p.post(ctx, content, "100-continue")
	if got.Status == http.StatusExpectationFailed && !sent { // it wants the document at once (RFC 9110, section 10.1.1)
		got, sent, err = p.post(ctx, content, "")
	}
	text := fmt.Sprintf("the printer answered %d %s", got.Status, http.StatusText(got.Status))
	answer = new(goipp.Message)
	switch {
	case errors.Is(err, httpsend.ErrBodyTooBig):
		return nil, sent, dispatchers.Fail(dispatchers.Broken, reasonNotIPP, "%s: %w", asking, err)
	case err != nil:
		return nil, sent, err
	case slices.Contains(undecided, got.Status), got.Status >= http.StatusInternalServerError:
		failure := dispatchers.Fail(dispatchers.Temporary, reasonNotIPP, "%s", text)
		failure.RetryAfter = httpsend.RetryAfter(got.Header, time.Now())
		return nil, sent, failure
	case got.Status != http.StatusOK:
		return nil, sent, printerFailure(dispatchers.Broken, text+": check its URL and who may print")
	case answer.DecodeBytes(got.Body) != nil, answer.RequestID != ippID:
		return nil, sent, dispatchers.Fail(dispatchers.Broken, reasonNotIPP, "%s: the answer is not IPP; check the printer's URL", asking)
	}
	return answer, sent, nil
}

// undecided are the HTTP statuses below 500 that may come from a gateway.
var undecided = []int{http.StatusTooManyRequests, http.StatusExpectationFailed}

// post makes an HTTP request. The content goes through a pipe, which ends with the
// exchange, and knows whether the connection has got all of it.
func (p *printer) post(ctx context.Context, content []byte, expect string) (answer httpsend.Answer, sent bool, err error) {
	r := httpsend.NewRequest(http.MethodPost, p.url, content)
	r.Header.Set("Content-Type", goipp.ContentType)
	r.Header.Set("Accept", goipp.ContentType)
	if expect != "" {
		r.Header.Set("Expect", expect)
		r.ProtoMajor, r.ProtoMinor = 1, 1 // else the transport does not wait
	}
	document, feed := io.Pipe()
	r.Body = document
	fed := make(chan bool)
	go func() {
		n, _ := feed.Write(content)
		_ = feed.Close()
		fed <- n == len(content)
	}()
	answer, err = p.service.Do(ctx, r)
	_ = document.Close()
	return answer, <-fed, err
}

// remedies are those of the statuses of IPP (RFC 8011, appendix B) that last until
// somebody changes something.
var remedies = map[goipp.Status]string{
	goipp.StatusErrorForbidden:                  ": it does not print for this sidecar",
	goipp.StatusErrorNotAuthenticated:           ": configure client_cert, or let it print without",
	goipp.StatusErrorNotAuthorized:              ": it does not print for this sidecar",
	goipp.StatusErrorNotFound:                   ": it has no such queue; check the path of its URL",
	goipp.StatusErrorGone:                       ": it has this queue no longer",
	goipp.StatusErrorDocumentFormatNotSupported: ": it does not print PDF; use the queue of a print server",
	goipp.StatusErrorOperationNotSupported:      "",
	goipp.StatusErrorVersionNotSupported:        ": it does not speak IPP 1.1; use the queue of a print server",
}

// passing are the statuses that may pass.
var passing = []goipp.Status{
	goipp.StatusErrorInternal, goipp.StatusErrorServiceUnavailable, goipp.StatusErrorDevice,
	goipp.StatusErrorTemporary, goipp.StatusErrorNotAcceptingJobs, goipp.StatusErrorBusy,
}

// statusError returns nil for the successful statuses, those below 0x0100. All but
// remedies and passing say that the printer refuses this job.
func statusError(answer *goipp.Message) error {
	status := goipp.Status(answer.Code)
	text := "the printer answered " + status.String()
	remedy, lasting := remedies[status]
	switch {
	case status < 0x0100:
		return nil
	case lasting:
		return printerFailure(dispatchers.Broken, text+remedy)
	case slices.Contains(passing, status):
		return printerFailure(dispatchers.Temporary, text)
	}
	return printerFailure(dispatchers.Refused, text)
}

func printerFailure(class dispatchers.Class, text string) *dispatchers.Error {
	return dispatchers.Fail(class, reasonPrinter, "%s", text)
}
