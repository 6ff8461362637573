package integration

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
	"github.com/oob-dispatch/oob-dispatch/simulator/pushservice"
)

// Canaries of the configuration and of the people. Their odd characters are
// written in another way in each encoding.
const (
	canaryUser     = "canary.user+4711@bank"
	canaryExtID    = "canary-ext-id-4711"
	canaryDeviceID = "canary+device=id-4711"
	canaryPhone    = `Canary's "phone" of 4711`
	canaryMail     = "canary+header@mail.example.com"
	canaryIDMMail  = "canary+idm@mail.example.com"
	canaryMobile   = "+41790004711"
	canaryAddress  = "Canary Person|Rue de l'Oiseau 4711|1200 Canaryville"
	canaryText     = "Canary payment of <4711> & more"
	canaryData     = "canary data ÿ?>4711"

	canaryAuthorization = "Basic amVmZjpjYW5hcnktYXV0aG9yaXphdGlvbg=="
	canarySecToken      = "canary-sec-token+/4711=="
	canaryXToken        = "canary-x-token-4711"
	canaryCookie        = "canary-cookie-4711"
	canarySMTPPassword  = `canary smtp "pässword" <4711>`
	canaryIDMPassword   = "canary+idm/password&4711"
	canaryRedisPassword = "canary?redis=password#4711"
	canarySMSToken      = "canary-sms-token+/4711=="
)

const canaryConfig = `{
	admin unix/%[1]s/admin.sock
	auto_https off
	skip_install_trust
	grace_period 10s
	storage file_system %[1]s/storage
	log {
		level DEBUG
		%[2]s
	}
	servers {
		protocols h1 h2c
		max_header_size 64KiB
	}
	metrics
}
(site) {
	bind 127.0.0.1
	tracing {
		span fido
	}
	log {
		level DEBUG
		%[3]s
	}
}
(nevisfido) {
	reverse_proxy %[4]s {
		request_buffers 1MiB # see bufferText
		transport http {
			keepalive off
		}
	}
}
http://%[5]s {
	import site
	oob_dispatch {
		namespace bank
		limit off
		visual_code 4 picture
		hash_key {file.%[6]s/hash.key}
		audit file %[1]s/audit/audit.jsonl {
			signing_key {file.%[6]s/audit.key}
		}
		store redis redis://%[7]s {
			password {file.%[6]s/redis.password}
			seal %[6]s/seal.key
			timeout 500ms
		}
		key_source nevisidm %[8]s {
			client 100
			username login_id
			auth basic canary-technical-user {file.%[6]s/idm.password}
		}
		on_expired webhook {
			url %[9]s/expired
			secret {env.CANARY_WEBHOOK_SECRET}
			header Authorization "Bearer {env.CANARY_SMS_TOKEN}"
			retries 0
		}
		on_key_change smtp {
			import mailserver
			address {oob.user.email}
		}
		dispatcher push fcm {
			credentials %[6]s/firebase.json
			endpoint %[10]s
			retries 0
		}
		dispatcher mail smtp {
			import mailserver
			address {http.request.header.X-User-Email}
			base_url https://app.example.com/open
		}
		dispatcher idm-mail smtp {
			import mailserver
			address {oob.user.email}
			base_url https://app.example.com/open
		}
		dispatcher sms webhook {
			url %[9]s/sms
			secret {env.CANARY_WEBHOOK_SECRET}
			header Authorization "Bearer {env.CANARY_SMS_TOKEN}"
			address {oob.user.mobile}
			base_url https://app.example.com/open
			short_links https://fido.example.com/oob
			text "Confirm: {oob.link}"
			retries 0
		}
		dispatcher paper letter {
			spool %[1]s/spool
			sender "Example Bank | Main Street 1 | 8000 Zurich"
			address {http.request.header.X-User-Address}
			base_url https://app.example.com/open
			min_lifetime 1s
		}
		dispatcher browser web_push {
			vapid %[6]s/vapid.json
			allow %[11]s
			ca %[6]s/push-ca.pem
			retries 0
		}
		dispatcher app-link link {
			base_url https://app.example.com/open
		}
		dispatcher app-qr qr_code {
			base_url https://app.example.com/open
		}
		dispatcher raw-qr qr_code
		dispatcher push-or-mail fallback {
			try push mail
			on temporary broken refused
		}
		dispatcher both fan_out {
			to app-link sms
			succeed all
		}
	}
	import nevisfido
}
http://%[12]s {
	import site
	oob_dispatch {
		namespace seen
		store caddy {
			seal %[6]s/seal.key
		}
		observe
		shapes %[1]s/shapes.json
		dispatcher app-link link
	}
	import nevisfido
}
http://%[13]s {
	bind 127.0.0.1
	oob_health /ready
	metrics /metrics
}
`

