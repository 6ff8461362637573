package caddymodule

import (
	"regexp"
	"strings"
	"testing"
)

func shortLinksWith(url, members string) string {
	return `{"handler": "oob_dispatch", "dispatchers": [{"name": "d", "dispatcher": {"type": "link"}, "short_links": "` + url + `"}]` + members + `}`
}

func TestShortLinksAccepts(t *testing.T) {
	t.Setenv("OOB_TEST_HOST", "fido.example.com")
	for name, handler := range map[string]string{
		"https":             shortLinksWith("https://fido.example.com/oob", ""),
		"slash at its end":  shortLinksWith("https://fido.example.com/oob/", ""),
		"port, two levels":  shortLinksWith("https://fido.example.com:8443/a/b-c_d.e~f", ""),
		"environment":       shortLinksWith("https://{env.OOB_TEST_HOST}/oob", ""),
		"this machine":      shortLinksWith("http://127.0.0.1:8080/oob", ""),
		"next to base_path": shortLinksWith("https://fido.example.com/nevisfido-oob", ""),
		"base_path is root": shortLinksWith("https://fido.example.com/oob", `, "base_path": "/"`),
	} {
		if err := validate(t, handler); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShortLinksRefuses(t *testing.T) {
	const plain, nevisFIDOs = "short_links: the URL needs a plain path of its own and no query, such as https://", "is nevisFIDO's, see base_path; choose another"
	fcm := strings.Replace(fcmWith(`, "credentials": "`+credentials(t)+`"`), `"name": "push"`, `"name": "push", "short_links": "https://fido.example.com/oob"`, 1)
	wantInvalid(t, []invalid{
		{"plain http", shortLinksWith("http://fido.example.com/oob", ""), "short_links: the URL must be https"},
		{"no host", shortLinksWith("https:///oob", ""), "short_links: it is not a URL with a host"},
		{"path only", shortLinksWith("/oob", ""), "short_links: it is not a URL with a host"},
		{"app scheme", shortLinksWith("myapp://open/oob", ""), "short_links: the URL must be https"},
		{"script", shortLinksWith("javascript:alert(1)", ""), "short_links: it is not a URL with a host"},
		{"user", shortLinksWith("https://a:b@fido.example.com/oob", ""), "short_links: the URL must not hold a user"},
		{"fragment", shortLinksWith("https://fido.example.com/oob#a", ""), "or a fragment"},
		{"query", shortLinksWith("https://fido.example.com/oob?a=b", ""), plain},
		{"empty query", shortLinksWith("https://fido.example.com/oob?", ""), plain},
		{"no path", shortLinksWith("https://fido.example.com", ""), plain},
		{"root", shortLinksWith("https://fido.example.com/", ""), plain},
		{"two slashes", shortLinksWith("https://fido.example.com//oob", ""), plain},
		{"dot segments", shortLinksWith("https://fido.example.com/a/../oob", ""), plain},
		{"encoded", shortLinksWith("https://fido.example.com/%6fob", ""), plain},
		{"parameter", shortLinksWith("https://fido.example.com/oob;a", ""), plain},
		{"unset variable", shortLinksWith("https://{env.OOB_TEST_UNSET}/oob", ""), "handle"},
		{"nevisFIDO's path", shortLinksWith("https://fido.example.com/nevisfido", ""), nevisFIDOs},
		{"within nevisFIDO's path", shortLinksWith("https://fido.example.com/nevisfido/oob", ""), nevisFIDOs},
		{"in other letters", shortLinksWith("https://fido.example.com/NevisFido/oob", ""), nevisFIDOs},
		{"within another base_path", shortLinksWith("https://fido.example.com/a/b/oob", `, "base_path": "/a/b"`), nevisFIDOs},
		{"too long a lifetime", shortLinksWith("https://fido.example.com/oob", `, "token_lifetime": {"registration": "9000h"}`), "token_lifetime registration is longer"},
		{"channel without links", fcm, "this type of dispatcher sends no links: remove it"},
		{"script as base_url", dispatcherWith(`, "base_url": "javascript:alert(1)"`), "base_url: a URL of scheme javascript opens no app: write the one that the app is registered for, such as https:"},
		{"data as base_url", dispatcherWith(`, "base_url": "data:text/html,x"`), "base_url: a URL of scheme data opens no app"},
		{"at a composite", `{"handler": "oob_dispatch", "dispatchers": [{"name": "link", "dispatcher": {"type": "link"}},
			{"name": "both", "short_links": "https://fido.example.com/oob", "dispatcher": {"type": "fallback", "try": ["link"]}}]}`, "belong to the dispatchers that it uses"},
	})
}

func TestShortLinksInCaddyfile(t *testing.T) {
	config := string(adapt(t, inDispatcher("link", "\t\t\tshort_links https://fido.example.com/oob")))
	if !strings.Contains(config, `"short_links":"https://fido.example.com/oob"`) {
		t.Errorf("the JSON is %s", config)
	}
}

// The old name of the option does the same, and the log says so.
func TestHandleIsTheOldNameOfShortLinks(t *testing.T) {
	const url = "https://fido.example.com/oob"
	handler := strings.Replace(shortLinksWith(url, ""), `"short_links"`, `"handle"`, 1)
	if log := warnings(t, handler); !strings.Contains(log, "handle is called short_links now") {
		t.Errorf("the log says %s", log)
	}
	adapt(t, inDispatcher("link", "handle "+url))
	for text, line := range map[string]string{
		"handle " + url + "\nshort_links " + url:                 "4",
		"handle https://fido.example.com/nevisfido/oob":          "4",
		"retries 1\nhandle http://fido.example.com/oob":          "5",
		"short_links " + url + "\nhandle " + url + "\nretries 1": "5",
	} {
		wantRefused(t, inDispatcher("link", text), line, regexp.MustCompile("handle"))
	}
}
