package exchange

import (
	"io"
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/internal/shapes"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// watch lets a call pass and collects the shapes of the request and of
// nevisFIDO's answer, whose bytes stay as they are. What did not come to an
// answer is not collected.
func (x *Exchange) watch(w http.ResponseWriter, r *http.Request, route nevisfido.Route, next Next) error {
	var request, answer copied
	r = r.WithContext(r.Context()) // a copy, so that the original keeps its body
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &request), r.Body}
	}
	copying := &copyingWriter{ResponseWriter: w, copied: &answer}
	if err := x.call(copying, r, route, next); err != nil || copying.status == 0 {
		return err
	}
	x.Shapes.Passed(shapes.Message{
		Route: route, Query: r.URL.RawQuery, DeviceSignature: r.Header.Get(deviceSignature),
		Request: request.body(r.Header), Status: copying.status, Answer: answer.body(copying.header),
	})
	return nil
}

// copied is the beginning of a body, of maxTargetBody at most.
type copied struct {
	text     []byte
	tooLarge bool
}

// Write never fails.
func (c *copied) Write(p []byte) (int, error) {
	room := maxTargetBody - len(c.text)
	c.text = append(c.text, p[:min(room, len(p))]...)
	c.tooLarge = c.tooLarge || len(p) > room
	return len(p), nil
}

func (c *copied) body(h http.Header) shapes.Body {
	return shapes.Body{ContentEncoding: h.Get("Content-Encoding"), Text: c.text, TooLarge: c.tooLarge}
}

// copyingWriter keeps a copy of an answer that is on its way to the caller.
type copyingWriter struct {
	http.ResponseWriter
	copied *copied
	status int
	header http.Header
}

func (w *copyingWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.header = status, w.Header().Clone()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *copyingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status, w.header = http.StatusOK, w.Header().Clone()
	}
	n, err := w.ResponseWriter.Write(p)
	_, _ = w.copied.Write(p[:n])
	return n, err
}

// Unwrap gives http.ResponseController access to what the server offers.
func (w *copyingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
