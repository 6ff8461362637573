package books

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/webpush"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/pushservice"
)

const (
	patience  = 30 * time.Second // for anything that happens in its own time
	keepalive = time.Second      // of connections to nevisFIDO
	appURL    = "https://app.example.com/open"
)

var background = context.Background()

// caddyfile has every channel. Times are short, so that those who hang cost
// little; retries and fallbacks are those of a product in use.
const caddyfile = `{
	admin ADMIN
	persist_config off
	auto_https off
	skip_install_trust
	grace_period 10s
	storage file_system FOLDER/storage
	log {
		output file FOLDER/caddy.log
	}
}
http://SITE {
	bind 127.0.0.1
	tracing
	oob_dispatch {
		limit off
		deadline DEADLINE
		upstream_timeout 2s
		hash_key {file.FOLDER/hash.key}
		audit file FOLDER/audit.jsonl {
			signing_key {file.FOLDER/audit.key}
		}
		dispatcher push fcm {
			credentials FOLDER/firebase.json
			endpoint FCM
			keep_unregistered
			timeout 1s
		}
		dispatcher mail smtp {
			server MAIL
			ca FOLDER/mail-ca.pem
			from "Example Bank <login@bank.example.com>"
			address {http.request.header.X-User-Email}
			base_url APP
			timeout 1s
			retries 1
		}
		dispatcher sms webhook {
			url GATEWAY/messages
			address {http.request.header.X-User-Mobile}
			base_url APP
			body "{\"to\":\"{webhook.address}\",\"text\":\"Confirm: {oob.link}\"}"
			timeout 1s
		}
		dispatcher browser web_push {
			vapid FOLDER/vapid.json
			allow BROWSER
			ca FOLDER/push-ca.pem
			address {http.request.header.X-Subscription}
			timeout 1s
			retries 1
		}
		dispatcher paper letter {
			printer PRINTER/ipp/print
			spool FOLDER/letters
			max_spool 100000
			min_lifetime 1m
			limit off
			address "Jeff Example|Example Street 1|8000 Zurich"
			base_url APP
			timeout 2s
			retries 1
		}
		dispatcher app-link link {
			base_url APP
		}
		dispatcher app-qr qr_code {
			base_url APP
		}
		dispatcher push-then-mail fallback {
			try push mail sms
			on expired no_target refused temporary broken
		}
		dispatcher everywhere fan_out {
			to push sms browser
		}
		dispatcher fastest fan_out {
			to sms push
			succeed first
		}
	}
	reverse_proxy NEVIS {
		transport http {
			keepalive KEEPALIVE # so long a replaced configuration's last connections stay
		}
	}
}
`

// product is the sidecar, as a process, between its parties.
type product struct {
	t      *testing.T
	folder string
	site   string // host:port
	admin  string
	text   string // Caddyfile
	server *testservice.Process
	client *http.Client
	secret string // of hash_key
	public string // file of the public key that verifies the audit trail

	*parties
	phones []*phone

	mu    sync.Mutex
	calls []call
	seen  []receipt // what callers got in their answers
}

// phone is a device with an address on every channel.
type phone struct {
	*device.Device
	pushToken, number, mail string
	browser                 *pushservice.Subscription
}

// start runs the product with some registered phones until the end of the test.
func start(t *testing.T) *product {
	t.Helper()
	p := &product{
		t: t, folder: testservice.Folder(t), site: testservice.FreeAddress(t), admin: testservice.FreeAddress(t),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
		secret: rand.Text() + rand.Text(),
	}
	t.Cleanup(p.client.CloseIdleConnections)
	p.parties = startParties(t, p.folder)
	vapid, err := webpush.NewVAPID("mailto:login@bank.example.com")
	must(t, err)
	for name, content := range map[string][]byte{
		"firebase.json": p.google.ServiceAccountJSON(), "mail-ca.pem": p.mails.CA(), "push-ca.pem": p.pushes.CA(),
		"vapid.json": vapid, "hash.key": []byte(p.secret),
	} {
		must(t, os.WriteFile(p.path(name), content, 0o600))
	}
	p.public = p.path("audit.pub")
	must(t, os.WriteFile(p.public, p.run("oob", "audit", "keygen", "books", p.path("audit.key")), 0o600))
	p.text = strings.NewReplacer(
		"ADMIN", p.admin, "FOLDER", p.folder, "SITE", p.site, "APP", appURL,
		"FCM", p.google.URL(), "MAIL", p.mails.Addr(), "GATEWAY", p.gateway.URL(), "BROWSER", p.pushes.Host(),
		"PRINTER", strings.Replace(p.printer.URL(), "http", "ipp", 1), "NEVIS", p.nevis.Addr(), "KEEPALIVE", keepalive.String(),
	).Replace(caddyfile)
	p.begin()
	p.register(20)
	return p
}

