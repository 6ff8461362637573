package faults

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/webpush"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/printer"
	"github.com/oob-dispatch/oob-dispatch/simulator/pushservice"
)

// party is one that can fail.
type party struct {
	what  string // as the page says it
	bound string // what bounds its time
	setup func(*bench, *services)
}

// parties by the names of the table.
var parties = map[string]party{
	"caller":       {"the relying party's request", "`read_body` of Caddy", func(*bench, *services) {}},
	"nevisFIDO":    {"behind `reverse_proxy`", "`upstream_timeout`", (*bench).asNevisFIDO},
	"FCM":          {"dispatcher `fcm`", "`deadline`", (*bench).asFCM},
	"OAuth":        {"the host that `fcm` gets its access tokens from", "`deadline`", (*bench).asOAuth},
	"SMTP":         {"dispatcher `smtp`", "`deadline`", (*bench).asSMTP},
	"webhook":      {"dispatcher `webhook`", "`deadline`", (*bench).asWebhook},
	"web push":     {"dispatcher `web_push`", "`deadline`", (*bench).asWebPush},
	"IPP":          {"dispatcher `letter` with `printer`, without `spool`", "`deadline`", (*bench).asIPP},
	"Redis":        {"`store redis`: a real one", "`timeout` of the store", (*bench).asRedis},
	"file storage": {"`store caddy` on a file system", "`timeout` of the store", func(*bench, *services) {}},
	"nevisIDM":     {"`key_source nevisidm`", "`timeout` of the source", (*bench).asNevisIDM},
}

// services are what all cells share.
type services struct {
	google *google.Server
	redis  string // host:port
}

func newServices(t *testing.T) *services {
	t.Helper()
	s := &services{}
	var err error
	if s.google, err = google.Start(google.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.google.Close)

	if _, err := exec.LookPath("redis-server"); err != nil { // its cells say so
		s.redis = freeAddress(t)
		return s
	}
	redis := testservice.NewRedis(t)
	redis.Start(t)
	s.redis = redis.Address
	return s
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	testservice.Until(t, done, func() string { return "it was " + what })
}

// stand makes the engine of the party, and returns the scheme with an s if it
// is encrypted.
func (b *bench) stand(scheme string, always bool) string {
	b.t.Helper()
	what := troubleOf(b.cell)
	encrypted := always || what.encrypted
	protocols := what.protocols
	if protocols == nil {
		protocols = []string{"http/1.1"}
	}
	b.party = newEngine(b.t, encrypted, protocols...)
	if encrypted {
		scheme += "s"
	}
	return scheme
}

// ca is the option where there is something to trust.
func (b *bench) ca() string {
	if b.party.trusted == nil {
		return ""
	}
	return "ca " + b.write("ca.pem", b.party.trusted) + "\n"
}

func (b *bench) dispatcher(kind, options string) {
	timeout := attemptTimeout
	if kind == "letter" { // it takes a while to draw, and a second until a printer's silence means to go on
		timeout = 3 * attemptTimeout
	}
	b.options += fmt.Sprintf("dispatcher out %s {\ntimeout %s\nretries 1\n%s}\n", kind, timeout, options)
}

func (b *bench) asNevisFIDO(*services) {
	scheme := b.stand("http", false)
	b.upstream = scheme + "://" + b.party.host
	if b.party.trusted != nil {
		b.transport += "\ntls_trust_pool file " + b.write("nevisfido.pem", b.party.trusted)
	}
	b.party.serveHTTP(b.nevis)
}

func (b *bench) asFCM(s *services) {
	scheme := b.stand("http", false)
	b.out = b.party
	b.fcm(s, s.google.ServiceAccountJSON(), scheme+"://"+b.party.host, b.ca())
	b.party.serveHTTP(s.google)
}

func (b *bench) asOAuth(s *services) {
	scheme := b.stand("http", false)
	b.out = newEngine(b.t, false)
	account := bytes.ReplaceAll(s.google.ServiceAccountJSON(), []byte(s.google.URL()), []byte(scheme+"://"+b.party.host))
	b.fcm(s, account, "http://"+b.out.host, b.ca())
	b.party.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The assertion names the engine, not the service behind it: the token comes
		// from where none is needed.
		r.Method, r.URL.Path = http.MethodGet, "/computeMetadata/v1/instance/service-accounts/default/token"
		r.Header.Set("Metadata-Flavor", "Google")
		s.google.ServeHTTP(w, r)
	}))
	b.out.serveHTTP(s.google)
}

