package nevisidm

import (
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/conf/conftest"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func TestCaddyfile(t *testing.T) {
	for input, want := range map[string]string{
		"auth basic jeff {env.PASSWORD}\napi entities":                `"auth":{"username":"jeff","password":"{env.PASSWORD}"},"api":"entities"`,
		"auth bearer {file./token}\nusername login_id\nscan":          `"auth":{"bearer":"{file./token}"},"username":"login_id","scan":true`,
		"auth bearer {env.T}\ntimeout 2s\nmax_response 2MiB":          `"auth":{"bearer":"{env.T}"},"timeout":2000000000,"max_response":2097152`,
		"proxy http://p:8\nca /ca.pem\nclient_cert /c.pem /k.pem":     `"proxy":"http://p:8","ca":"/ca.pem","client_cert":{"cert":"/c.pem","key":"/k.pem"}`,
		"client_cert /c.pem /k.pem\napi credentials\nusername ext_id": `"api":"credentials","username":"ext_id","client_cert":{"cert":"/c.pem","key":"/k.pem"}`,
	} {
		conftest.WantJSON(t, targets.KeySourceNamespace, map[string]string{
			"key_source nevisidm https://idm {\nclient 100\n" + input + "\n}": `{"url":"https://idm","client":"100",` + want + `}`,
		})
	}
}

// Errors name the option and the line, and quote nothing.
func TestCaddyfileRefuses(t *testing.T) {
	for option, wrong := range map[string][]string{
		"client":       {"client canary b", "client ..", "client a\nclient b"},
		"auth":         {"auth", "auth basic canary", "auth bearer", `auth bearer ""`, "auth canary canary", "auth bearer canary canary canary"},
		"api":          {"api soap", "api"},
		"username":     {"username email"},
		"scan":         {"scan all", "scan\nscan", "api entities\nscan"},
		"timeout":      {"timeout 0s", "timeout soon"},
		"max_response": {"max_response 0", "max_response big", "max_response 65MiB"},
		"proxy":        {"proxy canary"},
		"insecure":     {"insecure"},
	} {
		for _, text := range wrong {
			for _, needed := range []string{"client 100", "auth bearer {env.T}"} {
				if !strings.HasPrefix(text, needed[:4]) {
					text += "\n" + needed
				}
			}
			_, err := conftest.Unmarshal(targets.KeySourceNamespace, "key_source nevisidm https://idm.example.com {\n"+text+"\n}")
			if err == nil || !strings.Contains(err.Error(), option) || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "canary") {
				t.Errorf("%q gave error %v, want one with a line number and %q that quotes nothing", text, err, option)
			}
		}
	}
	const rest = " {\nclient 100\nauth bearer {env.T}\n}"
	for input, want := range map[string]string{
		"nevisidm" + rest:                                "url",
		"nevisidm https://a https://b" + rest:            "url",
		`nevisidm ""` + rest:                             "url",
		"nevisidm canary" + rest:                         "url",
		"nevisidm https://idm {\nclient 1\n}":            "auth",
		"nevisidm https://idm {\nauth bearer {env.T}\n}": "client",
	} {
		if _, err := conftest.Unmarshal(targets.KeySourceNamespace, "key_source "+input); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q gave error %v, want one with %q", input, err, want)
		}
	}
}

func TestProvisionRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Source)
		want   string
	}{
		"plain http":          {func(s *Source) { s.URL = "http://idm.example.com" }, "https"},
		"user in the URL":     {func(s *Source) { s.URL = "https://canary@idm.example.com" }, "user"},
		"query":               {func(s *Source) { s.URL = "https://idm.example.com?canary" }, "query"},
		"API in the URL":      {func(s *Source) { s.URL = "https://idm.example.com/nevisidm/api/core/v1" }, "/api/"},
		"part of the API":     {func(s *Source) { s.URL = "https://idm.example.com/nevisidm/api/" }, "/api/"},
		"empty login":         {func(s *Source) { s.Auth = &Auth{} }, "auth"},
		"two logins":          {func(s *Source) { s.Auth = &Auth{Username: "a", Password: "b", Bearer: "canary"} }, "either"},
		"no password":         {func(s *Source) { s.Auth = &Auth{Username: "a"} }, "password"},
		"no user":             {func(s *Source) { s.Auth = &Auth{Password: "canary"} }, "user"},
		"colon in the user":   {func(s *Source) { s.Auth = &Auth{Username: "a:b", Password: "canary"} }, "colon"},
		"token of two lines":  {func(s *Source) { s.Auth = &Auth{Bearer: "canary\ncanary"} }, "lines"},
		"token without value": {func(s *Source) { s.Auth = &Auth{Bearer: "{env.OOB_TEST_UNSET}"} }, "placeholder"},
		"missing token file":  {func(s *Source) { s.Auth = &Auth{Bearer: "{file./nowhere/token}"} }, "no file"},
	} {
		s := &Source{URL: "https://idm.example.com", Client: "100", Auth: login()}
		test.change(s)
		err := provision(t, s)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got error %v, want one with %q that quotes nothing", name, err, test.want)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for url, want := range map[string]string{
		"https://idm.example.com":                    "https://idm.example.com/nevisidm/api/core/v1",
		"https://idm.example.com/":                   "https://idm.example.com/nevisidm/api/core/v1",
		"https://idm.example.com/nevisidm/":          "https://idm.example.com/nevisidm/api/core/v1",
		"https://gateway.example.com:8443/api/idm/x": "https://gateway.example.com:8443/api/idm/x/api/core/v1",
	} {
		s := &Source{URL: url, Client: "100", Auth: login()}
		if err := provision(t, s); err != nil || s.base != want {
			t.Errorf("%s gave %s, error %v", url, s.base, err)
		}
	}
}
