package option

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestText(t *testing.T) {
	type text string
	for _, tc := range []struct {
		block   string
		present text
		want    text
		err     string
	}{
		{"name canary", "", "canary", ""},
		{`name "two words"`, "", "two words", ""},
		{"name", "", "", "name takes one word"},
		{`name ""`, "", "", "name takes one word"},
		{"name canary canary", "", "", "name takes one word"},
		{"name canary", "old", "old", "name is given twice"},
	} {
		d := caddyfile.NewTestDispenser(tc.block)
		d.Next()
		got := tc.present
		err := Text(d, &got, "one word")
		if got != tc.want || (err == nil) != (tc.err == "") {
			t.Errorf("%s: got %q, %v", tc.block, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: error %q, want %q in it and no argument", tc.block, err, tc.err)
		}
	}
}

func TestChecked(t *testing.T) {
	check := func(value string) error {
		if value != "good" {
			return errors.New("name: write good")
		}
		return nil
	}
	for block, want := range map[string]string{
		"name good":      "",
		"name canary":    "name: write good, at Testfile:1",
		"name good good": "name takes one word",
	} {
		var got string
		d := caddyfile.NewTestDispenser(block)
		d.Next()
		err := Checked(d, &got, "one word", check)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: %v", block, err)
		}
	}
}

func TestPath(t *testing.T) {
	for block, want := range map[string]string{
		"ca /etc/ca.pem":       "",
		"ca {env.OOB_CA}":      "",
		`ca {"canary":"x"}`:    "ca: it takes the path of a file",
		"ca {canary}/ca.pem":   "ca: it holds a placeholder that is unknown here",
		"ca /etc/ca.pem other": "ca takes one path",
	} {
		var got string
		d := caddyfile.NewTestDispenser(block)
		d.Next()
		err := Path(d, &got, "one path")
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: %v", block, err)
		}
	}
}
