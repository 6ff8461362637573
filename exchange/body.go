package exchange

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

var errTooLarge = errors.New("body too large")

// readBody reads at most limit bytes of a request's body. Beyond that it
// returns errTooLarge, and r.Body still yields every byte.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		return nil, errTooLarge
	}
	return body, nil
}

// withBody returns the request with another body, or with the same one to be
// read again.
func withBody(r *http.Request, body []byte) *http.Request {
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	if r.Header.Get("Content-Length") != "" {
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return r
}

// uncoded asks for an answer without content coding: a coded one could not be
// read.
func uncoded(r *http.Request) *http.Request {
	r.Header.Set("Accept-Encoding", "identity")
	return r
}

// plainJSON reports whether headers announce JSON in UTF-8 without content
// coding, in exactly one way of reading them.
func plainJSON(h http.Header) bool {
	return coding(h) == "" && isJSON(h)
}

func isJSON(h http.Header) bool {
	values := h.Values("Content-Type")
	if len(values) != 1 {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	if err != nil || mediaType != "application/json" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// coding returns the content coding, "" for none.
func coding(h http.Header) string {
	value := strings.Join(h.Values("Content-Encoding"), ",")
	if strings.EqualFold(strings.TrimSpace(value), "identity") {
		return ""
	}
	return strings.TrimSpace(value)
}