const canaryMailServer = `(mailserver) {
	server %s
	auth login {env.CANARY_SMTP_PASSWORD}
	from "Example Bank <login@bank.example.com>"
	ca %s/mail-ca.pem
	retries 0
}
`

// aviary is the product as a process of its own, with every channel, store and
// source, and canaries wherever something is secret or personal.
type aviary struct {
	*stack
	product  *exampleProcess
	keys     string // folder of the secrets
	observed string // address of the site with observe
	redis    *testservice.Process
	idm      *idm.Server
	mail     *mail.Server
	gateway  *gateway.Server
	browsers *pushservice.Server
	spans    spans
	vapid    string // public key

	canaries map[string]string // by their kind
	sinks    map[string]string // what was read, by its place
}

func startAviary(t *testing.T) *aviary {
	t.Helper()
	a := &aviary{
		stack:    &stack{t: t, address: testservice.FreeAddress(t), client: newClient()},
		observed: testservice.FreeAddress(t), keys: filepath.Join(t.TempDir(), "keys"), redis: testservice.NewRedis(t),
		sinks: make(map[string]string),
		canaries: map[string]string{
			"user name": canaryUser, "ext id": canaryExtID, "device id": canaryDeviceID, "name of a device": canaryPhone,
			"mail address": canaryMail, "mail address of nevisIDM": canaryIDMMail, "phone number": canaryMobile,
			"recipient": "Canary Person", "street": "Rue de l'Oiseau 4711", "town": "1200 Canaryville",
			"title": canaryText, "data of the relying party": canaryData,
			"Authorization": canaryAuthorization, "SecToken": canarySecToken, "X-Token": canaryXToken, "Cookie": canaryCookie,
			"SMTP password": canarySMTPPassword, "nevisIDM's password": canaryIDMPassword,
			"Redis' password": canaryRedisPassword, "token of the SMS gateway": canarySMSToken,
		},
	}
	a.startParties()
	a.startProduct()
	return a
}

// startParties starts what the product talks to.
func (a *aviary) startParties() {
	t := a.t
	var err error
	a.nevis, err = nevis.Start(nevis.Options{Authorization: canaryAuthorization, Users: []string{canaryUser}})
	must(t, err)
	t.Cleanup(a.nevis.Close)
	a.google, err = google.Start(google.Options{})
	must(t, err)
	t.Cleanup(a.google.Close)
	a.idm, err = idm.Start(idm.Options{Login: idm.Login{Username: "canary-technical-user", Password: canaryIDMPassword}})
	must(t, err)
	t.Cleanup(a.idm.Close)
	a.idm.SetUser(idm.User{
		ExtID: canaryExtID, LoginID: canaryUser, FirstName: "Canary", FamilyName: "Person", Email: canaryIDMMail, Mobile: canaryMobile,
		Address: idm.Address{Street: "Rue de l'Oiseau", HouseNumber: "4711", PostalCode: "1200", City: "Canaryville"},
	})
	a.mail, err = mail.Start(mail.Options{TLS: mail.STARTTLS, User: "login", Password: canarySMTPPassword})
	must(t, err)
	t.Cleanup(a.mail.Close)
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	a.canaries["webhook secret"] = base64.StdEncoding.EncodeToString(secret)
	a.gateway, err = gateway.Start(gateway.Options{
		Secrets: []string{"whsec_" + a.canaries["webhook secret"]}, Authorization: "Bearer " + canarySMSToken,
	})
	must(t, err)
	t.Cleanup(a.gateway.Close)
	a.browsers, err = pushservice.Start()
	must(t, err)
	t.Cleanup(a.browsers.Close)
	collector := httptest.NewServer(&a.spans)
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20") // milliseconds
	a.redis.Args = append(a.redis.Args, "--requirepass", canaryRedisPassword)
	a.redis.Start(t)
}

