package dispatchers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func message(values map[string]string) *Message {
	return &Message{ID: "id", Address: "secret", Lookup: func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}}
}

func TestExpand(t *testing.T) {
	m := message(map[string]string{
		"oob.link": "https://x", "oob.notification.title": `say "hi" {oob.link}`, "http.request.header.X": "h", "oob.data.a": "1",
	})
	for template, want := range map[string]string{
		"":                                "",
		"plain":                           "plain",
		"{oob.link}":                      "https://x",
		"a {oob.link} b {oob.data.a}":     "a https://x b 1",
		`{"l":"{oob.link}","n":{"a":{}}}`: `{"l":"https://x","n":{"a":{}}}`,
		"{http.request.header.X}":         "h",
		"{unknown.thing} {}":              "{unknown.thing} {}",
		"{oob.user.email}|":               "|",
		"{oob.notification.title}":        `say "hi" {oob.link}`,
		"{{oob.link}}":                    "{https://x}",
		"{ oob.link }":                    "{ oob.link }",
		"{oob.link":                       "{oob.link",
		"oob.link}":                       "oob.link}",
	} {
		if got := m.Expand(Template(template), nil); got != want {
			t.Errorf("%s: got %s, want %s", template, got, want)
		}
	}
}

func TestExpandEscapesValuesOnly(t *testing.T) {
	m := message(map[string]string{"oob.notification.title": "a\"b\n"})
	got := m.Expand(`{"t":"{oob.notification.title}"}`, func(s string) string {
		b, _ := json.Marshal(s)
		return strings.Trim(string(b), `"`)
	})
	if !json.Valid([]byte(got)) {
		t.Errorf("got %s", got)
	}
}

func TestUnknownPlaceholdersAreErrors(t *testing.T) {
	for template, ok := range map[string]bool{
		"{oob.link} {oob.data.x} {oob.user.email} {http.request.uri} {}": true,
		"{oob.lnk}":                      false,
		"{oob.data.}":                    false,
		"{oob.token}":                    false,
		"{oob.}":                         false,
		`{"a":"{oob.target}{oob.nope}"}`: false,
		"{http.request.header.X":         false,
		"tel:{oob.target and more":       false,
		`{"a":"{oob.target"}`:            false,
		"{oob.a {oob.link}":              false,
		`{"http.a": {"oob.b": 1}}`:       true,
	} {
		if err := Template(template).Check(); (err == nil) != ok {
			t.Errorf("%s: %v", template, err)
		}
	}
	if names := Template("{a} {oob.link}").Placeholders(); !slices.Equal(names, []string{"a", "oob.link"}) {
		t.Errorf("got %q", names)
	}
	if !Template("x{oob.user.email}").Uses("oob.user.") || Template("{oob.link}").Uses("oob.user.") {
		t.Error("Uses is wrong")
	}
}

func TestClassesShowTheirResults(t *testing.T) {
	for class, want := range map[Class]nevisfido.DispatchResult{
		Delivered: nevisfido.Dispatched, Expired: nevisfido.DispatchTargetExpired, NoTarget: nevisfido.DispatchTargetNotFound,
		NoKey: nevisfido.DispatchError, Refused: nevisfido.DispatchError, Temporary: nevisfido.DispatchError,
		Broken: nevisfido.InternalError, Class("other"): nevisfido.InternalError,
	} {
		if got := class.Result(); got != want {
			t.Errorf("%s: got %s", class, got)
		}
		if class.Valid() != (class != Delivered && class != "other") {
			t.Errorf("%s: Valid is wrong", class)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for want, expires := range map[time.Duration]time.Time{
		2 * time.Minute: now.Add(2*time.Minute + time.Millisecond), 0: now.Add(-time.Hour), 5 * time.Minute: {},
	} {
		if got := (&Message{Expires: expires}).TimeLeft(now); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestAsError(t *testing.T) {
	failure := Fail(Refused, "r", "because: %w", errors.New("x"))
	if got := AsError(fmt.Errorf("wrapped: %w", failure)); got != failure {
		t.Errorf("got %v", got)
	}
	for err, want := range map[error]Class{
		context.DeadlineExceeded: Temporary, context.Canceled: Temporary, errors.New("x"): Broken,
	} {
		if got := AsError(err); got.Class != want || !errors.Is(got, err) {
			t.Errorf("%v: got %v", err, got)
		}
	}
}

func TestMessagesDoNotPrint(t *testing.T) {
	m := message(nil)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, m); strings.Contains(text, "secret") {
			t.Errorf("%s: %s", format, text)
		}
	}
}

// loading is the context of a dispatcher that is being provisioned.
type loading struct {
	context.Context
	log *bytes.Buffer
}

func (l loading) Slogger() *slog.Logger { return slog.New(slog.NewTextHandler(l.log, nil)) }

func TestLoggersNameTheDispatcher(t *testing.T) {
	for want, ctx := range map[string]context.Context{
		"msg=m dispatcher=push\n": context.WithValue(t.Context(), NameKey{}, "push"),
		"msg=m\n":                 t.Context(),
	} {
		log := new(bytes.Buffer)
		Logger(loading{ctx, log}).Info("m")
		if !strings.HasSuffix(log.String(), want) {
			t.Errorf("got %s, want %s", log, want)
		}
	}
}
