package letter

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

func TestCaddyfile(t *testing.T) {
	text := `letter {
		spool /spool
		max_spool 50
		printer ipps://print.example.com/letters
		templates /templates
		language {oob.data.lang} {http.request.header.Accept-Language} de
		min_lifetime 4d
		sender "Bank | Postfach | 8000 Zürich"
		window left
		proxy http://proxy.example.com
		ca /ca.pem
		client_cert /cert.pem /key.pem
	}`
	want := Letter{
		Spool: "/spool", MaxSpool: 50, Printer: "ipps://print.example.com/letters",
		MinLifetime: caddy.Duration(96 * time.Hour), Sender: "Bank | Postfach | 8000 Zürich", Window: "left",
		Config: texts.Config{
			Templates: "/templates",
			Language:  []dispatchers.Template{"{oob.data.lang}", "{http.request.header.Accept-Language}", "de"},
		},
		Options: httpclient.Options{
			Proxy: "http://proxy.example.com", CA: "/ca.pem",
			ClientCert: &httpclient.ClientCert{Cert: "/cert.pem", Key: "/key.pem"},
		},
	}
	var l Letter
	if err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil || !reflect.DeepEqual(l, want) {
		t.Errorf("%v, got %+v, want %+v", err, l, want)
	}
}

// TestCaddyfileErrors: each names the option and its line.
func TestCaddyfileErrors(t *testing.T) {
	for options, want := range map[string]string{
		"sender 山田銀行":                         "sender",
		"sender " + strings.Repeat("W", 60):   "sender",
		"sender " + strings.Repeat("x", 100):  "sender",
		"spool /a\nlanguage {oob.data.x}":     "language",
		"spool /a\nlanguage rm":               "language",
		"printer ipps://h/p\nmax_spool 1":     "max_spool",
		"printer lp0":                         "printer",
		"printer ipp://printer.example.com/p": "printer",
	} {
		err := new(Letter).UnmarshalCaddyfile(caddyfile.NewTestDispenser("letter {\n" + options + "\n}"))
		last := "Testfile:" + string(rune('2'+strings.Count(options, "\n")))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), last) {
			t.Errorf("%q: got %v, want %s and %s", options, err, want, last)
		}
	}
}

func TestProvisionRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	open, bad := filepath.Join(dir, "open"), filepath.Join(dir, "templates")
	for path, content := range map[string]string{file: "", filepath.Join(bad, "registration.de.txt"): "\n{{", filepath.Join(open, "x"): ""} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, path, []byte(content))
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		l    Letter
		want string
	}{
		"no such folder":        {Letter{Spool: filepath.Join(dir, "none")}, "does not exist"},
		"file as spool":         {Letter{Spool: file}, "not a folder"},
		"spool for everybody":   {Letter{Spool: open}, "chmod o-w"},
		"spool from nothing":    {Letter{Spool: "{env.NO_SUCH_VARIABLE}"}, "spool"},
		"missing ca":            {Letter{Printer: "ipps://h/p", Options: httpclient.Options{CA: filepath.Join(dir, "none")}}, "ca"},
		"ca without a printer":  {Letter{Spool: dir, Options: httpclient.Options{CA: "x"}}, "printer"},
		"quota without a spool": {Letter{Printer: "ipps://h/p", MaxSpool: 1}, "max_spool"},
		"broken template":       {Letter{Spool: dir, Config: texts.Config{Templates: bad}}, "registration.de.txt:2"},
		"no templates":          {Letter{Spool: dir, Config: texts.Config{Templates: filepath.Join(dir, "none")}}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
			defer cancel()
			err := tc.l.Provision(ctx)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}
