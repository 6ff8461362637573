package smtp

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// TestOptionsThatCannotBe: the error names what to change, and no password.
func TestOptionsThatCannotBe(t *testing.T) {
	auth := func(password, kind string) map[string]any { return map[string]any{"auth": account(password, kind)} }
	missing := filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		more map[string]any
		want string
	}{
		"port 0":                  {map[string]any{"server": "mail.example.com:0"}, "server"},
		"port too large":          {map[string]any{"server": "mail.example.com:65536"}, "server"},
		"CRLF in the server":      {map[string]any{"server": "mail.example.com\r\n:25"}, "server"},
		"placeholder unknown":     {map[string]any{"server": "{nonsense}"}, "server"},
		"off by a placeholder":    {map[string]any{"tls": "off", "server": "{env.OOB_MAIL_SERVER}"}, "on this machine"},
		"off by name":             {map[string]any{"tls": "off", "server": "localhost.example.com"}, "on this machine"},
		"off with a password":     {map[string]any{"tls": "off", "server": "127.0.0.1", "auth": account("hunter2", "")}, "auth"},
		"off with a ca":           {map[string]any{"tls": "off", "server": "localhost", "ca": missing}, "without TLS"},
		"from is a list":          {map[string]any{"from": "a@example.com, b@example.com"}, "from"},
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