func (b *bench) fcm(s *services, account []byte, endpoint, more string) {
	b.address = s.google.Register()
	b.dispatcher("fcm", fmt.Sprintf("credentials %s\nendpoint %s\n", b.write("firebase.json", account), endpoint)+more)
}

func (b *bench) asSMTP(*services) {
	mode := "off"
	if strings.HasSuffix(b.stand("smtp", false), "s") {
		mode = "implicit"
	}
	b.out = b.party
	server, err := mail.Start(mail.Options{Listener: b.party, TLS: mail.None})
	b.must(err)
	b.t.Cleanup(server.Close)
	b.delivered = func() int { return len(server.Mails()) }
	b.dispatcher("smtp", fmt.Sprintf("server %s\ntls %s\nfrom login@example.com\naddress jeff@example.com\nbase_url https://app.example.com/open\n", b.party.host, mode)+b.ca())
}

func (b *bench) asWebhook(*services) {
	b.stand("http", false)
	b.out = b.party
	b.webhook(b.party)
}

func (b *bench) webhook(e *engine) {
	scheme, ca := "http", ""
	if e.trusted != nil {
		scheme, ca = "https", b.ca()
	}
	server, err := gateway.Start(gateway.Options{})
	b.must(err)
	b.t.Cleanup(server.Close)
	b.dispatcher("webhook", fmt.Sprintf("url %s://%s/messages\naddress +41790000000\nbase_url https://app.example.com/open\n", scheme, e.host)+ca)
	e.serveHTTP(server)
}

func (b *bench) asWebPush(*services) {
	b.stand("http", true)
	b.out = b.party
	server, err := pushservice.Start()
	b.must(err)
	b.t.Cleanup(server.Close)
	browser, err := server.Subscribe("")
	b.must(err)
	vapid, err := webpush.NewVAPID("mailto:ops@example.com")
	b.must(err)
	b.address = strings.Replace(browser.JSON(), server.Host(), b.party.host, 1)
	b.dispatcher("web_push", fmt.Sprintf("vapid %s\nallow %s\n", b.write("vapid.json", vapid), b.party.host)+b.ca())
	b.party.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Authorization") // which names the engine, not the service behind it
		server.ServeHTTP(w, r)
	}))
}

func (b *bench) asIPP(*services) {
	scheme := b.stand("ipp", false)
	b.out = b.party
	b.dispatcher("letter", fmt.Sprintf("printer %s://%s/ipp/print\naddress \"Anna Muster|Bahnhofstrasse 1|8001 Zurich\"\nbase_url https://app.example.com/open\nlimit off\n", scheme, b.party.host)+b.ca())
	server, err := printer.Start()
	b.must(err)
	b.t.Cleanup(server.Close)
	b.party.serveHTTP(server)
}

func (b *bench) asRedis(s *services) {
	scheme := b.stand("redis", false)
	if b.party.trusted != nil {
		scheme = "rediss"
	}
	b.storeInRedis(scheme, b.party.host, b.ca())
	b.party.serveTCP(s.redis)
}

func (b *bench) storeInRedis(scheme, host, more string) {
	b.store = fmt.Sprintf("store redis %s://%s {\ntimeout %s\nkey_prefix %q\n%s}\n", scheme, host, attemptTimeout, b.host+":", more)
}

func (b *bench) asNevisIDM(*services) {
	scheme := b.stand("http", false)
	server, err := idm.Start(idm.Options{Release: idm.V8_2511, Login: idm.Login{Bearer: "token"}})
	b.must(err)
	b.t.Cleanup(server.Close)
	server.SetUser(idm.User{ExtID: "jeff", LoginID: "jeff"})
	b.external = func() {
		server.SetTarget("jeff", idm.Target{
			ID: b.phone.TargetID(), DeviceID: b.phone.DeviceID(), Name: "phone",
			EncryptionKey: string(b.phone.Keys()[0].Public().JWK()), SigningKey: string(b.phone.SignatureKey().Public().JWK()),
		})
	}
	b.options += fmt.Sprintf("key_source nevisidm %s://%s/nevisidm {\nclient 100\nauth bearer token\ntimeout %s\n%s}\n", scheme, b.party.host, attemptTimeout, b.ca())
	b.party.serveHTTP(server)
}
