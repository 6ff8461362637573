package placeholder

import "testing"

func TestResolveURL(t *testing.T) {
	t.Setenv("OOB_BASE", "https://a.example/b?x=1")
	t.Setenv("OOB_HOST", "a.example:8443")
	t.Setenv("OOB_PART", "a/b?c&d=e#f g%41:@")
	const escaped = "a%2Fb%3Fc%26d%3De%23f%20g%2541%3A%40"
	for text, want := range map[string]string{
		"https://a.example/b":                                 "https://a.example/b",
		"{env.OOB_BASE}":                                      "https://a.example/b?x=1",
		"{env.OOB_BASE}&y={env.OOB_PART}":                     "https://a.example/b?x=1&y=" + escaped,
		"{env.OOB_BASE}&u={env.OOB_PART}&v=https://b":         "https://a.example/b?x=1&u=" + escaped + "&v=https://b",
		"https://{env.OOB_HOST}/{env.OOB_PART}/c":             "https://a.example:8443/" + escaped + "/c",
		"https://a.example?k={env.OOB_PART}&l={env.OOB_PART}": "https://a.example?k=" + escaped + "&l=" + escaped,
		"http://{env.OOB_PART}:{env.OOB_PART}@{env.OOB_HOST}": "http://" + escaped + ":" + escaped + "@a.example:8443",
		"http://u:p@{env.OOB_HOST}/#{env.OOB_PART}":           "http://u:p@a.example:8443/#" + escaped,
	} {
		if got, err := ResolveURL("url", text); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
	if got, err := ResolveURL("url", "https://a.example/{env.OOB_UNSET}"); err == nil {
		t.Errorf("an unset variable gave %s", got)
	}
}
