package letter

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/letter/internal/sheet/sheettest"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// ippBytes is an answer with some attributes.
func ippBytes(status goipp.Status, attributes ...goipp.Attribute) []byte {
	m := goipp.NewResponse(goipp.DefaultVersion, status, ippID)
	m.Operation.Add(goipp.MakeAttr("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Job = attributes
	content, err := m.EncodeBytes()
	if err != nil {
		panic(err)
	}
	return content
}

func jobState(n int) goipp.Attribute {
	return goipp.MakeAttr("job-state", goipp.TagEnum, goipp.Integer(n))
}

func formats(value string, more ...string) goipp.Attribute {
	a := goipp.MakeAttr("document-format-supported", goipp.TagMimeType, goipp.String(value))
	for _, v := range more {
		a.Values.Add(goipp.TagMimeType, goipp.String(v))
	}
	return a
}

func accepting(v bool) goipp.Attribute {
	return goipp.MakeAttr("printer-is-accepting-jobs", goipp.TagBoolean, goipp.Boolean(v))
}

// startPrinter starts a printer that speaks IPP 1.1 only and answers as told.
func startPrinter(t *testing.T, config *tls.Config, answer fault.Fault) *double.Server {
	t.Helper()
	s, err := double.Listen("", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	double.Serve(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !bytes.HasPrefix(double.Body(r), []byte{1, 1}) {
			answer = says(ippBytes(goipp.StatusErrorVersionNotSupported))
		}
		answer(w, r, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}))
	return s
}

// printing starts a printer, and returns the URL of its queue.
func printing(t *testing.T, answer fault.Fault) string {
	t.Helper()
	return queueOf(startPrinter(t, nil, answer).URL())
}

func queueOf(url string) string { return "ipp" + strings.TrimPrefix(url, "http") + "/ipp/print" }

func says(content []byte) fault.Fault { return fault.Answer(http.StatusOK, nil, string(content)) }

func saysStatus(code int) fault.Fault {
	return fault.Answer(code, http.Header{"Location": {"http://127.0.0.1:1/"}}, "")
}

func TestPrinterAnswers(t *testing.T) {
	type outcome struct {
		class  dispatchers.Class // "" for printed
		reason string
	}
	printed, uncertain := outcome{}, outcome{dispatchers.Refused, reasonUncertain}
	temporary, broken := outcome{dispatchers.Temporary, reasonPrinter}, outcome{dispatchers.Broken, reasonPrinter}
	refused := outcome{dispatchers.Refused, reasonPrinter}
	another := ippBytes(0, jobState(3))
	another[7]++
	type test struct {
		answer fault.Fault
		want   outcome
	}
	tests := map[string]test{
		"attributes substituted":    {says(ippBytes(0x0001, jobState(5))), printed},
		"completed":                 {says(ippBytes(0x0000, jobState(9))), printed},
		"without a job state":       {says(ippBytes(0x0000)), printed},
		"aborted":                   {says(ippBytes(0x0000, jobState(8))), uncertain},
		"canceled":                  {says(ippBytes(0x0000, jobState(7))), uncertain},
		"answer to another request": {says(another), uncertain},
		"no IPP":                    {says([]byte("<html>hello</html>")), uncertain},
		"nothing":                   {says(nil), uncertain},
		"half an answer":            {says(ippBytes(0, jobState(3))[:20]), uncertain},
		"hangs up":                  {fault.Reset, uncertain},
		"endless answer":            {fault.Flood, uncertain},
	}
	for status, want := range map[goipp.Status]outcome{
		goipp.StatusOk: printed, goipp.StatusErrorBadRequest: refused, goipp.StatusErrorForbidden: broken,
		goipp.StatusErrorNotAuthenticated: broken, goipp.StatusErrorNotFound: broken, goipp.StatusErrorRequestEntity: refused,
		goipp.StatusErrorDocumentFormatNotSupported: broken, goipp.StatusErrorDocumentFormatError: refused,
		goipp.StatusErrorInternal: uncertain, goipp.StatusErrorOperationNotSupported: broken,
		goipp.StatusErrorServiceUnavailable: temporary, goipp.StatusErrorVersionNotSupported: broken,
		goipp.StatusErrorDevice: uncertain, goipp.StatusErrorTemporary: temporary, goipp.StatusErrorNotAcceptingJobs: temporary,
		goipp.StatusErrorBusy: temporary, goipp.StatusErrorJobCanceled: refused,
	} {
		tests[status.String()] = test{says(ippBytes(status, jobState(3))), want}
	}
	for status, want := range map[int]outcome{
		401: broken, 404: broken, 307: broken, 429: uncertain, 500: uncertain, 503: uncertain, 504: uncertain,
	} {
		tests[http.StatusText(status)] = test{saysStatus(status), want}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := startPrinter(t, nil, tt.answer)
			l := provision(t, &Letter{Printer: queueOf(s.URL())})
			_, err := l.submit(t.Context(), sampleJob("id", 50_000))
			if tt.want == printed && err != nil {
				t.Error(err)
			} else if tt.want != printed {
				wantFailure(t, err, tt.want.class, tt.want.reason)
			}
			if n := len(s.Requests()); n != 1 {
				t.Errorf("the printer got %d requests", n)
			}
		})
	}
}

