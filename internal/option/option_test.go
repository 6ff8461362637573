package option

import (
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