func (p *product) path(name string) string { return filepath.Join(p.folder, name) }

// environment has this binary be the product.
var environment = []string{testservice.ProductVariable + "=1", "OTEL_TRACES_EXPORTER=none"}

// run runs a command of the product to its end.
func (p *product) run(args ...string) (output []byte) {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), environment...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("caddy %s: %v\n%s%s", strings.Join(args, " "), err, output, complaints.Bytes())
	}
	return output
}

// begin starts the server.
func (p *product) begin() {
	p.t.Helper()
	file := p.path("Caddyfile")
	must(p.t, os.WriteFile(file, p.configuration(0), 0o600))
	p.server = &testservice.Process{
		Dir: p.folder, Args: []string{os.Args[0], "run", "--config", file, "--adapter", "caddyfile"}, Env: environment,
		Healthy: func() bool {
			response, err := p.client.Get("http://" + p.site + "/nevisfido/healthy")
			if err == nil {
				response.Body.Close()
			}
			return err == nil
		},
	}
	p.t.Cleanup(func() { p.server.Finish(p.t) })
	p.server.Start(p.t)
}

// configuration returns one of many that differ in the deadline.
func (p *product) configuration(n int) []byte {
	return []byte(strings.Replace(p.text, "DEADLINE", fmt.Sprintf("%ds", 6+n%2), 1))
}

// reload brings another configuration into force.
func (p *product) reload(n int) {
	p.t.Helper()
	response, err := p.client.Post("http://"+p.admin+"/load", "text/caddyfile", bytes.NewReader(p.configuration(n)))
	must(p.t, err)
	defer response.Body.Close()
	if answer, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		p.t.Fatalf("a reload: %s", answer)
	}
}

func (p *product) register(n int) {
	p.t.Helper()
	for i := range n {
		ph := &phone{
			pushToken: p.google.Register(), number: fmt.Sprintf("+4179%07d", i), mail: fmt.Sprintf("user%d@example.com", i),
		}
		kind := "P-256"
		if i%5 == 0 {
			kind = "RSA-2048" // nevisFIDO seals for these
		}
		var err error
		if ph.browser, err = p.pushes.Subscribe(""); err != nil {
			p.t.Fatal(err)
		}
		if ph.Device, err = device.New(device.Options{
			KeyKind: kind, Target: ph.pushToken, Dispatcher: "push", RequireSealed: true, Frontend: "http://" + p.site, Client: p.client,
		}); err != nil {
			p.t.Fatal(err)
		}
		if err := ph.Register(p.t.Context(), "http://"+p.site+"/nevisfido", device.Registration{}); err != nil {
			p.t.Fatalf("registering: %v", err)
		}
		p.phones = append(p.phones, ph)
	}
}

// scrape returns all metrics, by series.
func (p *product) scrape() map[string]float64 {
	p.t.Helper()
	response, err := p.client.Get("http://" + p.admin + "/metrics")
	must(p.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(p.t, err)
	all := map[string]float64{}
	for l := range strings.Lines(string(text)) {
		if i := strings.LastIndexByte(l, ' '); i > 0 && l[0] != '#' {
			value, err := strconv.ParseFloat(strings.TrimSpace(l[i+1:]), 64)
			if err != nil {
				p.t.Fatalf("%q: %v", l, err)
			}
			all[l[:i]] = value
		}
	}
	return all
}

// sum adds the series of a metric.
func sum(metrics map[string]float64, name string) (n float64) {
	for s, value := range metrics {
		if strings.HasPrefix(s, "caddy_oob_"+name+"{") {
			n += value
		}
	}
	return n
}

// must ends a test that cannot go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
