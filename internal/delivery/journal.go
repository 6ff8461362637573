package delivery

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// Report tells of the delivery of one message. Nothing in it is secret.
type Report struct {
	// Encryption is "sealed", "sealed_upstream" (by nevisFIDO), "clear", or ""
	// where no message was made. Of several members it is the worst.
	Encryption string
	Thumbprint string        // of the target's key, RFC 7638; "" where none is known
	KeyAge     time.Duration // where we sealed
	Alg, Enc   string        // JOSE names; "" where we did not seal

	// Sealing is how our encryption went: "sealed", "no_key", "failed", or ""
	// where it was not tried.
	Sealing string

	Attempts  []Attempt
	Fallbacks []Fallback
}

// Attempt tells of one attempt at a delivery.
type Attempt struct {
	Dispatcher string
	Class      dispatchers.Class
	Reason     string // "" where it delivered
	Cause      string // what the log says of the failure; "" where it delivered
	Took       time.Duration

	// Made is false for a member of a composite that failed before there was
	// an attempt, such as for a missing address.
	Made bool
}

// Fallback tells that one dispatcher was tried because another had failed.
type Fallback struct {
	From, To string
	Reason   string // of the failure
}

// maxCause bounds a cause in bytes: what stands in a record is kept for years.
const maxCause = 300

// Cause returns what a log says of a failure, bounded. It holds no token, address
// or credential, as no failure does.
func Cause(failure *dispatchers.Error) string {
	if failure.Err == nil {
		return ""
	}
	text := failure.Err.Error()
	if len(text) > maxCause {
		text = strings.ToValidUTF8(text[:maxCause], "") + "…"
	}
	return text
}

// A journal collects the report. Members that deliver side by side write to it,
// some of them after the caller has its answer.
type journal struct {
	mu     sync.Mutex
	report Report
}

// now returns what is on record by now.
func (j *journal) now() Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.report
	r.Attempts, r.Fallbacks = slices.Clone(r.Attempts), slices.Clone(r.Fallbacks)
	return r
}

func (j *journal) write(change func(*Report)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&j.report)
}

func (j *journal) encrypted(how string, key *encrypt.Key, age time.Duration) {
	j.write(func(r *Report) {
		if r.Encryption != clearText { // the worst is what counts
			r.Encryption = how
		}
		if key != nil {
			r.Thumbprint, r.KeyAge = key.Thumbprint(), age
			r.Alg, r.Enc = key.Algorithms()
		}
	})
}

func (j *journal) sealing(outcome string) { j.write(func(r *Report) { r.Sealing = outcome }) }

// attemptOf tells of an attempt.
func attemptOf(channel string, failure *dispatchers.Error, took time.Duration) Attempt {
	attempt := Attempt{Dispatcher: channel, Class: dispatchers.Delivered, Took: took, Made: true}
	if failure != nil {
		attempt.Class, attempt.Reason, attempt.Cause = failure.Class, failure.Reason, Cause(failure)
	}
	return attempt
}

// attempted puts an attempt on record.
func (j *journal) attempted(channel string, failure *dispatchers.Error, took time.Duration) {
	attempt := attemptOf(channel, failure, took)
	j.write(func(r *Report) { r.Attempts = append(r.Attempts, attempt) })
}

// unattempted puts the outcome of a member on record that failed before there
// was an attempt.
func (j *journal) unattempted(channel string, failure *dispatchers.Error) {
	j.write(func(r *Report) {
		if !slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.Dispatcher == channel }) {
			r.Attempts = append(r.Attempts, Attempt{Dispatcher: channel, Class: failure.Class, Reason: failure.Reason, Cause: Cause(failure)})
		}
	})
}

func (j *journal) fellBack(from, to string, failure *dispatchers.Error) {
	j.write(func(r *Report) { r.Fallbacks = append(r.Fallbacks, Fallback{from, to, failure.Reason}) })
}
