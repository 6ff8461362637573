package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/secrets"
)

// The placeholders of this dispatcher.
const (
	ownPrefix          = "webhook."
	addressPlaceholder = ownPrefix + "address"
	idPlaceholder      = ownPrefix + "id"
	textPlaceholder    = ownPrefix + "text"
)

// values are those of our own placeholders for one message.
type values map[string]string

// setting is a template whose {env.…} and {file.…} were resolved at load. The
// results are values like any other: escaped, and not expanded again.
type setting struct {
	template dispatchers.Template
	loaded   map[string]string
}

func newSetting(option string, t dispatchers.Template) (setting, error) {
	s := setting{template: t, loaded: map[string]string{}}
	if err := check(t); err != nil {
		return s, fmt.Errorf("%s: %w", option, err)
	}
	for _, name := range t.Placeholders() {
		if !resolvedAtLoad(name) {
			continue
		}
		value, err := secrets.Resolve(option, "{"+name+"}")
		if err != nil {
			return s, err
		}
		s.loaded[name] = value
	}
	return s, nil
}

// expand fills the template with what was loaded, our own values and those of
// the message.
func (s setting) expand(m *dispatchers.Message, own values, escape func(string) string) string {
	filled := *m
	filled.Lookup = func(name string) (string, bool) {
		if value, ok := s.loaded[name]; ok {
			return value, true
		}
		if value, ok := own[name]; ok {
			return value, true
		}
		if m.Lookup == nil {
			return "", false
		}
		return m.Lookup(name)
	}
	return filled.Expand(s.template, escape)
}

// resolveInto puts the values of {env.…} and {file.…} into the text itself.
func resolveInto(option string, t dispatchers.Template) (string, error) {
	text := string(t)
	for _, name := range t.Placeholders() {
		if !resolvedAtLoad(name) {
			continue
		}
		value, err := secrets.Resolve(option, "{"+name+"}")
		if err != nil {
			return "", err
		}
		if strings.ContainsAny(value, "{}") {
			return "", fmt.Errorf("%s: the value of a placeholder holds braces", option)
		}
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text, nil
}

func resolvedAtLoad(name string) bool {
	return strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file.")
}

// check fails for placeholders that do not exist.
func check(t dispatchers.Template) error {
	for _, name := range t.Placeholders() {
		known := []string{addressPlaceholder, idPlaceholder, textPlaceholder}
		if strings.HasPrefix(name, ownPrefix) && !slices.Contains(known, name) {
			return errors.New("there are only {webhook.address}, {webhook.id} and {webhook.text}")
		}
	}
	return t.Check()
}

// sampleMessage has a value for every placeholder, which shows whether a
// template stays well-formed. The space does not go without quotes.
var sampleMessage = &dispatchers.Message{Lookup: func(string) (string, bool) { return "x x", true }}
