package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

// The reasons of failed attempts that only a webhook has.
const (
	reasonTooLong  = "too_long"
	reasonBadValue = "bad_value"
	reasonGone     = "gone"
	reasonBody     = "answer_body"
)

var statuses = httpsend.Table{
	http.StatusGone: httpsend.Refused(reasonGone,
		"check url; if this status is about the target's address, name it in the option gone"),
	http.StatusUnauthorized: unauthorized,
	http.StatusForbidden:    unauthorized,
	http.StatusNotFound:     httpsend.Refused(dispatchers.ReasonNotFound, "check url"),

	4: httpsend.Refused(dispatchers.ReasonRejected, "it does not take the message; check body and content_type"),
	3: httpsend.Refused(dispatchers.ReasonRedirect, "redirects are not followed; configure the final url"),
	2: httpsend.Refused(dispatchers.ReasonUnexpectedStatus, "success does not name this status"),
}

var gone = httpsend.Expired(reasonGone, "the address is gone for good")

var unauthorized = httpsend.Refused(dispatchers.ReasonUnauthorized,
	"check the credentials in header, secret and client_cert")

// answers says which answers mean that the message was taken.
type answers struct {
	success     []statusRange
	gone        []int
	successBody *regexp.Regexp // nil: any
	failureBody []failureBody
}

type failureBody struct {
	match *regexp.Regexp
	class dispatchers.Class
}

func newAnswers(w *Webhook) (answers, error) {
	var a answers
	for _, text := range w.Success {
		statuses, err := parseStatus(text)
		if err != nil {
			return a, conf.Errorf("success", "success: %w", err)
		}
		a.success = append(a.success, statuses)
	}
	if len(a.success) == 0 {
		a.success = []statusRange{{200, 299}}
	}
	for _, text := range w.Gone {
		status, err := parseGone(text)
		switch {
		case err != nil:
			return a, conf.Errorf("gone", "gone: %w", err)
		case a.successful(status):
			return a, conf.Errorf("gone", "gone: %d means success as well: remove it from one of gone and success", status)
		}
		a.gone = append(a.gone, status)
	}
	if w.SuccessBody != "" {
		var err error
		if a.successBody, err = compile(w.SuccessBody); err != nil {
			return a, conf.Errorf("success_body", "success_body: %w", err)
		}
	}
	for _, f := range w.FailureBody {
		match, err := compile(f.Match)
		if err != nil {
			return a, conf.Errorf("failure_body", "failure_body: %w", err)
		}
		switch f.Class {
		case "":
			f.Class = dispatchers.Refused
		case dispatchers.Refused, dispatchers.Temporary, dispatchers.Expired, dispatchers.NoTarget, dispatchers.Broken:
		default:
			return a, conf.Errorf("failure_body", "failure_body: %q is not a meaning; there are refused, temporary, expired, no_target and broken", f.Class)
		}
		a.failureBody = append(a.failureBody, failureBody{match, f.Class})
	}
	return a, nil
}

func readFailureBody(w *Webhook, d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 && len(args) != 2 {
		return errors.New("failure_body takes a regular expression, and what it means where that is not refused")
	}
	f := FailureBody{Match: args[0]}
	if len(args) == 2 {
		f.Class = dispatchers.Class(args[1])
	}
	w.FailureBody = append(w.FailureBody, f)
	return nil
}

func compile(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, errors.New("it is empty: write a regular expression")
	}
	match, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("it is not a regular expression, such as ^OK: %w", err)
	}
	return match, nil
}

// judge says what an answer means, and err, which is that of httpsend.Service.Do.
func (a *answers) judge(s *httpsend.Service, answer httpsend.Answer, err error) error {
	switch {
	case answer.Status == 0:
		return err
	case slices.Contains(a.gone, answer.Status):
		return s.Failed(answer, gone)
	case !a.successful(answer.Status):
		return s.Unsuccessful(answer)
	case err != nil && !errors.Is(err, httpsend.ErrBodyTooBig): // what is there of a large body is judged
		return err
	}
	for _, f := range a.failureBody {
		if f.match.Match(answer.Body) {
			return s.Failed(answer, httpsend.Meaning{Class: f.class, Reason: reasonBody, Advice: "failure_body matches what it says"})
		}
	}
	if a.successBody != nil && !a.successBody.Match(answer.Body) {
		return s.Failed(answer, httpsend.Refused(reasonBody, "success_body does not match what it says"))
	}
	return nil
}

// readBody reports whether the bodies of answers are looked at.
func (a *answers) readBody() bool { return a.successBody != nil || len(a.failureBody) > 0 }

// statusRange is the statuses from first to last.
type statusRange struct{ first, last int }

func parseStatus(text string) (statusRange, error) {
	if text == "2xx" || text == "4xx" {
		first := int(text[0]-'0') * 100
		return statusRange{first, first + 99}, nil
	}
	status, err := strconv.Atoi(text)
	if class := status / 100; err != nil || class != 2 && class != 4 {
		return statusRange{}, errors.New("a status is 2xx, 4xx, or a number from 200 to 299 or 400 to 499")
	}
	return statusRange{status, status}, nil
}

func (a *answers) successful(status int) bool {
	return slices.ContainsFunc(a.success, func(s statusRange) bool { return s.first <= status && status <= s.last })
}

func parseGone(text string) (int, error) {
	status, err := strconv.Atoi(text)
	if err != nil || status < 400 || status > 499 {
		return 0, errors.New("a status is a number from 400 to 499, such as 410")
	}
	return status, nil
}
