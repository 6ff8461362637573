// Package placeholder resolves Caddy's global placeholders in options, such as
// {env.NAME} and {file./path}, when the configuration is loaded.
package placeholder

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Resolve returns text with Caddy's global placeholders, such as {env.NAME}
// and {file./path}, replaced. A placeholder that is unknown or has no value
// and an empty result are errors. They name the option, and the variable or
// file; they quote nothing else of the text, which may be a secret.
func Resolve(option, text string) (string, error) {
	replacer := caddy.NewReplacer()
	value, err := replacer.ReplaceOrErr(text, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: %s", option, missing(replacer, text))
	}
	if value == "" {
		return "", fmt.Errorf("%s: it is empty", option)
	}
	return value, nil
}

// missing says which placeholder has no value.
func missing(replacer *caddy.Replacer, text string) string {
	for _, name := range names(text) {
		if value, _ := replacer.GetString(name); value != "" {
			continue
		}
		if variable, ok := strings.CutPrefix(name, "env."); ok {
			return fmt.Sprintf("it holds a placeholder without a value: the environment variable %s is not set, or empty", variable)
		}
		if path, ok := strings.CutPrefix(name, "file."); ok {
			return fmt.Sprintf("it holds a placeholder without a value: the file %s is empty, or cannot be read", path)
		}
	}
	return "it holds a placeholder that is unknown or has no value"
}

// names returns the names of the placeholders in a text.
func names(text string) (names []string) {
	replacer := caddy.NewEmptyReplacer()
	replacer.Map(func(name string) (any, bool) {
		names = append(names, name)
		return "", true
	})
	replacer.ReplaceAll(text, "")
	return names
}

// Check looks at text as far as that is possible before the configuration is
// loaded: it refuses placeholders that Resolve does not know, and has valid
// look at a text that holds none; nil finds every text right. It reads neither
// files nor the environment. Errors name the option and quote nothing.
func Check(option, text string, valid func(value string) error) error {
	names := names(text)
	value := caddy.NewEmptyReplacer().ReplaceAll(text, "")
	switch {
	case slices.ContainsFunc(names, unknown):
		return fmt.Errorf("%s: it holds a placeholder that is unknown here; there are {env.NAME}, {file./path} and {system.hostname}", option)
	case len(names) > 0:
		return nil
	case value == "":
		return fmt.Errorf("%s: it is empty", option)
	case valid == nil:
		return nil
	}
	if err := valid(value); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	return nil
}

// unknown reports placeholders that are not global ones of Caddy's.
func unknown(name string) bool {
	return !slices.ContainsFunc([]string{"env.", "file.", "system.", "time."}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// CheckPath is Check for the path of a file. It tells a path from what belongs
// into the file.
func CheckPath(option, text string) error {
	if err := notContent(option, text); err != nil {
		return err
	}
	return Check(option, text, nil)
}

// ResolvePath is Resolve for the path of a file.
func ResolvePath(option, text string) (string, error) {
	if err := notContent(option, text); err != nil {
		return "", err
	}
	return Resolve(option, text)
}

func notContent(option, text string) error {
	if strings.ContainsAny(text, "\n\"") || strings.Contains(text, "-----BEGIN") {
		return fmt.Errorf("%s: it takes the path of a file, and this is the content of one; "+
			"put that into a file that only the server's user can read", option)
	}
	return nil
}

// ResolveSecret is Resolve for a secret: it warns about one that stands in the
// configuration itself, which the admin API shows and Caddy saves to disk.
func ResolveSecret(option, text string, logger *slog.Logger) (string, error) {
	value, err := Resolve(option, text)
	if err == nil && value == text {
		WarnLiteral(option, logger)
	}
	return value, err
}

// WarnLiteral logs that an option holds a secret as plain text.
func WarnLiteral(option string, logger *slog.Logger) {
	logger.Warn("a secret stands in the configuration; use a placeholder such as {env.NAME} or {file./path}",
		slog.String("option", option))
}