// startProduct makes the keys and starts the product.
func (a *aviary) startProduct() {
	t := a.t
	program, dir := testservice.Product(t), testservice.Folder(t)
	site, other := logFormats(t)
	a.product = &exampleProcess{
		Process:  &testservice.Process{Dir: dir, Address: a.address},
		internal: testservice.FreeAddress(t), config: filepath.Join(a.keys, "Caddyfile"), socket: filepath.Join(dir, "admin.sock"),
	}
	for _, folder := range []string{"audit", "spool"} {
		must(t, os.Mkdir(filepath.Join(dir, folder), 0o700))
	}
	seal, hash := make([]byte, 32), make([]byte, 32)
	_, _ = rand.Read(seal)
	_, _ = rand.Read(hash)
	a.canaries["seal key"], a.canaries["hash key"] = fmt.Sprintf("%x", seal), base64.StdEncoding.EncodeToString(hash)
	a.canaries["seal key as bytes"], a.canaries["hash key as bytes"] = string(seal), string(hash)
	a.keep("firebase.json", string(a.google.ServiceAccountJSON()))
	a.keep("push-ca.pem", string(a.browsers.CA()))
	a.keep("mail-ca.pem", string(a.mail.CA()))
	a.keep("seal.key", a.canaries["seal key"]+"\n")
	a.keep("hash.key", a.canaries["hash key"])
	a.keep("redis.password", canaryRedisPassword)
	a.keep("idm.password", canaryIDMPassword)
	a.keep("Caddyfile", fmt.Sprintf(canaryMailServer, a.mail.Addr(), a.keys)+fmt.Sprintf(canaryConfig,
		dir, other, site, a.nevis.Addr(), a.address, a.keys, a.redis.Address, a.idm.URL(),
		a.gateway.URL(), a.google.URL(), a.browsers.Host(), a.observed, a.product.internal))
	t.Setenv("CANARY_SMTP_PASSWORD", canarySMTPPassword)
	t.Setenv("CANARY_SMS_TOKEN", canarySMSToken)
	t.Setenv("CANARY_WEBHOOK_SECRET", "whsec_"+a.canaries["webhook secret"])

	p := a.product
	p.Args = []string{program, "run", "--config", p.config}
	p.Healthy = func() bool { return healthy(http.DefaultTransport, p.internal+"/ready") }
	p.Cmd = exec.Command(program) // whose environment the commands below have
	a.command("vapid", "oob", "vapid", filepath.Join(a.keys, "vapid.json"), "--subject", "mailto:ops@example.com")
	a.keep("audit.pub", a.command("audit keygen", "oob", "audit", "keygen", "fido-1", filepath.Join(a.keys, "audit.key")))
	a.canaries["signing key of the audit trail"] = strings.TrimSpace(a.secret("audit.key"))
	var vapid struct {
		PublicKey, PrivateKey string
	}
	must(t, json.Unmarshal([]byte(a.secret("vapid.json")), &vapid))
	a.vapid, a.canaries["VAPID key"] = vapid.PublicKey, vapid.PrivateKey
	if m := regexp.MustCompile(`-----\\n([^\\]{40})`).FindStringSubmatch(a.secret("firebase.json")); m != nil {
		a.canaries["key of the service account"] = m[1]
	}
	t.Cleanup(func() { p.Finish(t) })
	p.Start(t)
}

// keep writes a secret file, secret returns what stands in one.
func (a *aviary) keep(name, content string) {
	a.t.Helper()
	err := os.MkdirAll(a.keys, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(a.keys, name), []byte(content), 0o600)
	}
	must(a.t, err)
}

func (a *aviary) secret(name string) string {
	a.t.Helper()
	content, err := os.ReadFile(filepath.Join(a.keys, name))
	must(a.t, err)
	return string(content)
}

// command runs a command of the product and keeps what it prints.
func (a *aviary) command(sink string, args ...string) string {
	a.t.Helper()
	out := a.product.mustRun(a.t, args...)
	a.sinks["output of "+sink] += out
	return strings.TrimSpace(out)
}

