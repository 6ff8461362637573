package caddymodule

import (
	"strings"
	"testing"
)

func handleWith(url, members string) string {
	return `{"handler": "oob_dispatch", "dispatchers": [{"name": "d", "dispatcher": {"type": "link"}, "handle": "` + url + `"}]` + members + `}`
}

func TestHandleAccepts(t *testing.T) {
	t.Setenv("OOB_TEST_HOST", "fido.example.com")
	for name, handler := range map[string]string{
		"https":             handleWith("https://fido.example.com/oob", ""),
		"slash at its end":  handleWith("https://fido.example.com/oob/", ""),
		"port, two levels":  handleWith("https://fido.example.com:8443/a/b-c_d.e~f", ""),
		"environment":       handleWith("https://{env.OOB_TEST_HOST}/oob", ""),
		"this machine":      handleWith("http://127.0.0.1:8080/oob", ""),
		"beside base_path":  handleWith("https://fido.example.com/nevisfido-oob", ""),
		"base_path is root": handleWith("https://fido.example.com/oob", `, "base_path": "/"`),
	} {
		if err := validate(t, handler); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHandleRefuses(t *testing.T) {
	const plain, nevisFIDOs = "handle: the URL needs a plain path of its own and no query, such as https://", "is nevisFIDO's, see base_path; choose another"
	fcm := strings.Replace(fcmWith(`, "credentials": "`+credentials(t)+`"`), `"name": "push"`, `"name": "push", "handle": "https://fido.example.com/oob"`, 1)
	for _, tt := range []struct{ name, handler, want string }{
		{"plain http", handleWith("http://fido.example.com/oob", ""), "handle: the URL must be https"},
		{"no host", handleWith("https:///oob", ""), "handle: it is not a URL with a host"},
		{"path only", handleWith("/oob", ""), "handle: it is not a URL with a host"},
		{"app scheme", handleWith("myapp://open/oob", ""), "handle: the URL must be https"},
		{"script", handleWith("javascript:alert(1)", ""), "handle: it is not a URL with a host"},
		{"user", handleWith("https://a:b@fido.example.com/oob", ""), "handle: the URL must not hold a user"},
		{"fragment", handleWith("https://fido.example.com/oob#a", ""), "or a fragment"},
		{"query", handleWith("https://fido.example.com/oob?a=b", ""), plain},
		{"empty query", handleWith("https://fido.example.com/oob?", ""), plain},
		{"no path", handleWith("https://fido.example.com", ""), plain},
		{"root", handleWith("https://fido.example.com/", ""), plain},
		{"two slashes", handleWith("https://fido.example.com//oob", ""), plain},
		{"dot segments", handleWith("https://fido.example.com/a/../oob", ""), plain},
		{"encoded", handleWith("https://fido.example.com/%6fob", ""), plain},
		{"parameter", handleWith("https://fido.example.com/oob;a", ""), plain},
		{"unset variable", handleWith("https://{env.OOB_TEST_UNSET}/oob", ""), "handle"},
		{"nevisFIDO's path", handleWith("https://fido.example.com/nevisfido", ""), nevisFIDOs},
		{"within nevisFIDO's path", handleWith("https://fido.example.com/nevisfido/oob", ""), nevisFIDOs},
		{"in other letters", handleWith("https://fido.example.com/NevisFido/oob", ""), nevisFIDOs},
		{"within another base_path", handleWith("https://fido.example.com/a/b/oob", `, "base_path": "/a/b"`), nevisFIDOs},
		{"too long a lifetime", handleWith("https://fido.example.com/oob", `, "token_lifetime": {"registration": "9000h"}`), "token_lifetime registration is longer"},
		{"channel without links", fcm, "this type of dispatcher sends none: remove it"},
		{"script as base_url", dispatcherWith(`, "base_url": "javascript:alert(1)"`), "base_url: a URL of scheme javascript opens no app"},
		{"data as base_url", dispatcherWith(`, "base_url": "data:text/html,x"`), "base_url: a URL of scheme data opens no app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := validate(t, tt.handler)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestHandleInCaddyfile(t *testing.T) {
	config := string(adapt(t, inDispatcher("link", "\t\t\thandle https://fido.example.com/oob")))
	if !strings.Contains(config, `"handle":"https://fido.example.com/oob"`) {
		t.Errorf("the JSON is %s", config)
	}
}

func TestHandleBelongsToMembers(t *testing.T) {
	handler := `{"handler": "oob_dispatch", "dispatchers": [
		{"name": "link", "dispatcher": {"type": "link"}},
		{"name": "both", "handle": "https://fido.example.com/oob", "dispatcher": {"type": "fallback", "try": ["link"]}}]}`
	if err := validate(t, handler); err == nil || !strings.Contains(err.Error(), "belong to the dispatchers that it uses") {
		t.Errorf("%v", err)
	}
}
