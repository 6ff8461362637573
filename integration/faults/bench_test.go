package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// unit is what the times of the cells are made of: the race detector slows
// everything down.
var unit = func() time.Duration {
	race := debug.BuildSetting{Key: "-race", Value: "true"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, race) {
		return time.Second
	}
	return time.Second / 2
}()

// What bounds a dispatch in every cell.
var (
	attemptTimeout  = 3 * unit // of two attempts
	deadline        = 7 * unit
	upstreamTimeout = 3 * unit

	// readBody is Caddy's time for a caller's request. It counts on while nevisFIDO is
	// asked, and ends the request then as if the caller had left.
	readBody = 4 * unit
)

// slack is for a machine that has other things to do.
const slack = 3 * time.Second

const globalText = `{
	admin off
	persist_config off
	auto_https off
	skip_install_trust
	grace_period 1s
	storage file_system %s
	log {
		output file %s
		level DEBUG
	}
	servers {
		timeouts {
			read_body %s
		}
	}
}
`

// The deadlines are short, so that the cells are.
const siteText = `http://%s {
	bind 127.0.0.1
	oob_dispatch {
		deadline %s
		upstream_timeout %s
		limit off
		audit file %s
		token_lifetime authentication 96h
		%s
	}
	reverse_proxy %s {
		transport http {
			%s
		}
	}
}
`

// bench is a sidecar's site with everything around it, for one cell.
type bench struct {
	t *testing.T
	*cell
	dir     string
	sidecar string // host:port
	host    string // of the site, with the port
	nevis   *nevis.Server
	party   *engine // that fails; nil for one that is not on the network
	out     *engine // that gets the messages; may be the party
	client  *http.Client
	phone   *device.Device
	process *testservice.Process // a sidecar of its own; nil for the one that cells share

	// What the party's setup decides.
	store     string
	options   string // further ones of oob_dispatch
	upstream  string
	transport string // further directives of the proxy's transport
	address   string // of the phone
	delivered func() int
	external  func() // the phone registers past the sidecar, and then this is called
}

// newBench sets everything up but the sidecar.
func newBench(t *testing.T, c *cell, sidecar, name string, shared *services) *bench {
	t.Helper()
	_, port, err := net.SplitHostPort(sidecar)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, cell: c, dir: testservice.Folder(t), sidecar: sidecar, host: net.JoinHostPort(name+zone, port)}
	b.client = &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DisableKeepAlives: c.fault != emfile, DisableCompression: true, IdleConnTimeout: time.Minute,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, b.sidecar)
			},
		},
	}
	t.Cleanup(b.client.CloseIdleConnections)
	if b.nevis, err = nevis.Start(nevis.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.nevis.Close)
	b.store = fmt.Sprintf("store caddy {\nstorage file_system %s\ntimeout %s\n}\n", b.path("targets"), attemptTimeout)
	if c.fault == emfile && c.party != "file storage" { // whose files need descriptors
		b.storeInRedis("redis", shared.redis, "")
	}
	b.upstream, b.transport = b.nevis.Addr(), "keepalive off"
	if c.fault == emfile && c.party != "nevisFIDO" {
		b.transport = "keepalive 1m" // so that nevisFIDO is reached
	}
	parties[c.party].setup(b, shared)
	if b.out == nil { // the party is no channel: messages go to a webhook that works
		b.out = newEngine(t, false)
		b.webhook(b.out)
	}
	if b.delivered == nil {
		b.delivered = func() int { return int(b.out.delivered.Load()) }
	}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name string, content []byte) (path string) {
	b.t.Helper()
	path = b.path(name)
	b.must(os.WriteFile(path, content, 0o600))
	return path
}

// site is the Caddyfile's.
func (b *bench) site() string {
	return fmt.Sprintf(siteText, b.host, b.deadline(), upstreamTimeout, b.path("audit.jsonl"), b.store+b.options, b.upstream, b.transport)
}

func (b *bench) url() string { return "http://" + b.host + "/nevisfido" }

func (b *bench) register() {
	b.t.Helper()
	o := device.Options{Frontend: "http://" + b.host, Client: b.client, Dispatcher: "out", Target: b.address, KeyKind: "P-256"}
	base := b.url()
	if b.external != nil {
		base, o.Client, o.Dispatcher = "http://"+b.nevis.Addr()+"/nevisfido", nil, ""
	}
	var err error
	if b.phone, err = device.New(o); err != nil {
		b.t.Fatal(err)
	}
	if err := b.phone.Register(b.t.Context(), base, device.Registration{}); err != nil {
		b.t.Fatalf("registering: %v", err)
	}
	if b.external != nil {
		b.external()
	}
}

const requestText = `{"dispatcher":"out","dispatchTargetId":%q,"dispatchInformation":{"notification":{"title":"Confirm"},"data":{}},` +
	`"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`

func (b *bench) request() string { return fmt.Sprintf(requestText, b.phone.TargetID()) }

// noAnswer is what a caller gets whose connection ends, or who gives up.
const noAnswer = "no answer"

// dispatch makes a relying party's call. What it got is the dispatch result, or
// the status where there is none.
func (b *bench) dispatch() (got string) {
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url()+"/token/dispatch/authentication", strings.NewReader(b.request()))
	b.must(err)
	r.Header.Set("Content-Type", "application/json")
	response, err := b.client.Do(r)
	if err != nil {
		return noAnswer
	}
	return b.read(response)
}

func (b *bench) read(response *http.Response) (got string) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return noAnswer
	}
	if bytes.Contains(body, []byte("dispatchTokenResponse")) || bytes.Contains(body, []byte("nma_data")) {
		b.t.Errorf("the caller got the message: %s", body)
	}
	var answer struct {
		Result string `json:"dispatchResult"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Result == "" {
		return fmt.Sprint(response.StatusCode)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %s", response.StatusCode, answer.Result)
	}
	return answer.Result
}

// change has the phone change its name, and returns the status.
func (b *bench) change() int {
	err := b.phone.Modify(b.t.Context(), device.Change{Name: "another"})
	if failure, ok := errors.AsType[*device.StatusError](err); ok {
		return failure.Status
	}
	if err != nil {
		b.t.Errorf("a change: %v", err)
	}
	return http.StatusNoContent
}

// auditLine is what is read of one.
type auditLine struct {
	Event, Result, Reason string
	Attempts              []struct{ Reason string }
}

// dispatches returns the audit lines of dispatches, of which there are n at least.
func (b *bench) dispatches(n int) (lines []auditLine) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		lines = nil
		content, err := os.ReadFile(b.path("audit.jsonl"))
		if err != nil && !os.IsNotExist(err) {
			b.t.Fatal(err)
		}
		for text := range strings.Lines(string(content)) {
			var line auditLine
			if json.Unmarshal([]byte(text), &line) == nil && line.Event == "dispatch" {
				lines = append(lines, line)
			}
		}
		if len(lines) >= n {
			return lines
		}
		if time.Now().After(end) {
			b.t.Fatalf("the audit file has %d dispatches, want %d:\n%s", len(lines), n, content)
		}
	}
}