// phone registers one, and knows its secrets from then on.
func (a *aviary) phone(name string, o device.Options, how device.Registration) *phone {
	a.t.Helper()
	o.Username, o.Name = canaryUser, canaryPhone+name
	o.Header = http.Header{"Authorization": {canaryAuthorization}, "Sectoken": {canarySecToken}, "X-Token": {canaryXToken}, "Cookie": {"s=" + canaryCookie}}
	p := a.registerAs(o, how)
	a.canaries["push token of "+name], a.canaries["target id of "+name] = p.pushToken, p.TargetID()
	if target, ok := a.nevis.Target(p.TargetID()); ok {
		a.canaries["ext id of "+name] = target.ExtID
	}
	for i, key := range p.Keys() {
		a.knowKey(fmt.Sprintf("key %d of %s", i, name), key.JWK())
	}
	a.knowKey("signature key of "+name, p.SignatureKey().Public().JWK())
	return p
}

// knowKey makes the numbers of a JWK canaries.
func (a *aviary) knowKey(name string, jwk []byte) {
	a.t.Helper()
	members := make(map[string]any)
	must(a.t, json.Unmarshal(jwk, &members))
	for _, member := range []string{"d", "p", "q", "n", "x", "y"} {
		if text, ok := members[member].(string); ok {
			a.canaries[name+", "+member] = text[:40]
		}
	}
}

