// Package wording holds what dispatchers share that write whole texts to people:
// the options templates and language.
package wording

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

// Texts are the texts of one dispatcher.
type Texts struct {
	*texts.Set
	language []dispatchers.Template
	fallback string
}

// Load reads the texts: dir is the option templates, language the option of
// that name; either may be empty. Placeholders in dir are resolved.
func Load(m texts.Medium, dir string, language []dispatchers.Template) (*Texts, error) {
	if dir != "" {
		var err error
		if dir, err = placeholder.ResolvePath("templates", dir); err != nil {
			return nil, err
		}
	}
	set, err := texts.Load(m, dir)
	if err != nil {
		return nil, err
	}
	if len(language) == 0 {
		language = []dispatchers.Template{"{oob.data.language}", "{http.request.header.Accept-Language}", "en"}
	}
	if err := checkTemplates(language); err != nil {
		return nil, err
	}
	fallback := string(language[len(language)-1])
	if err := checkFallback(set, fallback); err != nil {
		return nil, err
	}
	return &Texts{Set: set, language: language, fallback: fallback}, nil
}

// Check looks at the options of Load without reading the folder, which may hold
// texts in further languages.
func Check(m texts.Medium, dir string, language []dispatchers.Template) error {
	if err := checkTemplates(language); err != nil || dir != "" || len(language) == 0 {
		return err
	}
	set, err := texts.Load(m, "")
	if err != nil {
		return err
	}
	return checkFallback(set, string(language[len(language)-1]))
}

func checkTemplates(language []dispatchers.Template) error {
	for _, t := range language {
		if err := t.Check(); err != nil {
			return fmt.Errorf("language: %w", err)
		}
	}
	return nil
}

func checkFallback(set *texts.Set, fallback string) error {
	if !slices.Contains(set.Languages(), fallback) {
		return fmt.Errorf("language: the last one, %q, has to be one that there are always texts in: %s",
			fallback, strings.Join(set.Languages(), ", "))
	}
	return nil
}

// Language returns the language to write a message in.
func (t *Texts) Language(m *dispatchers.Message) string {
	wishes := make([]string, len(t.language))
	for i, wish := range t.language {
		wishes[i] = m.Expand(wish, nil)
	}
	return t.Pick(t.fallback, wishes...)
}

// ParseLanguage reads the arguments of the option language.
func ParseLanguage(d *caddyfile.Dispenser, args []string) ([]dispatchers.Template, error) {
	if len(args) == 0 {
		return nil, d.Err("language takes templates in order of preference, and one of the languages at the end")
	}
	language := make([]dispatchers.Template, len(args))
	for i, arg := range args {
		language[i] = dispatchers.Template(arg)
	}
	if err := checkTemplates(language); err != nil {
		return nil, d.WrapErr(err)
	}
	return language, nil
}