// TestRefusedBeforeTheDocument: who answers before the document was sent has no
// letter, whatever the answer is.
func TestRefusedBeforeTheDocument(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { saysStatus(status)(w, r, nil) }))
		t.Cleanup(s.Close)
		uri := queueOf(s.URL)
		wantFailure(t, dispatch(t, provision(t, &Letter{Printer: uri}), message("id", nil)), dispatchers.Temporary, reasonNotIPP)
		dir := t.TempDir()
		if e := dispatch(t, provision(t, &Letter{Printer: uri, Spool: dir}), message("id", nil)); e != nil || names(t, dir) == "" {
			t.Errorf("%d: %v, the folder holds %q", status, e, names(t, dir))
		}
	}
}

// TestPrinterWithoutExpect wants the document at once.
func TestPrinterWithoutExpect(t *testing.T) {
	var jobs atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		jobs.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		says(ippBytes(goipp.StatusOk, jobState(3)))(w, r, nil)
	}))
	t.Cleanup(s.Close)
	l := provision(t, &Letter{Printer: queueOf(s.URL)})
	if e := dispatch(t, l, message("id", nil)); e != nil || jobs.Load() != 1 {
		t.Errorf("%v, %d jobs", e, jobs.Load())
	}
}

func TestPrintJobTellsNothingButTheLetter(t *testing.T) {
	s := startPrinter(t, nil, says(ippBytes(0, jobState(3))))
	l := provision(t, &Letter{Printer: queueOf(s.URL())})
	deliver(t, l, message("job-7", nil))
	head, pdf, ok := bytes.Cut(s.Requests()[0].Body, []byte("%PDF"))
	if !ok || !bytes.Contains(head, []byte("job-name\x00\x0ajob-7_post")) || !bytes.Contains(head, []byte("print-scaling\x00\x04none")) {
		t.Errorf("request = %q", head)
	}
	if bytes.Contains(head, []byte("Muster")) || bytes.Contains(head, []byte("eyJ")) {
		t.Errorf("the attributes tell of the message: %q", head)
	}
	if code, _ := sheettest.Scan(t, append([]byte("%PDF"), pdf...)); code != message("", nil).Envelope.Encoded() {
		t.Error("the QR code is not that of the message")
	}
}

func TestTimeoutAfterTheDocumentIsUncertain(t *testing.T) {
	asked := make(chan struct{})
	l, dir := spooler(t, Letter{Printer: printing(t, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		close(asked)
		<-r.Context().Done()
	})})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		<-asked
		cancel(context.DeadlineExceeded)
	}()
	_, err := l.Dispatch(ctx, message("id", nil))
	wantFailure(t, err, dispatchers.Refused, reasonUncertain)
	wantNames(t, dir, "")
}