func (a *aviary) post(method, path, body, media string) reply {
	a.t.Helper()
	r, err := a.tryPost(method, path, body, media)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// tryPost makes a request with everything personal that a header may carry.
func (a *aviary) tryPost(method, path, body, media string) (reply, error) {
	return a.try(method, path, body, "Content-Type", media,
		"Authorization", canaryAuthorization, "SecToken", canarySecToken, "X-Token", canaryXToken, "Cookie", "s="+canaryCookie,
		"Device-Signature", canaryData, "X-User-Email", canaryMail, "X-User-Mobile", canaryMobile, "X-User-Address", canaryAddress)
}

// body is a dispatch request with canaries.
func (a *aviary) body(op nevisfido.Operation, channel, target string) string {
	return strings.NewReplacer("Confirm payment 4711", canaryText, "jeff", canaryUser, `"no":"4711"`, `"no":"`+canaryData+`"`).
		Replace(request(op, channel, target))
}

// ask makes a dispatch, and knows its secrets from then on.
func (a *aviary) ask(name, channel, target string) answer {
	a.t.Helper()
	got := answer{reply: a.post(http.MethodPost, authentication, a.body(nevisfido.Authentication, channel, target), jsonType)}
	if err := json.Unmarshal(got.body, &got); err != nil {
		a.t.Fatalf("%s: %v in %s", name, err, got.body)
	}
	a.know(name, got.body)
	return got
}

var (
	tokenMember   = regexp.MustCompile(`"token":"([\w-]{8,})"`)
	sessionMember = regexp.MustCompile(`"sessionId":"([\w-]{8,})"`)
	linkMember    = regexp.MustCompile(`dispatchTokenResponse=([\w-]{60})`)
)

// know makes the secrets of an answer to a dispatch canaries.
func (a *aviary) know(name string, body []byte) {
	for kind, member := range map[string]*regexp.Regexp{"token": tokenMember, "session id": sessionMember, "message in a link": linkMember} {
		if m := member.FindSubmatch(body); m != nil {
			a.canaries[kind+" of "+name] = string(m[1])
		}
	}
}

// deliver has each channel deliver, and then fail in its ways.
func (a *aviary) deliver(p, browser *phone) {
	t, target := a.t, p.TargetID()
	for _, channel := range []string{"push", "mail", "idm-mail", "sms", "paper", "app-link", "app-qr", "raw-qr", "push-or-mail", "both"} {
		if got := a.ask(channel, channel, target); got.Result != nevisfido.Dispatched {
			t.Errorf("%s: %s", channel, got.body)
		}
	}
	if got := a.ask("browser", "browser", browser.TargetID()); got.Result != nevisfido.Dispatched {
		t.Errorf("browser: %s", got.body)
	}
	refuse := func(name, channel string, target *phone) {
		t.Helper()
		if got := a.ask(channel+", "+name, channel, target.TargetID()); got.Result == nevisfido.Dispatched {
			t.Errorf("%s, %s: %s", channel, name, got.body)
		}
	}
	for name, strike := range map[string]fault.Fault{
		"refused": google.InvalidArgument, "a page": fault.HTML(200), "reset": fault.Reset, "down": google.Unavailable(""), "echo": fault.Echo(400, nil),
	} {
		a.google.ScriptFor(p.pushToken, strike)
		refuse(name, "push", p)
	}
	a.google.RevokeTokens()
	a.google.ScriptOAuth(google.OAuthError("invalid_grant"))
	refuse("access token revoked", "push", p)
	refuse("no access token", "push", p)
	for name, at := range map[string]mail.Point{"no login": mail.AtAUTH, "no such user": mail.AtRCPT, "not taken": mail.AtEnd} {
		for _, channel := range []string{"mail", "idm-mail"} {
			a.mail.DropConnections() // so that it logs in again
			a.mail.Script(at, mail.Reply("550 5.1.1 <"+canaryMail+"> <"+canaryIDMMail+"> "+canarySMTPPassword))
			refuse(name, channel, p)
		}
	}
	for _, status := range []int{400, 401, 500} {
		a.gateway.Script(fault.Echo(status, nil))
		refuse(fmt.Sprint(status), "sms", p)
		a.browsers.Script(fault.Echo(status, nil))
		refuse(fmt.Sprint(status), "browser", browser)
	}
	spool := filepath.Join(a.product.Dir, "spool")
	must(t, os.Rename(spool, spool+"-away"))
	must(t, os.WriteFile(spool, nil, 0o600))
	refuse("no spool", "paper", p)
	must(t, os.Remove(spool))
	must(t, os.Rename(spool+"-away", spool))
	a.command("targets block", "oob", "targets", "block", target, "--address", "unix/"+a.product.socket, "--config", a.product.config, "--namespace", "bank")
	for _, channel := range []string{"app-link", "app-qr", "raw-qr"} {
		refuse("blocked", channel, p)
	}
	a.command("targets unblock", "oob", "targets", "unblock", target, "--config", a.product.config, "--namespace", "bank")
	refuse("no such channel", "unknown", p)
	if got := a.ask("an unknown target", "push", canaryData); got.Result == nevisfido.Dispatched {
		t.Errorf("%s", got.body)
	}
}

// misbehave has nevisFIDO, nevisIDM and the store fail, and devices and callers
// send what they should not.
func (a *aviary) misbehave(p *phone) {
	t, target := a.t, p.TargetID()
	for _, tt := range badAnswers {
		a.nevis.Script(tt.fault)
		if r, err := a.tryPost(http.MethodPost, authentication+"?username="+canaryUser, a.body(nevisfido.Authentication, "push", target), jsonType); err == nil {
			a.know(tt.name, r.body)
		}
	}
	for _, status := range []int{401, 500} {
		a.idm.Script(fault.Echo(status, nil), fault.Echo(status, nil), fault.Echo(status, nil))
		a.ask(fmt.Sprintf("nevisIDM's %d", status), "idm-mail", canaryData)
	}

	private := string(p.Keys()[0].JWK())
	good, err := p.Sign(device.Change{Target: p.pushToken})
	must(t, err)
	a.canaries["signed modification"] = good[60:120]
	forged := good[:len(good)-8] + "AAAAAAAA"
	for _, id := range []string{target, canaryData, canaryDeviceID} {
		id = url.PathEscape(id)
		for _, body := range []string{forged, private, canaryText, `{"target":"` + p.pushToken + `","encryptionKey":` + private, good} {
			a.post(http.MethodPatch, "/nevisfido/token/dispatch/targets/"+id, body, "application/jose")
			a.post(http.MethodPatch, "/nevisfido/devices/credentials/"+id, body, "application/jose")
		}
		a.post(http.MethodDelete, "/nevisfido/devices/credentials/"+id, "", "")
		a.send(http.MethodDelete, "/nevisfido/token/dispatch/targets/"+id, "") // without a login
	}
	body := a.body(nevisfido.Authentication, "push", target)
	for _, bad := range []string{
		body[:len(body)-1], `"` + canarySecToken, `{"dispatcher":"` + canaryMail + `"`, strings.Replace(body, `"push"`, `"`+canaryMobile+`"`, 1),
		strings.Replace(body, `{`, `{"dispatchTargetId":"`+canaryDeviceID+`",`, 1), body + body, `{"username":"` + canaryUser + `","encryptionKey":` + private + `}`,
	} {
		for _, path := range []string{authentication, "/nevisfido/token/dispatch/./authentication", "/nevisfido/token/dispatch/targets", "/nevisfido/uaf/1.1/registration"} {
			a.post(http.MethodPost, path, bad, jsonType)
			a.post(http.MethodPost, path, bad, "text/plain")
		}
	}
	a.post(http.MethodGet, "/nevisfido/token/dispatch/targets?username="+url.QueryEscape(canaryUser), "", "")

	a.redis.Kill()
	a.ask("the store is away", "push", target)
	if r := a.post(http.MethodPatch, "/nevisfido/token/dispatch/targets/"+target, good, "application/jose"); r.status != http.StatusServiceUnavailable {
		t.Errorf("a modification without a store: %s", r)
	}
	a.redis.Start(t)
	waitFor(t, "the return of the store", func() bool { return a.product.Healthy() })
	must(t, p.Modify(t.Context(), device.Change{NewKey: "P-256"}))
	a.knowKey("new key", p.Keys()[0].JWK())
	if got := a.ask("the last", "push", target); got.Result != nevisfido.Dispatched {
		t.Errorf("with a new key: %s", got.body)
	}
	a.google.ScriptFor(p.pushToken, google.Unregistered)
	if got := a.ask("uninstalled", "push", target); got.Result != nevisfido.DispatchTargetExpired {
		t.Errorf("uninstalled: %s", got.body)
	}
	waitFor(t, "the notice of the expired target", func() bool {
		return slices.ContainsFunc(a.gateway.Messages(), func(m gateway.Message) bool { return m.Path == "/expired" })
	})
}

// knowMessages makes canaries of what went to third parties.
func (a *aviary) knowMessages(p *phone) {
	for i, m := range a.google.Unread(p.pushToken) {
		a.canaries[fmt.Sprintf("JWE of push message %d", i)] = m.Data["nma_data"][200:260]
	}
	for _, r := range a.google.Requests() {
		if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			a.canaries["access token of Google"] = bearer
		}
		if assertion := regexp.MustCompile(`assertion=([^&]{60})`).FindSubmatch(r.Body); assertion != nil {
			a.canaries["assertion"] = string(assertion[1])
		}
	}
	for i, m := range a.gateway.Messages() {
		if handle := regexp.MustCompile(`https://fido\.example\.com/oob/([\w-]{24})`).FindSubmatch(m.Body); handle != nil {
			a.canaries[fmt.Sprintf("short link %d", i)] = string(handle[1])
		}
	}
}

