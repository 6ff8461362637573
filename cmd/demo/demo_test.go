package main

import "testing"

// The demo listens where it was told to, and nowhere else.
func TestListensAsItIsTold(t *testing.T) {
	for address, want := range map[string][2]string{
		"127.0.0.1:8080": {"http://127.0.0.1:8080", "127.0.0.1"},
		"localhost:8080": {"http://localhost:8080", "localhost"},
		"[::1]:8080":     {"http://[::1]:8080", "[::1]"},
		"0.0.0.0:8080":   {"http://:8080", "0.0.0.0"},
		"192.0.2.1:8080": {"http://:8080", "192.0.2.1"},
		":8080":          {},
		"8080":           {},
		"":               {},
	} {
		if site, host, err := siteOf(address); (err == nil) != (want[0] != "") || err == nil && want != [2]string{site, host} {
			t.Errorf("%s: got %q, %q and %v, want %q", address, site, host, err, want)
		}
	}
}
