package conf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/conf"
)

type level struct {
	Low int `json:"low,omitempty"`
}

type gateway struct {
	URL      string         `json:"url,omitempty"`
	Mode     string         `json:"mode,omitempty"`
	Note     *string        `json:"note,omitempty"`
	Password string         `json:"password,omitempty"`
	File     string         `json:"file,omitempty"`
	Names    []string       `json:"names,omitempty"`
	Keys     []string       `json:"keys,omitempty"`
	Dry      bool           `json:"dry,omitempty"`
	N        int            `json:"n,omitempty"`
	Retries  *int           `json:"retries,omitempty"`
	Timeout  caddy.Duration `json:"timeout,omitempty"`
	Size     int64          `json:"size,omitempty"`
	Level    level          `json:"level,omitzero"`
}

func noX(text string) error {
	if strings.Contains(text, "x") {
		return errors.New("it holds an x")
	}
	return nil
}

var table = conf.Table[gateway]{
	conf.Argument(conf.Placeholder("url", func(g *gateway) *string { return &g.URL }, noX)),
	conf.OneOf("mode", func(g *gateway) *string { return &g.Mode }, "fast", "slow", "off"),
	conf.OptionalText("note", func(g *gateway) **string { return &g.Note }, noX),
	conf.Placeholder("password", func(g *gateway) *string { return &g.Password }, nil),
	conf.Path("file", func(g *gateway) *string { return &g.File }),
	conf.Words("names", func(g *gateway) *[]string { return &g.Names }, noX),
	conf.Each("key", func(g *gateway) *[]string { return &g.Keys }, noX),
	conf.Flag("dry", func(g *gateway) *bool { return &g.Dry }),
	conf.Int("n", func(g *gateway) *int { return &g.N }, 1, 9, 4),
	conf.OptionalInt("retries", func(g *gateway) **int { return &g.Retries }, 0, 3, 2),
	conf.Duration("timeout", func(g *gateway) *caddy.Duration { return &g.Timeout }, time.Hour, time.Second),
	conf.Size("size", func(g *gateway) *int64 { return &g.Size }, 1<<10, 1<<20, 1<<12),
	conf.Block("level", conf.Table[level]{
		conf.Int("low", func(l *level) *int { return &l.Low }, 1, 5, 3),
	}, func(g *gateway) *level { return &g.Level }),
}

// Check implements conf.Checker.
func (g *gateway) Check() error {
	if g.Mode == "off" && g.N > 0 {
		return conf.Errorf("n", "n has no meaning with mode off")
	}
	return nil
}

func unmarshal(block string) (*gateway, error) {
	g := new(gateway)
	err := table.Unmarshal(caddyfile.NewTestDispenser(block), g)
	return g, err
}

