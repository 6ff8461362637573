package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// The demo listens where it was told to, and nowhere else.
func TestListensAsItIsTold(t *testing.T) {
	for address, want := range map[string][2]string{
		"127.0.0.1:8080": {"http://127.0.0.1:8080, http://localhost:8080", "127.0.0.1"},
		"localhost:8080": {"http://localhost:8080", "localhost"},
		"[::1]:8080":     {"http://[::1]:8080, http://localhost:8080", "[::1]"},
		"0.0.0.0:8080":   {"http://:8080", "0.0.0.0"},
		"192.0.2.1:8080": {"http://:8080", "192.0.2.1"},
		":8080":          {},
		"127.0.0.1:":     {},
		"127.0.0.1:0":    {},
		"127.0.0.1:http": {},
		"8080":           {},
		"":               {},
	} {
		if site, host, err := siteOf(address); (err == nil) != (want[0] != "") || err == nil && want != [2]string{site, host} {
			t.Errorf("%s: got %q, %q and %v, want %q", address, site, host, err, want)
		}
	}
}

// A demo that cannot do what it was told ends: on an address where another
// program listens each would get some of the requests.
func TestEndsWhereItCannotDoAsItIsTold(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, args := range [][]string{
		{"--listen", other.Addr().String()},
		{"--only", "nevisfido", "--listen", other.Addr().String()},
		{"--once", "push"},
		{"nevisfido"},
		{"--nevisfido", "7"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := run(ctx, args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
		cancel()
	}
}

// Parts alone serve the Caddyfile that they print.
func TestPartsServeACaddyfileOfOnesOwn(t *testing.T) {
	sidecar := "http://" + testservice.FreeAddress(t)
	out, in := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{
			"--only", "nevisfido,google,mail,gateway,nevisidm,phone", "--listen", testservice.FreeAddress(t), "--sidecar", sidecar,
			"--files", filepath.Join(testservice.Folder(t), "made", "anew"),
		}, in)
		_ = in.Close()
	}()
	lines := bufio.NewScanner(out)
	var site strings.Builder
	for lines.Scan() && lines.Text() != "" {
		fmt.Fprintln(&site, lines.Text())
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(
		[]byte("{\nadmin off\npersist_config off\nstorage file_system "+testservice.Folder(t)+"\nlog {\nlevel ERROR\n}\n}\n"+site.String()), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, site.String())
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = caddy.Stop() }()
	next := func(about string) string {
		for lines.Scan() {
			if strings.Contains(lines.Text(), about) {
				return lines.Text()
			}
		}
		t.Fatalf("nothing was said of %q: %v", about, <-ended)
		return ""
	}
	id := strings.Fields(next("registered"))
	for dispatcher, about := range map[string]string{"push": "decrypted and redeemed", "mail": "mail to jeff@example.com", "sms": "text message"} {
		s := &stack{address: strings.TrimPrefix(sidecar, "http://")}
		a, err := channel{dispatcher: dispatcher}.dispatch(ctx, s, nevisfido.Authentication, id[len(id)-1], "")
		if err != nil || a.Result != "dispatched" {
			t.Fatalf("%s: %+v, %v", dispatcher, a, err)
		}
		next(about)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestReadParts(t *testing.T) {
	for list, ok := range map[string]bool{
		"nevisfido": true, "google,phone": true, "mail,gateway,nevisidm": true,
		"phone": false, "mail,mail": false, "nevis": false, "": false, "mail,": false,
	} {
		if _, err := readParts(list); (err == nil) != ok {
			t.Errorf("%q: %v", list, err)
		}
	}
}
