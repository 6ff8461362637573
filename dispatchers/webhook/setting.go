package webhook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
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

// resolve is placeholder.Resolve. Before the configuration is loaded a number
// stands in for the value, which can stand wherever a value can.
func (w *Dispatcher) resolve(option, text string) (string, error) {
	if w.checking {
		return "1", nil
	}
	return placeholder.Resolve(option, text)
}

func (w *Dispatcher) newSetting(option string, t dispatchers.Template) (setting, error) {
	s := setting{template: t, loaded: map[string]string{}}
	if err := checkTemplate(option, t); err != nil {
		return s, err
	}
	for _, name := range t.Placeholders() {
		if !resolvedAtLoad(name) {
			continue
		}
		value, err := w.resolve(option, "{"+name+"}")
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
func (w *Dispatcher) resolveInto(option string, t dispatchers.Template) (string, error) {
	text := string(t)
	for _, name := range t.Placeholders() {
		if !resolvedAtLoad(name) {
			continue
		}
		value, err := w.resolve(option, "{"+name+"}")
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

// checkTemplate fails for placeholders that do not exist.
func checkTemplate(option string, t dispatchers.Template) error {
	for _, name := range t.Placeholders() {
		known := []string{addressPlaceholder, idPlaceholder, textPlaceholder}
		if strings.HasPrefix(name, ownPrefix) && !slices.Contains(known, name) {
			return fmt.Errorf("%s: there are only {webhook.address}, {webhook.id} and {webhook.text}", option)
		}
	}
	if err := t.Check(); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	return nil
}

// sampleMessage has a value for every placeholder, which shows whether a
// template stays well-formed. The space does not go without quotes.
var sampleMessage = &dispatchers.Message{Lookup: func(string) (string, bool) { return "x x", true }}