func TestUnmarshal(t *testing.T) {
	g, err := unmarshal(`gateway https://a {
		mode slow
		note ""
		password {env.P}
		file /etc/key
		names a b
		key {env.K}
		key other
		dry
		n 9
		retries 0
		timeout 5m
		size 64KiB
		level {
			low 2
		}
	}`)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(g)
	want := `{"url":"https://a","mode":"slow","note":"","password":"{env.P}","file":"/etc/key","names":["a","b"],"keys":["{env.K}","other"],` +
		`"dry":true,"n":9,"retries":0,"timeout":300000000000,"size":65536,"level":{"low":2}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Each fault is told with the option and its line, and without the value where
// that may be secret.
func TestFaultsNameOptionAndLine(t *testing.T) {
	for _, tt := range []struct {
		options string
		line    int
		want    string
	}{
		{"colour red", 2, `unrecognized option "colour" of gateway; there are mode, note, password`},
		{"mode", 2, "mode takes one value"},
		{"mode fast slow", 2, "mode takes one value"},
		{`mode ""`, 2, "mode takes one value"},
		{"mode medium", 2, "mode: it takes fast, slow or off"},
		{"mode fast\nmode fast", 3, "mode is given twice"},
		{"note a b", 2, "note takes one value"},
		{"note x", 2, "note: it holds an x"},
		{"password canary canary", 2, "password takes one value"},
		{"password {canary}", 2, "password: it holds a placeholder"},
		{"file \"-----BEGIN canary\"", 2, "file: it takes the path of a file"},
		{"names", 2, "names takes one or more values"},
		{"names a x", 2, "names: it holds an x"},
		{"key x", 2, "key: it holds an x"},
		{"key", 2, "key takes one value"},
		{"dry yes", 2, "dry takes no value"},
		{"n ten", 2, "n takes a whole number from 1 to 9"},
		{"n 0", 2, "n takes a whole number from 1 to 9"},
		{"n 10", 2, "n takes a whole number from 1 to 9"},
		{"retries -1", 2, "retries takes a whole number from 0 to 3"},
		{"timeout 0s", 2, "timeout takes a duration longer than zero"},
		{"timeout soon", 2, "timeout takes a duration longer than zero"},
		{"timeout 2h", 2, "timeout takes a duration of at most 1h"},
		{"size 1", 2, "size takes a size from 1.0 KiB to 1.0 MiB"},
		{"size 2MiB", 2, "size takes a size from 1.0 KiB to 1.0 MiB"},
		{"size much", 2, "size takes a size from 1.0 KiB to 1.0 MiB"},
		{"level {\nlow 6\n}", 3, "low takes a whole number from 1 to 5"},
		{"level {\nhigh 6\n}", 3, `unrecognized option "high" of level`},
		{"level 3", 2, "level has a superfluous argument"},
		{"dry\nn 3\nmode off", 3, "n has no meaning with mode off"},
	} {
		_, err := unmarshal("gateway https://a {\n" + tt.options + "\n}")
		if err == nil {
			t.Errorf("%q was read", tt.options)
			continue
		}
		text := err.Error()
		if place := fmt.Sprintf("Testfile:%d", tt.line); !strings.Contains(text, tt.want) || strings.Count(text, "Testfile:") != 1 || !strings.Contains(text, place) {
			t.Errorf("%q: %s\nwant %s, at %s", tt.options, text, tt.want, place)
		}
		if strings.Contains(text, "canary") {
			t.Errorf("%q: the error quotes a value: %s", tt.options, text)
		}
	}
	for _, head := range []string{"gateway", "gateway a b", "gateway ax"} {
		if _, err := unmarshal(head); err == nil || !strings.Contains(err.Error(), "Testfile:1") {
			t.Errorf("%s: %v", head, err)
		}
	}
}

// What came from JSON is checked as what came from a Caddyfile is.
func TestProvisionChecks(t *testing.T) {
	for text, want := range map[string]string{
		`{"url":"ax"}`:                    "url",
		`{"mode":"medium"}`:               "mode",
		`{"n":-1}`:                        "n takes",
		`{"n":10}`:                        "n takes",
		`{"retries":4}`:                   "retries",
		`{"timeout":-1}`:                  "timeout",
		`{"size":5}`:                      "size",
		`{"names":["a",""]}`:              "names",
		`{"keys":["x"]}`:                  "key",
		`{"level":{"low":7}}`:             "level: low",
		`{"mode":"off","n":1}`:            "n has no meaning",
		`{"password":"{env.CONF_UNSET}"}`: "password",
		`{"file":"{file./no/such/file}"}`: "file",
	} {
		g := new(gateway)
		if err := json.Unmarshal([]byte(text), g); err != nil {
			t.Fatal(err)
		}
		err := table.Provision(g, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestProvisionResolvesAndSetsDefaults(t *testing.T) {
	t.Setenv("CONF_URL", "https://b")
	t.Setenv("CONF_KEY", "k")
	var log bytes.Buffer
	g := &gateway{URL: "{env.CONF_URL}", Keys: []string{"{env.CONF_KEY}", "canary"}}
	if err := table.Provision(g, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if g.URL != "https://b" || g.Keys[0] != "k" || g.N != 4 || *g.Retries != 2 || time.Duration(g.Timeout) != time.Second || g.Size != 1<<12 || g.Level.Low != 3 {
		t.Errorf("got %+v", g)
	}
	if !strings.Contains(log.String(), "option=key") || strings.Contains(log.String(), "canary") {
		t.Errorf("the secret in the configuration is warned about without quoting it: %s", log.String())
	}
	t.Setenv("CONF_URL", "ax")
	if err := table.Provision(&gateway{URL: "{env.CONF_URL}"}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a value that the environment brought was not checked")
	}
}

// Options that several modules share are taken out of another module's block,
// which gets what is left.
func TestTakeLeavesTheRest(t *testing.T) {
	common := conf.Table[gateway]{
		conf.Int("n", func(g *gateway) *int { return &g.N }, 1, 9, 0),
	}
	for block, want := range map[string]string{
		"sms {\nn 3\n}":                "sms",
		"sms a b {\nn 3\ntext x\n}":    "sms a b { text x }",
		"sms {\nsub {\na b\n}\nn 3\n}": "sms { sub { a b } }",
	} {
		g := new(gateway)
		rest, _, err := common.Take(caddyfile.NewTestDispenser(block), g)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for rest.Next() {
			words = append(words, rest.Val())
		}
		if got := strings.Join(words, " "); got != want || g.N != 3 {
			t.Errorf("%q: %q is left, n is %d", block, got, g.N)
		}
	}
	_, lines, err := common.Take(caddyfile.NewTestDispenser("sms {\nn 3\n}"), new(gateway))
	if err != nil {
		t.Fatal(err)
	}
	if err := lines.Wrap(conf.Errorf("n", "too many")); !strings.Contains(err.Error(), "too many, at Testfile:2") {
		t.Errorf("got %v", err)
	}
	if err := common.Misplaced(lines, "not here"); !strings.Contains(err.Error(), "n: not here, at Testfile:2") {
		t.Errorf("got %v", err)
	}
	if err := lines.Wrap(errors.New("bad")); !strings.Contains(err.Error(), "bad, at Testfile:1") {
		t.Errorf("got %v", err)
	}
}
