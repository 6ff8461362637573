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
)

func TestUnmarshalCaddyfile(t *testing.T) {
	tests := []struct {
		name, text string
		want       Dispatcher
		err        string
	}{
		{"spool", "letter {\n spool /var/spool/letters\n}", Dispatcher{Spool: "/var/spool/letters"}, ""},
		{"everything", `letter {
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
		}`, Dispatcher{
			Spool: "/spool", MaxSpool: 50, Printer: "ipps://print.example.com/letters", Templates: "/templates",
			Language:    []dispatchers.Template{"{oob.data.lang}", "{http.request.header.Accept-Language}", "de"},
			MinLifetime: caddy.Duration(96 * time.Hour), Sender: "Bank | Postfach | 8000 Zürich", Window: "left",
			Options: httpclient.Options{
				Proxy: "http://proxy.example.com", CA: "/ca.pem",
				ClientCert: &httpclient.ClientCert{Cert: "/cert.pem", Key: "/key.pem"},
			},
		}, ""},
		{"argument", "letter /spool", Dispatcher{}, "/spool"},
		{"unknown option", "letter {\n color red\n}", Dispatcher{}, `"color"`},
		{"twice", "letter {\n spool /a\n spool /b\n}", Dispatcher{}, "spool is given twice"},
		{"ca twice", "letter {\n ca /a\n ca /b\n}", Dispatcher{}, "ca is given twice"},
		{"no value", "letter {\n spool\n}", Dispatcher{}, "spool takes one value"},
		{"two values", "letter {\n sender Example Bank\n}", Dispatcher{}, "in quotes"},
		{"no languages", "letter {\n language\n}", Dispatcher{}, "language takes"},
		{"bad number", "letter {\n max_spool many\n}", Dispatcher{}, `"many"`},
		{"zero", "letter {\n max_spool 0\n}", Dispatcher{}, `"0"`},
		{"bad duration", "letter {\n min_lifetime soon\n}", Dispatcher{}, `"soon"`},
		{"negative duration", "letter {\n min_lifetime -1h\n}", Dispatcher{}, `"-1h"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l Dispatcher
			err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.text))
			switch {
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("err = %v, want %q", err, tt.err)
			case tt.err == "" && err != nil:
				t.Error(err)
			case tt.err == "" && !reflect.DeepEqual(l, tt.want):
				t.Errorf("dispatcher = %+v, want %+v", l, tt.want)
			}
		})
	}
}

func TestProvisionRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "templates")
	if err := os.Mkdir(bad, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bad, "registration.de.txt"), []byte("\n{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		l    Dispatcher
		want string
	}{
		{"nowhere to go", Dispatcher{}, "spool <dir> or printer <ipp_url>"},
		{"no such folder", Dispatcher{Spool: filepath.Join(dir, "none")}, "there is no folder"},
		{"file as spool", Dispatcher{Spool: file}, "not a folder"},
		{"spool for everybody", Dispatcher{Spool: open}, "chmod o-w"},
		{"spool from nothing", Dispatcher{Spool: "{env.NO_SUCH_VARIABLE}"}, "spool"},
		{"plain ipp", Dispatcher{Printer: "ipp://printer.example.com/p"}, "this machine only"},
		{"no printer URL", Dispatcher{Printer: "lp0"}, "ipps"},
		{"missing ca", Dispatcher{Printer: "ipps://h/p", Options: httpclient.Options{CA: filepath.Join(dir, "none")}}, "ca"},
		{"ca without a printer", Dispatcher{Spool: dir, Options: httpclient.Options{CA: "x"}}, "there is none"},
		{"quota without a spool", Dispatcher{Printer: "ipps://h/p", MaxSpool: 1}, "max_spool"},
		{"negative quota", Dispatcher{Spool: dir, MaxSpool: -1}, "max_spool"},
		{"negative lifetime", Dispatcher{Spool: dir, MinLifetime: -1}, "min_lifetime"},
		{"window", Dispatcher{Spool: dir, Window: "middle"}, `"middle"`},
		{"broken template", Dispatcher{Spool: dir, Templates: bad}, "registration.de.txt:2"},
		{"no templates", Dispatcher{Spool: dir, Templates: filepath.Join(dir, "none")}, "none"},
		{"unknown placeholder", Dispatcher{Spool: dir, Language: []dispatchers.Template{"{oob.token}", "en"}}, "oob.token"},
		{"no language at the end", Dispatcher{Spool: dir, Language: []dispatchers.Template{"{oob.data.x}"}}, "de, en, fr, it"},
		{"language without texts", Dispatcher{Spool: dir, Language: []dispatchers.Template{"rm"}}, `"rm"`},
		{"sender", Dispatcher{Spool: dir, Sender: strings.Repeat("x", 100)}, "sender"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
			defer cancel()
			err := tt.l.Provision(ctx)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
			if err := tt.l.Cleanup(); err != nil {
				t.Errorf("cleaning up after a failed Provision: %v", err)
			}
		})
	}
}
