package main

import "testing"

// Nobody has to log in to the demo, so that no other machine may reach it.
func TestListensOnLoopbackOnly(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1", "localhost:0": "localhost", "[::1]:8080": "[::1]", "127.8.8.8:1": "127.8.8.8",
		":8080": "", "0.0.0.0:8080": "", "[::]:8080": "", "192.0.2.1:8080": "", "example.com:8080": "", "8080": "", "": "",
	} {
		if host, err := loopbackHost(address); host != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q and %v, want %q", address, host, err, want)
		}
	}
}
