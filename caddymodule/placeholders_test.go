package caddymodule

import "testing"

func TestUnknownPlaceholders(t *testing.T) {
	for name, unknown := range map[string]bool{
		"http.request.headers.X-Mobile": true, "http.request.heder.X": true, "http.header.X": true, "http.request.nothing": true,
		"system.hostnam": true, "time.noww": true,
		"http.request.header.X-Mobile": false, "http.request.uri.query.a": false, "http.request.cookie.a": false, "http.request.host": false,
		"http.request.remote.host": false, "http.request.uri.path": false, "http.request.uuid": false, "http.request.body": false,
		"http.request.body_base64": false, "http.request.orig_uri.path": false, "http.request.duration_ms": false, "http.request.hostport": false,
		"http.request.port": false, "http.request.local.host": false, "http.request.remote": false, "http.request.scheme": false, "http.request.host.labels.0": false,
		"http.request.uri.path.0": false, "http.request.uri.path.file.base": false, "http.request.method": false, "http.request.proto": false,
		"http.vars.a": false, "http.auth.user.id": false, "http.request.tls.client.subject": false, "http.regexp.a.1": false,
		"env.HOME": false, "system.hostname": false, "time.now": false, "mapped": false, "geoip.city": false, "oob.target": false,
	} {
		if got := len(unknownPlaceholders([]string{name})) == 1; got != unknown {
			t.Errorf("%s: unknown is %t", name, got)
		}
	}
}