// read fills the sinks, while the product runs.
func (a *aviary) read(p *phone) {
	t, product := a.t, a.product
	for _, path := range []string{"/ready", "/metrics"} {
		response, err := http.Get("http://" + product.internal + path)
		must(t, err)
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		must(t, err)
		a.sinks["answer of "+path] = string(text)
	}
	waitFor(t, "the spans", func() bool { return slices.Contains(a.spans.names(), "oob.attempt") })
	of := "/oob/targets/" + p.TargetID()
	for _, call := range [][3]string{
		{"GET", "/config/"},
		{"GET", "/metrics"},
		{"GET", "/debug/pprof/goroutine?debug=2"},
		{"GET", "/oob/health"},
		{"GET", "/oob/dispatchers?namespace=bank"},
		{"GET", of + "?namespace=bank"},
		{"DELETE", "/oob/targets/" + canaryDeviceID + "?namespace=bank"},
		{"POST", of + "/block?namespace=seen"},
		{"POST", "/oob/send?namespace=bank", `{"dispatcher":"push","target":"` + p.TargetID() + `"}`},
		{"POST", "/oob/send?namespace=bank", `{"dispatcher":"mail","target":"` + p.TargetID() + `","header":{"X-User-Email":["` + canaryMail + `"]}}`},
		{"POST", "/oob/send?namespace=bank", `{"dispatcher":"` + canaryMail + `","target":"` + p.TargetID()},
		{"POST", "/oob/targets/import?namespace=bank", `{"username":"` + canaryUser + `","encryptionKey":` + string(p.Keys()[0].JWK()) + "}\n" + canaryData},
	} {
		a.sinks["answer of "+call[0]+" "+strings.ReplaceAll(call[1], p.TargetID(), "<id>")] += product.ask(t, call[0], call[1], call[2])
	}

	config := []string{"--config", product.config}
	bank := append(slices.Clone(config), "--namespace", "bank")
	header := filepath.Join(a.keys, "header")
	a.keep("header", "Authorization: "+canaryAuthorization+"\nSecToken: "+canarySecToken+"\n")
	a.command("adapt", append([]string{"adapt"}, config...)...)
	a.command("validate", append([]string{"validate"}, config...)...)
	for _, args := range [][]string{{"oob", "check"}, {"oob", "check", "--json"}} {
		out, _ := product.run(append(args, config...)...) // nevisIDM may still have errors of misbehave to tell
		a.sinks["output of check"] += out
	}
	a.command("targets list", append([]string{"oob", "targets", "list"}, bank...)...)
	a.command("targets list", append([]string{"oob", "targets", "list", "--json"}, bank...)...)
	a.command("targets show", append([]string{"oob", "targets", "show", p.TargetID()}, bank...)...)
	a.command("targets show", append([]string{"oob", "targets", "show", "--json", p.TargetID()}, bank...)...)
	for _, question := range [][]string{
		{"--since", "1h"}, {"--user", canaryUser}, {"--target", p.TargetID()}, {"--session", a.canaries["session id of push"]}, {"--user", canaryUser, "--json"},
	} {
		a.command("explain", slices.Concat([]string{"oob", "explain"}, question, bank)...)
	}
	a.command("audit verify", "oob", "audit", "verify", filepath.Join(product.Dir, "audit", "audit.jsonl"), "--key", filepath.Join(a.keys, "audit.pub"), "--until", time.Now().UTC().Format(time.RFC3339))
	asked := []string{
		"oob", "doctor", "--shapes", filepath.Join(product.Dir, "shapes.json"),
		"--upstream", a.nevis.URL(), "--header-file", header, "--username", canaryUser,
	}
	for _, args := range [][]string{asked, append(asked, "--json")} {
		out, _ := product.run(args...) // whether all holds is not the matter here
		a.sinks["output of doctor"] += out
	}
}

