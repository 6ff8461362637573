package wording

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

func TestLanguageOfAMessage(t *testing.T) {
	for _, tc := range []struct {
		name     string
		language []dispatchers.Template
		values   map[string]string
		want     string
	}{
		{"default", nil, nil, "en"},
		{"of the request's data", nil, map[string]string{"oob.data.language": "fr", "http.request.header.Accept-Language": "de"}, "fr"},
		{"of the header", nil, map[string]string{"http.request.header.Accept-Language": "x;q=2, it-CH"}, "en"},
		{"of a good header", nil, map[string]string{"http.request.header.Accept-Language": "ja, it-CH;q=0.5"}, "it"},
		{"configured", []dispatchers.Template{"{oob.name}", "de"}, map[string]string{"oob.name": "it"}, "it"},
		{"configured, without a value", []dispatchers.Template{"{oob.name}", "de"}, nil, "de"},
	} {
		texts, err := Load(texts.Letter, "", tc.language)
		if err != nil {
			t.Fatal(err)
		}
		m := &dispatchers.Message{Lookup: func(name string) (string, bool) { v, ok := tc.values[name]; return v, ok }}
		if got := texts.Language(m); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		dir      string
		language []dispatchers.Template
		want     string
	}{
		"unknown placeholder": {"", []dispatchers.Template{"{oob.nothing}", "de"}, "language: unknown placeholder"},
		"no last resort":      {"", []dispatchers.Template{"{oob.data.language}"}, "has to be one that there are always texts in: de, en, fr, it"},
		"unknown language":    {"", []dispatchers.Template{"ja"}, `the last one, "ja"`},
		"no such folder":      {t.TempDir() + "/none", nil, "/none"},
		"empty placeholder":   {"{env.OOB_NOT_SET}", nil, "templates"},
	} {
		if _, err := Load(texts.Mail, tc.dir, tc.language); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, tc.want)
		}
	}
}

func TestParseLanguage(t *testing.T) {
	d := caddyfile.NewTestDispenser("language")
	got, err := ParseLanguage(d, []string{"{oob.name}", "de"})
	if err != nil || !slices.Equal(got, []dispatchers.Template{"{oob.name}", "de"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := ParseLanguage(d, nil); err == nil || !strings.Contains(err.Error(), "language takes") {
		t.Errorf("no arguments: %v", err)
	}
}