// TestConnectionThatStallsInTheDocument: as long as part of the document was
// not handed over the printer has no letter.
func TestConnectionThatStallsInTheDocument(t *testing.T) {
	server, client := net.Pipe()
	defer server.Close()
	f := &printer{uri: "ipp://127.0.0.1/p", url: &url.URL{Scheme: "http", Host: "127.0.0.1", Path: "/p"}, service: &httpsend.Service{Transport: &httpclient.Transport{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil },
	}}}}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		b := make([]byte, 1000) // the head and a little of the body
		if _, err := io.ReadFull(server, b); err != nil {
			t.Error(err)
		}
		cancel()
	}()
	err := f.print(ctx, sampleJob("a", 1<<20))
	wantFailure(t, err, dispatchers.Temporary, httpclient.ReasonCanceled)
}

// TestSpoolTakesWhatThePrinterDoesNot: with the letter in the folder the
// dispatch is a success, so the log has to say that the printer is not.
func TestSpoolTakesWhatThePrinterDoesNot(t *testing.T) {
	gone := "ipp://" + testservice.FreeAddress(t) + "/ipp/print"
	wantFailure(t, dispatch(t, provision(t, &Letter{Printer: gone}), message("id", nil)), dispatchers.Temporary, httpclient.ReasonConnection)
	for printer, want := range map[string]string{
		gone: "reason=connection",
		printing(t, says(ippBytes(goipp.StatusErrorBusy))):       "server-error-busy",
		printing(t, says(ippBytes(goipp.StatusErrorForbidden))):  "client-error-forbidden",
		printing(t, says(ippBytes(goipp.StatusOk, jobState(3)))): "",
	} {
		l, dir := spooler(t, Letter{Printer: printer})
		log := logged(l)
		deliver(t, l, message("id", map[string]string{"oob.name": "geheim"}))
		left, text := names(t, dir), log.String()
		if want == "" {
			if left != "" || text != "" {
				t.Errorf("it printed, but the folder holds %s, and the log says %s", left, text)
			}
			continue
		}
		if left != "id_post.json id_post.pdf" || !strings.Contains(text, "level=WARN") || !strings.Contains(text, "letter=id_post") || !strings.Contains(text, want) {
			t.Errorf("want %q: the folder holds %s, and the log says %s", want, left, text)
		}
		for _, secret := range []string{"Muster", "8001", "eyJ", "geheim", dispatcherstest.Token} {
			if strings.Contains(text, secret) {
				t.Errorf("the log tells %q: %s", secret, text)
			}
		}
	}
}

// TestPrinterThatDoesNotAnswer: of the time for the attempt enough is left to
// put the letter into the folder.
func TestPrinterThatDoesNotAnswer(t *testing.T) {
	l, dir := spooler(t, Letter{Printer: "ipps://127.0.0.1/ipp/print"})
	log := logged(l)
	synctest.Test(t, func(t *testing.T) { // where the time of the attempt does not depend on the machine
		l.printer.service.Transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		defer l.printer.service.Transport.CloseIdleConnections() // ends the dialing
		if _, err := l.submit(ctx, sampleJob("id_post", 1000)); err != nil {
			t.Fatal(err)
		}
	})
	wantNames(t, dir, "id_post.json id_post.pdf")
	if !strings.Contains(log.String(), "reason="+httpclient.ReasonTimeout) {
		t.Errorf("the log says %s", log)
	}
}

// TestConnectionEndsWithTheJob: a configuration that was replaced leaves none.
func TestConnectionEndsWithTheJob(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		says(ippBytes(0, jobState(3)))(w, r, nil)
	}))
	var open atomic.Int32
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		open.Add(map[http.ConnState]int32{http.StateNew: 1, http.StateClosed: -1}[state])
	}
	s.Start()
	t.Cleanup(s.Close)
	deliver(t, provision(t, &Letter{Printer: queueOf(s.URL)}), message("id", nil))
	testservice.Until(t, func() bool { return open.Load() == 0 }, func() string { return "the connection stays open" })
}

