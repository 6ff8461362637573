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
	for _, test := range []struct{ name, text, want string }{
		{"everything", `smtp {
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
		}`, `{"server":"mail.example.com:2525","tls":"implicit",` +
			`"auth":{"username":"bank","password":"{env.SMTP_PASSWORD}","type":"scram-sha-256"},` +
			`"from":"Example Bank <login@example.com>","subject":"Log in: {oob.notification.title}","templates":"/etc/oob/mail",` +
			`"language":["{oob.data.lang}","{http.request.header.Accept-Language}","de"],"helo":"oob.example.com","connections":8,` +
			`"proxy":"http://proxy.example.com:3128","ca":"ca.pem","client_cert":{"cert":"cert.pem","key":"key.pem"}}`},
		{
			"auth_type first", "smtp {\nauth_type plain\nauth bank hunter2\n}",
			`{"auth":{"username":"bank","password":"hunter2","type":"plain"}}`,
		},
		{"nothing", "smtp", `{}`},
	} {
		var d Dispatcher
		if err := d.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.text)); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got, err := json.Marshal(&d)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(got))
		if plain != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, plain, test.want)
		}
	}
}

func TestCaddyfileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"smtp mail.example.com":                          "takes no arguments",
		"smtp {\nserver\n}":                              "server takes one value",
		"smtp {\nserver a b\n}":                          "server takes one value",
		"smtp {\nserver \"\"\n}":                         "server takes one value",
		"smtp {\nserver a\nserver b\n}":                  "given twice",
		"smtp {\nfrom Example Bank login@example.com\n}": "quotes",
		"smtp {\nauth bank\n}":                           "auth takes two arguments",
		"smtp {\nauth bank hunter2 hunter3\n}":           "auth takes two arguments",
		"smtp {\nauth a b\nauth a b\n}":                  "given twice",
		"smtp {\nauth_type plain\n}":                     "auth <user> <password> is missing",
		"smtp {\nlanguage\n}":                            "language takes",
		"smtp {\nconnections many\n}":                    "a number from 1 to 100",
		"smtp {\nconnections 0\n}":                       "a number from 1 to 100",
		"smtp {\nport 25\n}":                             `unrecognized option "port"`,
		"smtp {\nca a\nca b\n}":                          "given twice",
	} {
		err := new(Dispatcher).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%q: the error quotes the password: %v", text, err)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	auth := map[string]any{"username": "bank", "password": "hunter2"}
	missing := filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		more map[string]any
		want string
	}{
		"no server":               {map[string]any{"server": ""}, "server <host:port> is needed"},
		"a URL":                   {map[string]any{"server": "smtp://mail.example.com"}, "server: write"},
		"port 0":                  {map[string]any{"server": "mail.example.com:0"}, "server: write"},
		"port by name":            {map[string]any{"server": "mail.example.com:smtp"}, "server: write"},
		"port too large":          {map[string]any{"server": "mail.example.com:65536"}, "server: write"},
		"CRLF in the server":      {map[string]any{"server": "mail.example.com\r\n:25"}, "server: write"},
		"placeholder unknown":     {map[string]any{"server": "{nonsense}"}, "server: it holds a placeholder"},
		"tls":                     {map[string]any{"tls": "maybe"}, "it is starttls, implicit or off"},
		"off to another machine":  {map[string]any{"tls": "off"}, "on this machine only"},
		"off by name":             {map[string]any{"tls": "off", "server": "localhost.example.com"}, "on this machine only"},
		"off with a password":     {map[string]any{"tls": "off", "server": "127.0.0.1", "auth": auth}, "password in clear"},
		"off with a ca":           {map[string]any{"tls": "off", "server": "localhost", "ca": missing}, "no use without TLS"},
		"no from":                 {map[string]any{"from": ""}, "from <address> is needed"},
		"from is no address":      {map[string]any{"from": "Example Bank"}, "from: it is no mail address"},
		"from is a list":          {map[string]any{"from": "a@example.com, b@example.com"}, "from: it is no mail address"},
		"from at a bare host":     {map[string]any{"from": "root@localhost"}, "from: the domain has no dot"},
		"subject":                 {map[string]any{"subject": "{oob.titel}"}, "subject: unknown placeholder"},
		"templates":               {map[string]any{"templates": missing}, "templates"},
		"language":                {map[string]any{"language": []string{"{oob.language}", "en"}}, "language: unknown placeholder"},
		"language at the end":     {map[string]any{"language": []string{"{oob.data.lang}"}}, "language: the last one"},
		"helo":                    {map[string]any{"helo": "a b"}, "helo"},
		"connections":             {map[string]any{"connections": 101}, "connections"},
		"negative connections":    {map[string]any{"connections": -1}, "connections"},
		"auth_type":               {map[string]any{"auth": map[string]any{"username": "a", "password": "b", "type": "ntlm"}}, "auth_type"},
		"no user":                 {map[string]any{"auth": map[string]any{"password": "b"}}, "auth (user)"},
		"no password":             {map[string]any{"auth": map[string]any{"username": "a"}}, "auth (password)"},
		"password of two lines":   {map[string]any{"auth": map[string]any{"username": "a", "password": "b\nc"}}, "auth (password)"},
		"password file missing":   {map[string]any{"auth": map[string]any{"username": "a", "password": "{file." + missing + "}"}}, "auth (password)"},
		"password variable empty": {map[string]any{"auth": map[string]any{"username": "a", "password": "{env.OOB_NO_SUCH}"}}, "auth (password)"},
		"ca":                      {map[string]any{"ca": missing}, "ca"},
		"proxy":                   {map[string]any{"proxy": "socks5://127.0.0.1"}, "proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			options := map[string]any{"server": "mail.example.com", "from": "login@example.com"}
			maps.Copy(options, test.more)
			_, err := load(t, options)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes the password: %v", err)
			}
		})
	}
}

func TestDefaultPorts(t *testing.T) {
	for _, test := range []struct{ server, tls, want string }{
		{"mail.example.com", "", "mail.example.com:587"},
		{"mail.example.com", "starttls", "mail.example.com:587"},
		{"mail.example.com", "implicit", "mail.example.com:465"},
		{"localhost", "off", "localhost:25"},
		{"::1", "off", "[::1]:25"},
		{"[2001:db8::1]:2525", "", "[2001:db8::1]:2525"},
		{"mail.example.com:2525", "", "mail.example.com:2525"},
	} {
		d, err := load(t, map[string]any{"server": test.server, "tls": test.tls, "from": "login@example.com"})
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if d.server.address != test.want {
			t.Errorf("%+v: got %s", test, d.server.address)
		}
	}
}
