// Package httpsend makes the one HTTP request of an attempt, and says what its
// answer means. The dispatchers over HTTP share it: they differ in the request,
// and in a few rows of the table of statuses.
package httpsend

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// MaxBody is what is read of the body of an answer at most, in bytes.
const MaxBody = 64 << 10

// drainTime is how long the body of an answer is read that nobody looks at.
const drainTime = time.Second

// ErrBodyTooBig is the error of Do for an answer of more than MaxBody.
var ErrBodyTooBig = errors.New("the answer is too big")

// Service is the third party that requests go to.
type Service struct {
	Name      string // as the subject of a sentence, such as "the webhook"
	Doing     string // what a request does, such as "sending to the webhook"
	Statuses  Table  // the service's own statuses
	ReadsBody bool   // whether Do has to return the body
	Transport *httpclient.Transport
}

// Close ends connections with their last request, see httpclient.Transport. A nil
// Service has none.
func (s *Service) Close() {
	if s != nil {
		s.Transport.Close()
	}
}

// NewRequest makes a request, but for its context, that the transport never
// repeats by itself: it has no GetBody.
func NewRequest(method string, u *url.URL, body []byte) *http.Request {
	r := &http.Request{
		Method:        method,
		URL:           u,
		Host:          u.Host,
		Header:        http.Header{},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	// Without a body the transport would send chunks, except for GET, which it
	// repeats if there is none.
	if len(body) == 0 && method != http.MethodGet {
		r.Body = http.NoBody
	}
	return r
}

// Answer is what the service said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // nil unless the service ReadsBody
}

// Do makes one request. It follows no redirect, and repeats a request only
// where the server has not seen it: on a connection that was just closed, if
// the request has a GetBody. Of a body that nobody looks at it reads no more
// than MaxBody and no longer than a second, so that the connection can be used
// again. The error is an *dispatchers.Error, or ErrBodyTooBig along with the
// answer.
func (s *Service) Do(ctx context.Context, r *http.Request) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer s.Transport.Leave()
	defer cancel()
	response, err := s.Transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return Answer{}, s.connectionFailed(err)
	}
	defer response.Body.Close()
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	if !s.ReadsBody {
		defer time.AfterFunc(drainTime, cancel).Stop()
		_, _ = io.CopyN(io.Discard, response.Body, MaxBody)
		return answer, nil
	}
	answer.Body, err = io.ReadAll(io.LimitReader(response.Body, MaxBody+1))
	switch {
	case err != nil:
		return answer, s.connectionFailed(err)
	case len(answer.Body) > MaxBody:
		return answer, ErrBodyTooBig
	}
	return answer, nil
}

// connectionFailed also closes idle connections, so that the next attempt does not meet
// another one that died along with this.
func (s *Service) connectionFailed(err error) error {
	s.Transport.CloseIdleConnections()
	return httpclient.Explain(s.Doing, err)
}

// Meaning is what a status that means no success says about an attempt.
type Meaning struct {
	Class  dispatchers.Class
	Reason string
	Advice string
}

// Expired makes the Meaning of an address that is gone for good.
func Expired(reason, advice string) Meaning { return Meaning{dispatchers.Expired, reason, advice} }

// Refused makes the Meaning of a message that is not taken.
func Refused(reason, advice string) Meaning { return Meaning{dispatchers.Refused, reason, advice} }

// Temporary makes the Meaning of a failure that may pass.
func Temporary(reason, advice string) Meaning { return Meaning{dispatchers.Temporary, reason, advice} }

// Broken makes the Meaning of a fault in the configuration.
func Broken(reason, advice string) Meaning { return Meaning{dispatchers.Broken, reason, advice} }

// Table has the meanings of statuses, and of their classes 1 to 5 (RFC 9110,
// section 15) for those without a row of their own.
type Table map[int]Meaning

// common holds for all services that have no row of their own.
var common = Table{
	http.StatusRequestTimeout:        Temporary(httpclient.ReasonTimeout, "it did not take the request this time"),
	http.StatusTooEarly:              Temporary(httpclient.ReasonTimeout, "it did not take the request this time"),
	http.StatusTooManyRequests:       Temporary(dispatchers.ReasonRateLimited, "too many messages"),
	http.StatusRequestEntityTooLarge: Refused(dispatchers.ReasonTooBig, "the message is too big"),

	5: Temporary(dispatchers.ReasonUnavailable, "it failed"),
	4: Refused(dispatchers.ReasonRejected, "it does not take the message"),
	3: Refused(dispatchers.ReasonRedirect, "redirects are not followed"),
}

func (t Table) meaning(status int) Meaning {
	for _, key := range []int{status, status / 100} {
		for _, table := range []Table{t, common} {
			if m, ok := table[key]; ok {
				return m
			}
		}
	}
	return Meaning{dispatchers.Refused, dispatchers.ReasonUnexpectedStatus, "this status is unexpected"}
}

// Failed makes the failure of an attempt from an answer that means no
// success, by the table of statuses.
func (s *Service) Failed(a Answer) *dispatchers.Error {
	return s.FailedAs(a, s.Statuses.meaning(a.Status))
}

// FailedAs is Failed for an answer whose meaning is known. A temporary
// failure says how long to wait if the answer does. 407 is always the proxy's.
func (s *Service) FailedAs(a Answer, m Meaning) *dispatchers.Error {
	if a.Status == http.StatusProxyAuthRequired {
		return httpclient.Explain(s.Doing, &httpclient.ProxyError{Status: a.Status})
	}
	e := dispatchers.Fail(m.Class, m.Reason, "%s answered %d %s: %s", s.Name, a.Status, http.StatusText(a.Status), m.Advice)
	if m.Class == dispatchers.Temporary {
		e.RetryAfter = RetryAfter(a.Header, time.Now())
	}
	return e
}

// MaxRetryAfter bounds what a third party can ask for.
const MaxRetryAfter = time.Hour

// RetryAfter returns how long an answer asks to wait (RFC 9110, section
// 10.2.3: seconds or a date), at most an hour; 0 if it does not say. A number
// that is too large to parse is a long time as well.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	switch seconds, err := strconv.ParseUint(value, 10, 31); {
	case errors.Is(err, strconv.ErrRange):
		return MaxRetryAfter
	case err == nil:
		return min(time.Duration(seconds)*time.Second, MaxRetryAfter)
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), MaxRetryAfter)
}