func TestPrinterOverTLS(t *testing.T) {
	config, err := double.NewTLS(double.Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	s := startPrinter(t, config, says(ippBytes(0, jobState(3))))
	uri, ca := queueOf(s.URL()), testservice.File(t, "ca.pem", s.CA())
	wantFailure(t, dispatch(t, provision(t, &Letter{Printer: uri}), message("id", nil)), dispatchers.Broken, httpclient.ReasonTLS)

	deliver(t, provision(t, &Letter{Printer: uri, Options: httpclient.Options{CA: ca}}), message("id", nil))
	if !bytes.Contains(s.Requests()[0].Body, []byte(uri)) {
		t.Error("the request does not name the printer by its ipps URL")
	}
}

func TestProbe(t *testing.T) {
	for name, tt := range map[string]struct {
		answer fault.Fault
		class  dispatchers.Class
	}{
		"in order":        {says(ippBytes(0, accepting(true), formats("image/urf", mimePDF))), ""},
		"says little":     {says(ippBytes(0)), ""},
		"accepts no jobs": {says(ippBytes(0, accepting(false), formats(mimePDF))), dispatchers.Temporary},
		"no PDF":          {says(ippBytes(0, accepting(true), formats("image/urf"))), dispatchers.Broken},
		"no such queue":   {says(ippBytes(0x0406)), dispatchers.Broken},
		"no IPP":          {says([]byte("hello")), dispatchers.Broken},
		"HTTP 403":        {saysStatus(403), dispatchers.Broken},
	} {
		err := provision(t, &Letter{Printer: printing(t, tt.answer), Spool: t.TempDir()}).Probe(t.Context())
		if tt.class == "" && err != nil || tt.class != "" && (err == nil || dispatchers.AsError(err).Class != tt.class) {
			t.Errorf("%s: err = %v, want %q", name, err, tt.class)
		}
	}
}

func TestPrinterURLs(t *testing.T) {
	for text, want := range map[string]string{
		"ipps://print.example.com/printers/letters": "ipps://print.example.com:631/printers/letters https://print.example.com:631/printers/letters",
		"IPPS://h:443/p?q=1":                        "ipps://h:443/p https://h:443/p?q=1",
		"ipp://localhost/p":                         "ipp://localhost:631/p http://localhost:631/p",
		"ipp://[::1]:8631/p":                        "ipp://[::1]:8631/p http://[::1]:8631/p",
		"ipp://printer.example.com/p":               "",
		"ipps://user:geheim@h/p":                    "",
		"https://h/p":                               "",
		"ipps://":                                   "",
		"printer":                                   "",
	} {
		uri, web, err := printerURLs(text)
		got := uri
		if err == nil {
			got += " " + web.String()
		}
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error quotes a secret: %v", err)
		}
	}
}

// TestRealPrintQueue prints with CUPS's IPP Everywhere printer and compares
// the document that it received.
func TestRealPrintQueue(t *testing.T) {
	dir := t.TempDir()
	uri := startIPPEvePrinter(t, dir)
	l := provision(t, &Letter{Printer: uri})
	testservice.Until(t, func() bool { return l.Probe(t.Context()) == nil }, func() string { return "the printer does not answer" })
	m := message("real-job", map[string]string{"oob.data.language": "fr"})
	deliver(t, l, m)
	job, err := l.write(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pdf"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the printer received %v (%v): %s", files, err, names(t, dir))
	}
	received, err := os.ReadFile(files[0])
	if err != nil || !bytes.Equal(received, job.pdf) {
		t.Fatalf("the printer received %d bytes (%v), want %d", len(received), err, len(job.pdf))
	}
	if code, _ := sheettest.Scan(t, received); code != m.Envelope.Encoded() {
		t.Error("the QR code is not that of the message")
	}
}

