// Package secrets reads what must not stand in a configuration: placeholder
// text, resolved when the configuration is loaded, and credential files, which
// may change while the server runs.
package secrets

import (
	"fmt"
	"log/slog"

	"github.com/caddyserver/caddy/v2"
)

// Resolve returns text with Caddy's global placeholders, such as {env.NAME}
// and {file./path}, replaced. A placeholder that is unknown or has no value
// and an empty result are errors; they name the option and quote nothing of
// the text, which may be a secret.
func Resolve(option, text string) (string, error) {
	value, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: it holds a placeholder that is unknown or has no value", option)
	}
	if value == "" {
		return "", fmt.Errorf("%s: it is empty", option)
	}
	return value, nil
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
