package smtp

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		`smtp {
			server mail.example.com:2525
			tls implicit
			auth bank {env.SMTP_PASSWORD}
			auth_type scram-sha-256
			from "Example Bank <login@example.com>"
			subject "Log in: {oob.notification.title}"
			templates /etc/oob/mail
			language {oob.data.lang} {http.request.header.Accept-Language} de
			helo oob.example.com
			connections 8
			proxy http://proxy.example.com:3128
			ca ca.pem
			client_cert cert.pem key.pem
		}`: `{"server":"mail.example.com:2525","tls":"implicit",` +
			`"auth":{"username":"bank","password":"{env.SMTP_PASSWORD}","type":"scram-sha-256"},` +
			`"from":"Example Bank <login@example.com>","subject":"Log in: {oob.notification.title}","helo":"oob.example.com","connections":8,` +
			`"templates":"/etc/oob/mail","language":["{oob.data.lang}","{http.request.header.Accept-Language}","de"],` +
			`"proxy":"http://proxy.example.com:3128","ca":"ca.pem","client_cert":{"cert":"cert.pem","key":"key.pem"}}`,
		"smtp {\nserver h\nfrom a@example.com\nauth_type plain\nauth bank hunter2\n}": `{"server":"h",` +
			`"auth":{"username":"bank","password":"hunter2","type":"plain"},"from":"a@example.com"}`,
	} {
		var s Mailer
		if err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := json.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		if plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(got)); plain != want {
			t.Errorf("got  %s\nwant %s", plain, want)
		}
	}
}

// TestCaddyfileErrors: each names the option and its line, and no password.
func TestCaddyfileErrors(t *testing.T) {
	for options, want := range map[string]string{
		"server smtp://mail.example.com":                "server",
		"from Example Bank login@example.com":           "from",
		"from bank@localhost":                           "such as login@example.com",
		"subject {oob.titel}":                           "subject",
		"auth bank":                                     "auth",
		"auth bank hunter2 hunter3":                     "auth",
		"auth a hunter2\nauth a hunter2":                "auth",
		"auth_type ntlm":                                "auth_type",
		"server a\nfrom a@b.ch\nauth_type plain":        "auth_type",
		"server a\nfrom a@b.ch\nlanguage ja":            "language",
		"server mail.example.com\nfrom a@b.ch\ntls off": "tls",
		"helo a_b": "helo",
		"port 25":  `"port"`,
	} {
		err := new(Mailer).UnmarshalCaddyfile(caddyfile.NewTestDispenser("smtp {\n" + options + "\n}"))
		last := "Testfile:" + string(rune('2'+strings.Count(options, "\n")))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), last) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%q: got %v, want %s and %s", options, err, want, last)
		}
	}
}

// TestOptionsThatCannotBe: the error names what to change, and no password.
func TestOptionsThatCannotBe(t *testing.T) {
	auth := func(password, kind string) map[string]any { return map[string]any{"auth": account(password, kind)} }
	missing := filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		more map[string]any
		want string
	}{
		"port 0":                  {map[string]any{"server": "mail.example.com:0"}, "server"},
		"port by name":            {map[string]any{"server": "mail.example.com:smtp"}, "server"},
		"port too large":          {map[string]any{"server": "mail.example.com:65536"}, "server"},
		"CRLF in the server":      {map[string]any{"server": "mail.example.com\r\n:25"}, "server"},
		"placeholder unknown":     {map[string]any{"server": "{nonsense}"}, "server"},
		"off to another machine":  {map[string]any{"tls": "off"}, "on this machine"},
		"off by a placeholder":    {map[string]any{"tls": "off", "server": "{env.OOB_MAIL_SERVER}"}, "on this machine"},
		"off by name":             {map[string]any{"tls": "off", "server": "localhost.example.com"}, "on this machine"},
		"off with a password":     {map[string]any{"tls": "off", "server": "127.0.0.1", "auth": account("hunter2", "")}, "auth"},
		"off with a ca":           {map[string]any{"tls": "off", "server": "localhost", "ca": missing}, "without TLS"},
		"from is a list":          {map[string]any{"from": "a@example.com, b@example.com"}, "from"},
		"from at a bare host":     {map[string]any{"from": "root@localhost"}, "from"},
		"templates":               {map[string]any{"templates": missing}, "templates"},
		"no user":                 {map[string]any{"auth": map[string]any{"password": "hunter2"}}, "auth (user)"},
		"no password":             {auth("", ""), "auth (password)"},
		"password of two lines":   {auth("hunter2\nhunter2", ""), "auth (password)"},
		"password file missing":   {auth("{file."+missing+"}", ""), "auth (password)"},
		"password variable empty": {auth("{env.OOB_NO_SUCH}", ""), "auth (password)"},
		"ca":                      {map[string]any{"ca": missing}, "ca"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OOB_MAIL_SERVER", "mail.example.com")
			options := map[string]any{"server": "mail.example.com", "from": "login@example.com"}
			maps.Copy(options, test.more)
			_, err := load(t, options)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestDefaultPorts(t *testing.T) {
	for _, test := range []struct{ server, tls, want string }{
		{"mail.example.com", "", "mail.example.com:587"},
		{"mail.example.com", "implicit", "mail.example.com:465"},
		{"localhost", "off", "localhost:25"},
		{"::1", "off", "[::1]:25"},
		{"[2001:db8::1]:2525", "starttls", "[2001:db8::1]:2525"},
	} {
		s, err := load(t, map[string]any{"server": test.server, "tls": test.tls, "from": "login@example.com"})
		if err != nil {
			t.Errorf("%+v: %v", test, err)
		} else if s.server.Address != test.want {
			t.Errorf("%+v: got %s", test, s.server.Address)
		}
	}
}
