package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

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
	success, gone map[int]bool // statuses
	body          []bodyRule
}

// bodyRule says what it means if a body of a successful answer matches, or does
// not.
type bodyRule struct {
	match   *regexp.Regexp
	matches bool
	meaning httpsend.Meaning
}

func newAnswers(w *Webhook) (a answers, err error) {
	success := w.Success
	if len(success) == 0 {
		success = []string{"2xx"}
	}
	if a.success, err = statusSet(success, `^[24](\d\d|xx)$`, "2xx, 4xx, or a number from 200 to 299 or 400 to 499"); err != nil {
		return a, conf.Errorf("success", "success: %w", err)
	}
	if a.gone, err = statusSet(w.Gone, `^4\d\d$`, "a number from 400 to 499, such as 410"); err != nil {
		return a, conf.Errorf("gone", "gone: %w", err)
	}
	for status := range a.gone {
		if a.success[status] {
			return a, conf.Errorf("gone", "gone: a status of it means success as well: remove it from one of gone and success")
		}
	}
	for _, f := range w.FailureBody {
		match, err := compile(f.Match)
		switch {
		case err != nil:
			return a, conf.Errorf("failure_body", "failure_body: %w", err)
		case f.Class == dispatchers.NoKey, f.Class != "" && !f.Class.Valid():
			return a, conf.Errorf("failure_body", "failure_body: %q is not a meaning; there are refused, temporary, expired, no_target and broken", f.Class)
		}
		a.body = append(a.body, bodyRule{match, true, httpsend.Meaning{
			Class: cmp.Or(f.Class, dispatchers.Refused), Reason: reasonBody, Advice: "failure_body matches what it says",
		}})
	}
	if w.SuccessBody != "" {
		match, err := compile(w.SuccessBody)
		if err != nil {
			return a, conf.Errorf("success_body", "success_body: %w", err)
		}
		a.body = append(a.body, bodyRule{match, false, httpsend.Refused(reasonBody, "success_body does not match what it says")})
	}
	return a, nil
}

// statusSet reads statuses; 2xx is all of that class.
func statusSet(words []string, form, description string) (map[int]bool, error) {
	set, valid := map[int]bool{}, regexp.MustCompile(form)
	for _, word := range words {
		if !valid.MatchString(word) {
			return nil, fmt.Errorf("a status is %s", description)
		}
		low, _ := strconv.Atoi(strings.ReplaceAll(word, "x", "0"))
		high, _ := strconv.Atoi(strings.ReplaceAll(word, "x", "9"))
		for status := low; status <= high; status++ {
			set[status] = true
		}
	}
	return set, nil
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

func readFailureBody(w *Webhook, d *caddyfile.Dispenser) error {
	args := append(d.RemainingArgs(), "") // the default class
	if len(args) != 2 && len(args) != 3 {
		return errors.New("failure_body takes a regular expression, and what it means where that is not refused")
	}
	w.FailureBody = append(w.FailureBody, FailureBody{Match: args[0], Class: dispatchers.Class(args[1])})
	return nil
}

// judge says what an answer means, and err, which is that of httpsend.Service.Do.
func (a *answers) judge(s *httpsend.Service, answer httpsend.Answer, err error) error {
	switch {
	case answer.Status == 0:
		return err
	case a.gone[answer.Status]:
		return s.FailedAs(answer, gone)
	case !a.success[answer.Status]:
		return s.Failed(answer)
	case err != nil && !errors.Is(err, httpsend.ErrBodyTooBig): // what is there of a large body is judged
		return err
	}
	for _, rule := range a.body {
		if rule.match.Match(answer.Body) == rule.matches {
			return s.FailedAs(answer, rule.meaning)
		}
	}
	return nil
}
