package exchange

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// A recorder stands between nevisFIDO's answer and the caller. It holds the
// answer back if accept says so, up to a limit, and passes it on untouched if
// not. Its header map is its own until then, so that nothing of an answer that
// is dropped reaches the caller.
//
// It never fails a Write: the reverse proxy would abort the connection.
type recorder struct {
	http.ResponseWriter
	header         http.Header
	accept         func(status int, h http.Header) bool
	limit          int64
	passOnOverflow bool   // beyond the limit: pass on what was held back, instead of refusing
	stop           func() // ends an answer that is refused and may be endless; may be nil

	status   int // final status, 0 while nothing was written
	hijacked bool
	state    recorderState
	reason   string // why the answer was refused
	body     bytes.Buffer
}

type recorderState int

const (
	waiting   recorderState = iota
	holding                 // the answer is in body
	streaming               // the answer went to the caller
	refused                 // the answer is dropped; the caller has got nothing
)

func newRecorder(w http.ResponseWriter, limit int64, accept func(int, http.Header) bool) *recorder {
	return &recorder{ResponseWriter: w, header: w.Header().Clone(), accept: accept, limit: limit}
}

func (rec *recorder) Header() http.Header {
	switch rec.state {
	case waiting:
		return rec.header
	case streaming:
		return rec.ResponseWriter.Header() // for trailers
	default:
		return make(http.Header) // an answer that is held back loses its trailers
	}
}

// WriteHeader decides what becomes of the answer. Informational answers are
// dropped while the decision is open.
func (rec *recorder) WriteHeader(status int) {
	if rec.state != waiting || status < 200 {
		return
	}
	rec.status = status
	if !rec.accept(status, rec.header) {
		rec.stream()
		return
	}
	rec.state = holding
	rec.header = rec.header.Clone() // what is set from now on is a trailer
	rec.header.Del("Trailer")
	switch {
	case coding(rec.header) != "":
		rec.refuse("the answer is content-coded although identity was asked for")
	case strings.HasPrefix(rec.header.Get("Incremental"), "?1"):
		rec.refuse("the answer must not be buffered")
	default:
		if n, err := strconv.ParseInt(rec.header.Get("Content-Length"), 10, 64); err == nil && n > rec.limit {
			rec.overflow()
		}
	}
}

func (rec *recorder) Write(p []byte) (int, error) {
	if rec.state == waiting {
		rec.WriteHeader(http.StatusOK)
	}
	switch rec.state {
	case streaming:
		return rec.ResponseWriter.Write(p)
	case holding:
		if int64(rec.body.Len()+len(p)) > rec.limit {
			rec.overflow()
			if rec.state == streaming {
				return rec.ResponseWriter.Write(p)
			}
			return len(p), nil
		}
		rec.body.Write(p)
	default:
	}
	return len(p), nil
}

func (rec *recorder) overflow() {
	if rec.passOnOverflow {
		rec.stream()
		return
	}
	rec.refuse("the answer exceeds max_body")
}

func (rec *recorder) refuse(reason string) {
	if rec.passOnOverflow {
		rec.stream()
		return
	}
	rec.state, rec.reason = refused, reason
	rec.body = bytes.Buffer{}
	if rec.stop != nil {
		rec.stop()
	}
}

// stream passes on the header and what was held back.
func (rec *recorder) stream() {
	rec.state = streaming
	rec.commit(rec.header)
	rec.ResponseWriter.WriteHeader(rec.status)
	if rec.body.Len() > 0 {
		_, _ = rec.ResponseWriter.Write(rec.body.Bytes())
		rec.body = bytes.Buffer{}
	}
}

func (rec *recorder) commit(h http.Header) {
	outer := rec.ResponseWriter.Header()
	clear(outer)
	maps.Copy(outer, h)
}

// FlushError flushes an answer that is passed on, and is a no-op otherwise.
func (rec *recorder) FlushError() error {
	if rec.state != streaming {
		return nil
	}
	return http.NewResponseController(rec.ResponseWriter).Flush()
}

// Hijack refuses: an answer that may have to be held back cannot take over the
// connection, and none of the calls is answered with another protocol.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	rec.hijacked = true
	return nil, nil, http.ErrNotSupported
}

// Unwrap gives http.ResponseController access to the deadlines.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// relay passes on the answer as it came.
func (rec *recorder) relay() error {
	if rec.state == waiting && rec.hijacked {
		return statusError(http.StatusBadGateway, "nevisFIDO's answer wants to switch to another protocol")
	}
	if rec.state == holding {
		if rec.header.Get("Content-Length") != "" { // it may have lied
			rec.header.Set("Content-Length", strconv.Itoa(rec.body.Len()))
		}
		rec.stream()
	}
	return nil
}

// describesBody lists headers that describe the bytes of an answer and are
// wrong once these are rewritten.
var describesBody = []string{
	"Accept-Ranges", "Content-Digest", "Content-Md5", "Digest", "Etag",
	"Last-Modified", "Repr-Digest", "Transfer-Encoding",
}

// replace answers with another body in place of the one held back.
func (rec *recorder) replace(body []byte) error {
	for _, name := range describesBody {
		rec.header.Del(name)
	}
	rec.state = streaming
	rec.commit(rec.header)
	return writeJSON(rec.ResponseWriter, rec.status, body)
}

// writeJSON answers with a body that must not be kept by anybody.
func writeJSON(w http.ResponseWriter, status int, body []byte) error {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("answering the caller: %w", err)
	}
	return nil
}

var _ http.Hijacker = (*recorder)(nil)