// crash ends the product with a dump of its goroutines in the middle of a
// dispatch. Caddy ends in its own way with SIGQUIT, so that it is SIGABRT.
func (a *aviary) crash(p *phone) {
	t, product := a.t, a.product
	a.nevis.Script(fault.Hang)
	before, done := len(a.nevis.Requests()), make(chan bool)
	go func() {
		defer close(done)
		_, _ = a.tryPost(http.MethodPost, authentication, a.body(nevisfido.Authentication, "app-link", p.TargetID()), jsonType)
	}()
	waitFor(t, "the dispatch that hangs", func() bool { return len(a.nevis.Requests()) > before })
	product.Signal(t, syscall.SIGABRT)
	if err := product.Cmd.Wait(); err == nil || !strings.Contains(product.Log(t), "goroutine ") {
		t.Errorf("the product ended with %v and without a dump", err)
	}
	<-done
}

// readFiles makes sinks of all files that the product wrote, and checks that
// they are the owner's alone.
func (a *aviary) readFiles() {
	t := a.t
	for dir, name := range map[string]string{a.product.Dir: "product", a.redis.Dir: "Redis"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			short := strings.TrimPrefix(path, dir)
			if name == "product" && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %s", cmp.Or(short, dir), info.Mode())
			}
			// The letter itself is for the print shop.
			if !info.Mode().IsRegular() || filepath.Ext(path) == ".pdf" {
				return nil
			}
			content, err := os.ReadFile(path)
			a.sinks["file "+short+" of "+name] = string(content)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// shown is what commands and calls show on purpose: an operator has to tell one
// target from another, and find that of a user or a device.
var shown = map[string][]string{
	"output of targets list": {
		"user name", "device id", "name of a device", "target id of a phone", "target id of a browser", "target id of a phone with RSA",
		"ext id of a phone", "ext id of a browser",
	},
	"output of targets show":                         aTarget,
	"answer of GET /oob/targets/<id>?namespace=bank": aTarget,
}

var aTarget = []string{"user name", "device id", "name of a device", "target id of a phone", "ext id of a phone"}

// Nothing secret or personal stands in a log at DEBUG, a metric, a file or an
// answer, however things go, if logs are set up as in Caddyfile.example.
func TestSecretsStayOut(t *testing.T) {
	a := startAviary(t)
	p := a.phone("a phone", device.Options{DeviceID: canaryDeviceID}, device.Registration{})
	a.phone("a phone with RSA", device.Options{KeyKind: "RSA-2048"}, device.Registration{Way: device.InRegistration})
	browser := a.phone("a browser", device.Options{Dispatcher: "browser"}, device.Registration{})
	subscription, err := a.browsers.Subscribe(a.vapid)
	must(t, err)
	var parts struct {
		Endpoint string
		Keys     struct{ Auth, P256dh string }
	}
	must(t, json.Unmarshal([]byte(subscription.JSON()), &parts))
	a.canaries["auth of the subscription"], a.canaries["key of the subscription"], a.canaries["endpoint of the subscription"] = parts.Keys.Auth, parts.Keys.P256dh, parts.Endpoint
	must(t, browser.Modify(t.Context(), device.Change{Target: subscription.JSON()}))
	a.deliver(p, browser)
	a.misbehave(p)
	a.knowMessages(p)

	observed := *a.stack
	observed.address = a.observed
	observer := &aviary{stack: &observed, canaries: a.canaries}
	seen := observer.phone("an observed phone", device.Options{KeyKind: "RSA-2048"}, device.Registration{Way: device.InRegistration})
	observer.ask("an observed dispatch", "app-link", seen.TargetID())

	a.read(p)
	a.crash(p)
	a.readFiles()
	a.sinks["traces"] = a.spans.text()
	for sink, text := range a.sinks {
		if text == "" {
			t.Errorf("%s is empty", sink)
		}
		hidden := maps.Clone(a.canaries)
		for _, kind := range shown[sink] {
			if testservice.Find(text, hidden[kind]) < 0 {
				t.Errorf("%s does not show the %s", sink, kind)
			}
			delete(hidden, kind)
		}
		a.search(map[string]string{sink: text}, hidden)
	}
	for _, canary := range a.canaries {
		wantFound(t, canary)
	}
}

// What is written in any form, also within another text, is found, and nothing
// else.
func TestEveryFormOfACanaryIsFound(t *testing.T) {
	for _, canary := range []string{
		canaryUser, canaryPhone, canaryAddress, canaryData, canarySMTPPassword, canaryIDMPassword, canaryRedisPassword, canaryText, canaryMobile,
	} {
		wantFound(t, canary)
	}
}

// wantFound writes a canary in each form into a text and looks for it there.
func wantFound(t *testing.T, canary string) {
	t.Helper()
	forms := map[string]string{
		"plain": canary, "hex": hex.EncodeToString([]byte(canary)), "HEX": fmt.Sprintf("%X", canary),
		"query": url.Values{"a": {canary}}.Encode(), "segment": url.PathEscape(canary),
	}
	if utf8.ValidString(canary) { // others have no form in JSON
		inJSON, err := json.Marshal(map[string]string{"name": canary})
		must(t, err)
		twice, err := json.Marshal(string(inJSON))
		must(t, err)
		forms["JSON"], forms["JSON in JSON"] = string(inJSON), string(twice)
		forms["Go"], forms["ASCII"] = fmt.Sprintf("%q", canary), fmt.Sprintf("%+q", canary)
	}
	for name, encoding := range map[string]*base64.Encoding{
		"base64": base64.StdEncoding, "base64 without padding": base64.RawStdEncoding,
		"base64url": base64.URLEncoding, "base64url without padding": base64.RawURLEncoding,
	} {
		for _, before := range []string{"", "a", "bc", "def", `{"token":"`} {
			forms[name+" after "+before] = encoding.EncodeToString([]byte(before + canary + `"}`))
		}
	}
	for name, form := range forms {
		if testservice.Find("before "+form+" after", canary) < 0 {
			t.Errorf("%q is not found in %s, %s", canary, name, form)
		}
	}
	if testservice.Find("something else"+string([]byte{canary[0] ^ 1})+canary[1:], canary) >= 0 {
		t.Errorf("%q is found where it is not", canary)
	}
}