// startIPPEvePrinter needs a message bus, though nothing is announced on it:
// one of its own, so that the machine's is left alone.
func startIPPEvePrinter(t *testing.T, dir string) string {
	t.Helper()
	bus := start(t, nil, "dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1",
		"--address=unix:path="+filepath.Join(t.TempDir(), "bus"))
	address, err := bufio.NewReader(bus).ReadString('\n')
	if err != nil {
		t.Fatalf("the message bus tells no address: %v", err)
	}
	_, port, _ := strings.Cut(testservice.FreeAddress(t), ":")
	start(t, []string{"DBUS_SYSTEM_BUS_ADDRESS=" + strings.TrimSpace(address)},
		"ippeveprinter", "-p", port, "-f", mimePDF, "-k", "-d", dir, "-r", "off", "-n", "localhost", "letters")
	return "ipp://localhost:" + port + "/ipp/print"
}

func start(t *testing.T, env []string, name string, args ...string) io.Reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, testservice.Need(t, name), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
	})
	return out
}

// FuzzPrinterAnswers reads what a printer, or what is in front of it, answers to a
// job that it has in full. Only IPP's own word means that it was not printed, and
// lets it be printed again; an error quotes nothing.
func FuzzPrinterAnswers(f *testing.F) {
	const secret = "Zx7Q-canary"
	for _, content := range [][]byte{
		ippBytes(goipp.StatusOk, jobState(3)), ippBytes(goipp.StatusOk, jobState(8)), ippBytes(goipp.StatusOkIgnoredOrSubstituted), ippBytes(goipp.StatusErrorBusy),
		ippBytes(goipp.StatusErrorInternal), ippBytes(goipp.StatusErrorNotFound), ippBytes(goipp.StatusOk, accepting(false), formats("application/pdf")),
		ippBytes(goipp.StatusOk, formats("image/pwg-raster", secret)), ippBytes(0x0200, goipp.MakeAttr("status-message", goipp.TagText, goipp.String(secret))), ippBytes(0x0600), []byte("<html>" + secret), nil,
	} {
		f.Add(content, 200, "")
	}
	f.Add([]byte(secret), 503, "30")
	f.Add([]byte(nil), 429, secret)
	f.Add([]byte(nil), 417, "")
	f.Add([]byte(nil), 401, "")
	queue := new(dispatcherstest.Canned)
	p := &printer{
		uri: "ipp://printer/ipp/print", url: &url.URL{Scheme: dispatcherstest.Scheme, Host: "printer", Path: "/ipp/print"},
		service: &httpsend.Service{Doing: asking, ReadsBody: true, Transport: queue.Transport()},
	}
	f.Fuzz(func(t *testing.T, content []byte, status int, retry string) {
		if status < 200 || status > 999 {
			return
		}
		*queue = dispatcherstest.Canned{Status: status, Body: content, Header: http.Header{"Retry-After": {retry}}}
		err := p.print(t.Context(), &job{pdf: []byte("%PDF"), ticket: Ticket{ID: "id"}})
		if queue.Requests != 1 {
			t.Errorf("the job was sent %d times", queue.Requests)
		}
		answer := new(goipp.Message)
		isIPP := status == http.StatusOK && answer.DecodeBytes(content) == nil && answer.RequestID == ippID
		if err == nil && (!isIPP || answer.Code >= 0x0100) {
			t.Errorf("status %d with %q is taken for a letter", status, content)
		}
		for _, err := range []error{err, p.probe(t.Context())} {
			if err == nil {
				continue
			}
			e, ok := errors.AsType[*dispatchers.Error](err)
			if !ok || !e.Class.Valid() || e.Reason == "" || strings.Contains(e.Error(), secret) || e.RetryAfter < 0 || e.RetryAfter > httpsend.MaxRetryAfter {
				t.Errorf("the error %v", err)
			}
		}
		if e, _ := errors.AsType[*dispatchers.Error](err); e != nil && e.Class == dispatchers.Temporary && !isIPP {
			t.Errorf("status %d with %q has the letter printed again: %v", status, content, e)
		}
	})
}
