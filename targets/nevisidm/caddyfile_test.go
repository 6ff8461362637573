package nevisidm

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func parse(input string) (*Source, error) {
	d := caddyfile.NewTestDispenser(input)
	d.Next() // key_source
	d.NextArg()
	module, err := caddyfile.UnmarshalModule(d, targets.KeySourceNamespace+"."+d.Val())
	if err != nil {
		return nil, err
	}
	return module.(*Source), nil
}

func TestCaddyfile(t *testing.T) {
	for input, want := range map[string]string{
		"key_source nevisidm https://idm.example.com {\nclient 100\n}":                                               `{"url":"https://idm.example.com","client":"100"}`,
		"key_source nevisidm https://idm {\nclient 100\nauth basic jeff {env.PASSWORD}\napi entities\n}":             `{"url":"https://idm","client":"100","auth":{"username":"jeff","password":"{env.PASSWORD}"},"api":"entities"}`,
		"key_source nevisidm https://idm {\nclient 100\nauth bearer {file./token}\nusername login_id\nscan\n}":       `{"url":"https://idm","client":"100","auth":{"bearer":"{file./token}"},"username":"login_id","scan":true}`,
		"key_source nevisidm https://idm {\nclient 100\ntimeout 2s\nmax_response 2MiB\napi auto\nusername ext_id\n}": `{"url":"https://idm","client":"100","api":"auto","username":"ext_id","timeout":2000000000,"max_response":2097152}`,
		"key_source nevisidm https://idm {\nclient 100\nproxy http://p:8\nca /ca.pem\nclient_cert /c.pem /k.pem\n}":  `{"url":"https://idm","client":"100","proxy":"http://p:8","ca":"/ca.pem","client_cert":{"cert":"/c.pem","key":"/k.pem"}}`,
	} {
		s, err := parse(input)
		if err != nil {
			t.Errorf("%q: %v", input, err)
			continue
		}
		if got := string(must(json.Marshal(s))); got != want {
			t.Errorf("%q gave %s, want %s", input, got, want)
		}
	}
}

func TestCaddyfileRefuses(t *testing.T) {
	const canary = "canary"
	for options, want := range map[string]string{
		"":                             "client <ext_id>",
		"client":                       "takes one argument",
		"client a b":                   "takes one argument",
		"client a\nclient b":           "given twice",
		"client a\nauth":               "auth takes",
		"client a\nauth basic canary":  "auth takes",
		"client a\nauth bearer":        "auth takes",
		"client a\nauth bearer \"\"":   "empty",
		"client a\nauth canary canary": "auth takes",
		"client a\nauth bearer canary canary canary": "auth takes",
		"client a\nauth bearer x\nauth bearer x":     "given twice",
		"client a\napi soap":                         "takes one of",
		"client a\napi":                              "takes one of",
		"client a\nusername email":                   "takes one of",
		"client a\nscan all":                         "no arguments",
		"client a\nscan\nscan":                       "given twice",
		"client a\ntimeout 0s":                       "above zero",
		"client a\ntimeout soon":                     "above zero",
		"client a\nmax_response 0":                   "above zero",
		"client a\nmax_response big":                 "above zero",
		"client a\nproxy":                            "takes one argument",
		"client a\ninsecure":                         "unrecognized option 'insecure'",
	} {
		_, err := parse("key_source nevisidm https://idm.example.com {\n" + options + "\n}")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q gave error %v, want one with a line number and %q", options, err, want)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%q: the error quotes a secret: %v", options, err)
		}
	}
	for _, input := range []string{"key_source nevisidm", "key_source nevisidm https://a https://b", `key_source nevisidm ""`} {
		if _, err := parse(input); err == nil || !strings.Contains(err.Error(), "the URL") {
			t.Errorf("%q gave error %v", input, err)
		}
	}
}

func TestProvisionRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Source)
		want   string
	}{
		"no URL":              {func(s *Source) { s.URL = "" }, "URL"},
		"plain http":          {func(s *Source) { s.URL = "http://idm.example.com" }, "https"},
		"user in the URL":     {func(s *Source) { s.URL = "https://canary@idm.example.com" }, "user"},
		"query":               {func(s *Source) { s.URL = "https://idm.example.com?canary" }, "query"},
		"API in the URL":      {func(s *Source) { s.URL = "https://idm.example.com/nevisidm/api/core/v1" }, "/api/"},
		"part of the API":     {func(s *Source) { s.URL = "https://idm.example.com/nevisidm/api/" }, "/api/"},
		"no client":           {func(s *Source) { s.Client = "" }, "client"},
		"client of a folder":  {func(s *Source) { s.Client = ".." }, "client"},
		"no login":            {func(s *Source) { s.Auth = nil }, "auth"},
		"empty login":         {func(s *Source) { s.Auth = &Auth{} }, "auth"},
		"two logins":          {func(s *Source) { s.Auth = &Auth{Username: "a", Password: "b", Bearer: "canary"} }, "either"},
		"no password":         {func(s *Source) { s.Auth = &Auth{Username: "a"} }, "password"},
		"no user":             {func(s *Source) { s.Auth = &Auth{Password: "canary"} }, "user"},
		"colon in the user":   {func(s *Source) { s.Auth = &Auth{Username: "a:b", Password: "canary"} }, "colon"},
		"token of two lines":  {func(s *Source) { s.Auth = &Auth{Bearer: "canary\ncanary"} }, "lines"},
		"token without value": {func(s *Source) { s.Auth = &Auth{Bearer: "{env.OOB_TEST_UNSET}"} }, "placeholder"},
		"missing token file":  {func(s *Source) { s.Auth = &Auth{Bearer: "{file./nowhere/token}"} }, "no file"},
		"API":                 {api("soap"), "api"},
		"username":            {func(s *Source) { s.Username = "email" }, "username"},
		"scan of entities":    {func(s *Source) { s.API, s.Scan = apiEntities, true }, "scan"},
		"timeout":             {func(s *Source) { s.Timeout = -1 }, "timeout"},
		"max_response":        {func(s *Source) { s.MaxResponse = 1 << 40 }, "max_response"},
		"proxy":               {func(s *Source) { s.Options = httpclient.Options{Proxy: "canary"} }, "proxy"},
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
