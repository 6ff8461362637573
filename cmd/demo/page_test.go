package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// What a page of another site can send does nothing, and what nobody sends is
// answered with a sentence.
func TestThePageTakesNothingFromOthers(t *testing.T) {
	s, err := start(testservice.FreeAddress(t), nevis.LTS21, "ERROR")
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	const turn = `{"name":"fcm","position":"503"}`
	_, port, _ := strings.Cut(s.address, ":")
	for name, c := range map[string]struct {
		method, path, media, host, body string
		status                          int
	}{
		"the page":                        {"GET", "/", "", "", "", 200},
		"by the name of this machine":     {"GET", "/", "", "localhost:" + port, "", 200},
		"the workbench":                   {"GET", "/inspect", "", "", "", 200},
		"a switch":                        {"POST", "/demo/switches", "application/json", "", turn, 204},
		"a switch, of another site":       {"POST", "/demo/switches", "text/plain", "", turn, 415},
		"a phone, of another site":        {"POST", "/demo/handsets", "text/plain", "", "{}", 415},
		"a switch that is none":           {"POST", "/demo/switches", "application/json", "", `{"name":"x"}`, 422},
		"a position that is none":         {"POST", "/demo/switches", "application/json", "", `{"name":"fcm","position":"x"}`, 422},
		"no JSON":                         {"POST", "/demo/switches", "application/json", "", "x", 400},
		"events of a phone that is none":  {"GET", "/demo/events/x", "", "", "", 404},
		"a token of a phone that is none": {"POST", "/demo/handsets/x/token", "application/json", "", "{}", 404},
		"a mail that is none":             {"GET", "/demo/mails/x", "", "", "", 404},
		"a letter that is none":           {"GET", "/demo/letters/..%2f..%2faudit", "", "", "", 404},
		"a picture of it":                 {"GET", "/demo/letters/x/picture", "", "", "", 404},
		"an exchange without a time":      {"GET", "/demo/exchange", "", "", "", 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, s.url()+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", c.media)
		if r.Host = r.URL.Host; c.host != "" {
			r.Host = c.host
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, answer.StatusCode, c.status, body)
		}
	}
	r := &http.Request{Method: http.MethodGet, Host: "evil.example.com", URL: &url.URL{Scheme: "http", Host: s.address, Path: "/"}}
	answer, err := http.DefaultClient.Do(r.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); len(body) != 0 {
		t.Errorf("a site that points its name here gets %d bytes", len(body))
	}
}
