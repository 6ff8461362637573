package caddymodule

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// putPair writes a client certificate and its key, and returns when it ends.
func putPair(t *testing.T, dir string, expired bool) time.Time {
	t.Helper()
	pair, certificate, err := double.NewCertificate(double.Certificate{CommonName: "sidecar", Expired: expired})
	if err != nil {
		t.Fatal(err)
	}
	testservice.Put(t, filepath.Join(dir, "cert.pem"), certificate)
	testservice.Put(t, filepath.Join(dir, "key.pem"), double.KeyPEM(pair))
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.NotAfter
}

func gaugeOf(t *testing.T, registry *prometheus.Registry, name, dispatcher string) float64 {
	t.Helper()
	for _, one := range gather(t, registry, name) {
		if one.labels["dispatcher"] == dispatcher {
			return one.value
		}
	}
	t.Fatalf("there is no %s of %q", name, dispatcher)
	return 0
}

// Credentials that expire, that a third party refuses, and files that were changed
// and cannot be used show in health, metrics and events, until they are in order.
func TestCredentials(t *testing.T) {
	var status atomic.Int64
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer gateway.Close()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	testservice.Put(t, password, []byte("first"))
	ends := putPair(t, dir, false)
	events := subscribe(t)
	ask, s := healthOf(t, `
		key_source nevisidm http://127.0.0.1:1 {
			client 100
			auth basic sidecar {file.`+password+`}
		}
		dispatcher push webhook {
			url `+gateway.URL+`
			client_cert `+dir+`/cert.pem `+dir+`/key.pem
			address 41
			encryption off
			retries 0
			base_url https://a.example/open
		}`, "events {\non credentials_failed oob_test\n}")
	registry := runningRegistry()
	dispatch := func(answer int) {
		t.Helper()
		status.Store(int64(answer))
		s.dispatch("push", "jeff")
	}
	// A look that the sidecar takes by itself may fall between the two files of a pair.
	next := func(wanted string) seenEvent {
		e := events.next(t)
		for e.data["dispatcher"] == "push" && e.data["reason"] == "file" && wanted != "file" {
			e = events.next(t)
		}
		return e
	}
	nothing, pair := func() {}, func(expired bool) func() { return func() { ends = putPair(t, dir, expired) } }
	for _, step := range []struct {
		name          string
		do            func()
		loaded        bool
		reason, error string // of the event, in health
	}{
		{"at the start", nothing, true, "", ""},
		{"refused", func() { dispatch(http.StatusUnauthorized) }, true, "unauthorized", "unauthorized"},
		{"a failure that says nothing of them", func() { dispatch(http.StatusServiceUnavailable) }, true, "", "unauthorized"},
		{"accepted", func() { dispatch(http.StatusOK) }, true, "", ""},
		{"a key of another certificate", func() {
			other := t.TempDir()
			putPair(t, other, false)
			if err := os.Rename(filepath.Join(other, "key.pem"), filepath.Join(dir, "key.pem")); err != nil {
				t.Fatal(err)
			}
		}, false, "file", "do not fit together"},
		{"a file that is no key", func() { testservice.Put(t, filepath.Join(dir, "key.pem"), []byte("canary")) }, false, "", "not a PEM file"},
		{"a certificate that is over", pair(true), true, "expired", "valid until"},
		{"a good one", pair(false), true, "", ""},
	} {
		step.do()
		_, all := ask(http.MethodGet, "")
		got := all.Dispatch[0].Dispatchers["push"].Credentials
		if got == nil || got.Loaded != step.loaded || !strings.Contains(got.Error, step.error) || (step.error == "") != (got.Error == "") || (step.error == "") != (got.Since == nil) || strings.Contains(got.Error, "canary") {
			t.Fatalf("%s: health has %+v", step.name, got)
		}
		if step.loaded && !got.Expires.Equal(ends) {
			t.Errorf("%s: they expire %s, want %s", step.name, got.Expires, ends)
		}
		if at := gaugeOf(t, registry, "caddy_oob_credentials_expiry_seconds", "push"); step.loaded && at != float64(ends.Unix()) {
			t.Errorf("%s: the metric says %v, want %v", step.name, at, ends.Unix())
		}
		if failed := gaugeOf(t, registry, "caddy_oob_credentials_failed", "push"); (failed == 1) != (step.error != "") {
			t.Errorf("%s: failed is %v", step.name, failed)
		}
		if step.reason != "" {
			if e := next(step.reason); e.name != "credentials_failed" || e.data["dispatcher"] != "push" || e.data["reason"] != step.reason || len(e.data) != 2 {
				t.Errorf("%s: the event is %+v", step.name, e)
			}
		}
	}
	testservice.Put(t, password, []byte("\n"))
	_, all := ask(http.MethodGet, "")
	if c := all.Dispatch[0].KeySources["nevisidm"].Credentials; c.Loaded || !strings.Contains(c.Error, "auth") {
		t.Errorf("the key source has %+v", c)
	}
	if e := next(""); e.data["dispatcher"] != "key_source:nevisidm" || e.data["reason"] != "file" {
		t.Errorf("the event of the key source is %+v", e)
	}
	if gaugeOf(t, registry, "caddy_oob_credentials_failed", "key_source:nevisidm") != 1 {
		t.Error("the metric does not tell of the key source")
	}
	if all.Dispatch[0].Dispatchers["open"].Credentials != nil {
		t.Error("a link has credentials")
	}
	events.none(t)
}
