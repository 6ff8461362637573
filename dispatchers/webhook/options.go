package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

const maxSegments = 255 // the parts of a concatenated message are counted in one byte

// set checks the options and makes of them what sends.
func (w *Dispatcher) set(logger *slog.Logger) error {
	for _, set := range []func(*slog.Logger) error{w.setURL, w.setMethod, w.setHeaders, w.setText, w.setBody, w.setSecrets, w.setSuccess} {
		if err := set(logger); err != nil {
			return err
		}
	}
	return nil
}

// CheckOptions implements dispatchers.OptionChecker.
func (w *Dispatcher) CheckOptions() error {
	w.checking = true
	return w.set(slog.New(slog.DiscardHandler))
}

// setURL cuts the URL into its origin, which is fixed from here on, and a
// template for the rest.
func (w *Dispatcher) setURL(*slog.Logger) error {
	if w.URL == "" {
		return errors.New("url <template> is needed, such as: url https://sms.example.com/messages")
	}
	if w.checking && slices.ContainsFunc(w.URL.Placeholders(), resolvedAtLoad) {
		w.path = w.URL // where the host ends is known at load
		return checkTemplate("url", w.path)
	}
	text, err := w.resolveInto("url", w.URL)
	if err != nil {
		return err
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return errors.New("url: it is not a URL with a host, such as https://sms.example.com/messages")
	}
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	w.origin, w.path = scheme+"://"+host, dispatchers.Template(path)
	if strings.ContainsAny(w.origin, "{}") {
		return errors.New("url: scheme and host cannot come from a request; placeholders may stand in path and query")
	}
	if _, err := httpclient.ParseURL("url", w.origin); err != nil {
		return err
	}
	if err := checkTemplate("url", w.path); err != nil {
		return err
	}
	if strings.Contains(path, "#") {
		return errors.New("url: a fragment has no meaning here: leave out what begins with #")
	}
	if _, err := w.expandURL(sampleMessage, nil); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	return nil
}

func (w *Dispatcher) setMethod(*slog.Logger) error {
	switch w.Method {
	case "":
		w.Method = http.MethodPost
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		return errors.New("method: it is POST, PUT or PATCH")
	}
	return nil
}

// reserved headers are the transport's or ours.
var reserved = []string{
	"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Idempotency-Key",
	"Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	headerID, headerTimestamp, headerSignature,
}

func (w *Dispatcher) setHeaders(logger *slog.Logger) error {
	w.headers = make(map[string]setting, len(w.Headers))
	for given, template := range w.Headers {
		name := textproto.CanonicalMIMEHeaderKey(given)
		option := "header " + name
		_, twice := w.headers[name]
		switch {
		case !validHeaderName(name):
			return errors.New("header: a name has only letters, digits and hyphens, such as X-Api-Key")
		case slices.Contains(reserved, name):
			return fmt.Errorf("%s: it is set otherwise; see the options content_type and secret", option)
		case twice:
			return fmt.Errorf("%s is given twice", option)
		case strings.ContainsFunc(string(template), unicode.IsControl):
			return fmt.Errorf("%s: it holds control characters", option)
		}
		s, err := w.newSetting(option, template)
		if err != nil {
			return err
		}
		if looksSecret(name) && len(template.Placeholders()) == 0 {
			placeholder.WarnLiteral(option, logger)
		}
		w.headers[name] = s
	}
	return nil
}

func validHeaderName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '-' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}) < 0
}

// looksSecret reports whether a header of this name usually is a credential.
func looksSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"auth", "token", "key", "secret", "password", "credential"}, func(word string) bool {
		return strings.Contains(name, word)
	})
}

func (w *Dispatcher) setText(*slog.Logger) error {
	switch {
	case w.SMSSegments < 0 || w.SMSSegments > maxSegments:
		return fmt.Errorf("sms_segments: it is a number from 1 to %d", maxSegments)
	case slices.Contains(w.Text.Placeholders(), textPlaceholder):
		return errors.New("text: it cannot hold itself: take {webhook.text} out")
	case w.Text == "" && w.SMSSegments > 0:
		return errors.New("sms_segments: there is no text to count; configure text <template>")
	case w.Text == "" && w.uses(textPlaceholder):
		return errors.New("text <template> is needed: {webhook.text} is used")
	case w.Text == "":
		return nil
	case w.Body != "" && !w.uses(textPlaceholder):
		return errors.New("text: nothing uses it; put {webhook.text} into body")
	}
	s, err := w.newSetting("text", w.Text)
	if err != nil {
		return err
	}
	w.text = &s
	return nil
}

func checkContentType(text string) error {
	_, err := formatOf(text)
	return err
}

func (w *Dispatcher) setBody(*slog.Logger) error {
	if w.ContentType == "" {
		w.ContentType = "application/json"
	}
	format, err := formatOf(w.ContentType)
	if err != nil {
		return err
	}
	w.escape = format.escape
	if w.Body == "" {
		if format.name != "JSON" {
			return errors.New("body: the default is JSON; configure one of this content_type")
		}
		return nil
	}
	s, err := w.newSetting("body", w.Body)
	if err != nil {
		return err
	}
	if err := format.check(s.expand(sampleMessage, nil, format.escape)); err != nil {
		return fmt.Errorf("body: it is not %s once values are put in: %w", format.name, err)
	}
	w.body = &s
	return nil
}

func (w *Dispatcher) setSecrets(logger *slog.Logger) error {
	for _, text := range w.Secrets {
		if w.checking {
			if err := checkSecret(text); err != nil {
				return err
			}
			continue
		}
		value, err := placeholder.ResolveSecret("secret", text, logger)
		if err != nil {
			return err
		}
		key, err := parseSecret(value)
		if err != nil {
			return fmt.Errorf("secret: %w", err)
		}
		w.keys = append(w.keys, key)
	}
	return nil
}

func checkSecret(text string) error {
	return placeholder.Check("secret", text, func(value string) error {
		_, err := parseSecret(value)
		return err
	})
}

// statusRange is the statuses from first to last.
type statusRange struct{ first, last int }

func (w *Dispatcher) setSuccess(*slog.Logger) error {
	texts := w.Success
	if len(texts) == 0 {
		texts = []string{"2xx"}
	}
	for _, text := range texts {
		s, err := parseStatus(text)
		if err != nil {
			return err
		}
		w.success = append(w.success, s)
	}
	return nil
}

func parseStatus(text string) (statusRange, error) {
	if text == "2xx" || text == "4xx" {
		first := int(text[0]-'0') * 100
		return statusRange{first, first + 99}, nil
	}
	status, err := strconv.Atoi(text)
	if class := status / 100; err != nil || class != 2 && class != 4 {
		return statusRange{}, errors.New("success: a status is 2xx, 4xx, or a number from 200 to 299 or 400 to 499")
	}
	return statusRange{status, status}, nil
}

// uses reports whether any template holds a placeholder.
func (w *Dispatcher) uses(name string) bool {
	templates := slices.AppendSeq([]dispatchers.Template{w.path, w.Body, w.Text}, maps.Values(w.Headers))
	return slices.ContainsFunc(templates, func(t dispatchers.Template) bool {
		return slices.Contains(t.Placeholders(), name)
	})
}
