package caddymodule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// auditLines returns the members of the lines of an audit file that is in
// order, without those of the chain.
func auditLines(t *testing.T, path string) []map[string]any {
	t.Helper()
	v := auditfile.NewVerifier(auditfile.Expectation{})
	if err := cmp.Or(v.Read(t.Context(), strings.NewReader(readFile(t, path))), v.End()); err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for line := range strings.Lines(readFile(t, path)) {
		var members map[string]any
		if err := json.Unmarshal([]byte(line), &members); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		delete(members, "hash")
		delete(members, "prev")
		lines = append(lines, members)
	}
	return lines
}

// events returns what the lines are about, in order.
func events(lines []map[string]any) string {
	var names []string
	for _, line := range lines {
		names = append(names, line["event"].(string))
	}
	return strings.Join(names, " ")
}

func newAuditPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "audit.jsonl")
}

// unlost fails the test if a line is lost.
func unlost(t *testing.T) func(int64, error) {
	return func(lost int64, err error) {
		if err != nil {
			t.Errorf("%d lines lost: %v", lost, err)
		}
	}
}

var fullRecord = exchange.Record{
	Time:      time.Date(2026, 3, 4, 5, 6, 7, 890e6, time.FixedZone("", 3600)),
	Operation: nevisfido.Authentication, Dispatcher: "chain", Delivered: "mail",
	User: "userHash", Target: "targetHash", Token: "tokenHash", Session: "sessionHash", TraceID: "traceID",
	Result: nevisfido.Dispatched, Class: dispatchers.Delivered,
	Took: 112 * time.Millisecond,
	Report: delivery.Report{
		Thumbprint: "thumbprint", Alg: "ECDH-ES+A256KW", Enc: "A256GCM", Encryption: "sealed",
		Attempts: []delivery.Attempt{
			{Dispatcher: "push", Class: dispatchers.Temporary, Reason: "timeout", Cause: "it took too long", Took: 70 * time.Millisecond},
			{Dispatcher: "mail", Class: dispatchers.Delivered, Took: 30 * time.Millisecond},
		},
		Fallbacks: []delivery.Fallback{{From: "push", To: "mail", Reason: "timeout"}},
	},
}

var limitedRecord = exchange.Record{
	Time: fullRecord.Time, Operation: nevisfido.Registration, Dispatcher: "open",
	Result: nevisfido.DispatchError, Class: dispatchers.Refused, Reason: "limited", Cause: "limit target 5 5m0s is reached",
}

var keyEvent = targets.Event{
	Name: targets.EventKeyChanged, Ref: targets.Ref{Namespace: "n", ID: "canary-id"},
	Source: "create", Reason: "reason", Thumbprint: "thumbprint",
}

// bounds are more than a test writes.
var bounds = auditfile.Options{Size: 1 << 30, Keep: 1}

func TestAuditLineMembers(t *testing.T) {
	path := newAuditPath(t)
	file := auditfile.New(path, bounds, unlost(t))
	trail := fileTrail(file)
	trail.exchanged(fullRecord)
	trail.exchanged(limitedRecord)
	trail.target(keyEvent, "targetHash", "userHash", "traceID")
	file.Close()

	chained := regexp.MustCompile(`(?m)^\{"seq":\d+,(.*),"prev":"[0-9a-f]{64}","hash":"[0-9a-f]{64}"\}$`)
	var got []string
	for _, match := range chained.FindAllStringSubmatch(readFile(t, path), -1) {
		got = append(got, match[1])
	}
	want := []string{
		`"time":"2026-03-04T04:06:08.002Z","event":"dispatch","operation":"authentication","dispatcher":"chain","delivered":"mail",` +
			`"user":"userHash","target":"targetHash","token":"tokenHash","session":"sessionHash","trace_id":"traceID","thumbprint":"thumbprint","alg":"ECDH-ES+A256KW","enc":"A256GCM","encryption":"sealed",` +
			`"result":"dispatched","class":"delivered",` +
			`"attempts":[{"dispatcher":"push","class":"temporary","reason":"timeout","cause":"it took too long","ms":70},{"dispatcher":"mail","class":"delivered","ms":30}],` +
			`"fallbacks":[{"from":"push","to":"mail","reason":"timeout"}],"ms":112`,
		`"time":"2026-03-04T04:06:07.890Z","event":"dispatch","operation":"registration","dispatcher":"open",` +
			`"result":"dispatchError","class":"refused","reason":"limited","cause":"limit target 5 5m0s is reached","ms":0`,
	}
	if len(got) != 4 {
		t.Fatalf("%d lines: %s", len(got), got)
	}
	for i, line := range want {
		if got[i+1] != line {
			t.Errorf("line\n%s\nwant\n%s", got[i+1], line)
		}
	}
	event := regexp.MustCompile(`^"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","event":"key_changed","user":"userHash","target":"targetHash","trace_id":"traceID","source":"create","reason":"reason","thumbprint":"thumbprint"$`)
	if !event.MatchString(got[3]) {
		t.Errorf("the line of a key change is %s", got[3])
	}
}

// The lines of TestAuditLineMembers have all that a record can hold, but for what only
// metrics show.
func TestAuditRecordsAreFull(t *testing.T) {
	var check func(full, limited reflect.Value)
	check = func(full, limited reflect.Value) {
		for i := range full.NumField() {
			switch field := full.Type().Field(i); {
			case field.Anonymous:
				check(full.Field(i), limited.Field(i))
			case slices.Contains([]string{"KeyAge", "Sealing", "Test"}, field.Name): // Test is seen in admin_test.go
			case full.Field(i).IsZero() && limited.Field(i).IsZero():
				t.Errorf("the records of this test have no %s", field.Name)
			}
		}
	}
	check(reflect.ValueOf(fullRecord), reflect.ValueOf(limitedRecord))
}

// docs/audit.md has every member of a line.
func TestAuditMembersAreDocumented(t *testing.T) {
	path, documented := newAuditPath(t), readFile(t, "../docs/audit.md")
	file := auditfile.New(path, bounds, unlost(t))
	trail := fileTrail(file)
	test := fullRecord
	test.Test = true
	trail.exchanged(test)
	trail.exchanged(limitedRecord)
	trail.target(keyEvent, "targetHash", "userHash", "traceID")
	trail.noticed(delivery.Notice{Dispatcher: delivery.OnExpired, Event: "expired", User: "userHash", Target: "targetHash", Class: dispatchers.Delivered})
	file.Close()
	for _, line := range auditLines(t, path)[1:] { // the first is the chain's own
		for name := range line {
			if !strings.Contains(documented, "`"+name+"`") {
				t.Errorf("docs/audit.md has no `%s`", name)
			}
		}
	}
}

// Whatever a dispatcher of somebody else gives for a reason, it stays in its
// member.
func TestAuditLineEscapes(t *testing.T) {
	path := newAuditPath(t)
	file := auditfile.New(path, bounds, unlost(t))
	reason := "a\"}\n{\"seq\":1,\xff\u2028\\"
	fileTrail(file).exchanged(exchange.Record{Reason: reason})
	file.Close()
	lines := auditLines(t, path)
	if len(lines) != 2 || lines[1]["reason"] != strings.ToValidUTF8(reason, "\ufffd") {
		t.Errorf("%v", lines)
	}
}

// A log gets the same members.
func TestCaddyLogTakesTheAuditTrail(t *testing.T) {
	s := startSite(t, "\t\taudit log trail\n\t\tdispatcher open link")
	path := newAuditPath(t)
	s.load([]byte(strings.Replace(string(s.config), `"logs":{`, fmt.Sprintf(
		`"logs":{"trail":{"writer":{"output":"file","filename":%q},"include":["http.handlers.oob_dispatch.trail"]},`, path), 1)))
	s.dispatch("open", "jeff")
	s.load(s.withoutHandler())
	var line struct {
		Msg, Logger, Operation, Result string
		Attempts                       []struct{ Dispatcher, Class string }
	}
	if err := json.Unmarshal([]byte(readFile(t, path)), &line); err != nil { // one line, nothing else
		t.Fatalf("%v in %s", err, readFile(t, path))
	}
	if line.Msg != "dispatch" || line.Logger != "http.handlers.oob_dispatch.trail" || line.Operation != "authentication" || line.Result != "dispatched" ||
		len(line.Attempts) != 1 || line.Attempts[0].Dispatcher != "open" || line.Attempts[0].Class != "delivered" {
		t.Errorf("%+v", line)
	}
}

func TestAuditRefusals(t *testing.T) {
	dir := t.TempDir()
	var all []invalid
	for members, want := range map[string]string{
		`{}`:                                         "audit: give a file or the name of a log, one of them",
		`{"file": "/tmp/audit", "log": "audit"}`:     "audit: give a file or the name of a log, one of them",
		`{"log": "audit", "roll_keep": 3}`:           "belong to audit file",
		`{"file": "/tmp/audit", "roll_size": 5}`:     "roll_size takes a size from 1.0 MiB to 16 GiB",
		`{"file": "/tmp/audit", "roll_keep": -1}`:    "roll_keep takes a whole number from 1",
		`{"log": "a b"}`:                             "a name has 1 to 64 letters",
		`{"file": "{env.OOB_TEST_UNSET}"}`:           "audit file",
		fmt.Sprintf(`{"file": %q}`, dir):             "is not a file; to write elsewhere, use audit log",
		`{"file": "/dev/full"}`:                      "is not a file; to write elsewhere, use audit log",
		fmt.Sprintf(`{"file": %q}`, dir+"/no/audit"): "the folder of " + dir + "/no/audit does not exist",
		`{"file": "/tmp/audit", "required": true}`:   "required",
	} {
		all = append(all, invalid{members, handlerWith(`, "audit": ` + members), want})
	}
	wantInvalid(t, all)
}

// Validating touches nothing, not even next to the server that writes.
func TestAuditIsValidatedBesideAServer(t *testing.T) {
	path := newAuditPath(t)
	h := handlerWith(fmt.Sprintf(`, "audit": {"file": %q}`, path))
	if err := validate(t, h); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("validating made the file: %v", err)
	}
	server := auditfile.New(path, bounds, unlost(t))
	server.Append([]byte(`{"n":1}`))
	defer server.Close()
	if err := validate(t, h); err != nil {
		t.Error(err)
	}
}

func TestAuditTellsNothingSecret(t *testing.T) {
	path := newAuditPath(t)
	s := startSite(t, "\t\taudit file "+path+"\n\t\tdispatcher open link {\n\t\t\tbase_url https://app.example.com/open\n\t\t}")
	canaries := []string{`jeff"`, "canary-address", "canary-name", "canary-device"}
	phone := s.phone(device.Options{
		Target: canaries[1], Name: canaries[2], DeviceID: canaries[3],
		Dispatcher: "open", KeyKind: "P-256", Client: s.client,
	})
	var answer struct{ Token, SessionID, DispatchResult string }
	content := s.do(http.MethodPost, "/nevisfido/token/dispatch/authentication", fmt.Sprintf(`{"dispatcher":"open","dispatchTargetId":%q,
		"dispatchInformation":{"notification":{"title":"canary-title"},"data":{"canary":"canary-data"}},
		"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`, phone.TargetID()))
	if err := json.Unmarshal([]byte(content), &answer); err != nil || answer.DispatchResult != "dispatched" {
		t.Fatalf("%v: %s", err, content)
	}
	s.dispatch("open", "jeff")
	s.load(s.withoutHandler()) // ends the writer

	lines := auditLines(t, path)
	if got := events(lines); got != "opened learned dispatch dispatch" {
		t.Fatal(got)
	}
	thumbprint := phone.Keys()[0].Public().Thumbprint()
	if lines[1]["thumbprint"] != thumbprint || lines[2]["thumbprint"] != thumbprint || lines[1]["target"] != lines[2]["target"] {
		t.Errorf("the lines of one target do not belong together: %v", lines[1:3])
	}
	text := readFile(t, path)
	for _, secret := range append(canaries, "canary", phone.TargetID(), answer.Token, answer.SessionID) {
		if secret == "" || strings.Contains(text, secret) {
			t.Errorf("%q is in the audit file", secret)
		}
	}
}

// withoutHandler is the site's configuration without oob_dispatch.
func (s *site) withoutHandler() []byte {
	s.t.Helper()
	return []byte(fmt.Sprintf(`{"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
		"apps": {"http": {"grace_period": 1000000000, "servers": {"s": {"listen": [%q]}}}}}`, s.address))
}

func TestAuditFileHasOneWriterOverReloads(t *testing.T) {
	before := goleak.IgnoreCurrent()
	path := newAuditPath(t)
	s := startSite(t, "\t\tlimit off\n\t\taudit file "+path+"\n\t\tdispatcher open link")
	for range 5 {
		s.dispatch("open", "jeff")
		s.load(s.config)
		if n, _ := auditFiles.References(path); n != 1 {
			t.Fatalf("the file is held %d times", n)
		}
	}
	s.dispatch("open", "jeff")
	s.stop()
	if n, held := auditFiles.References(path); held {
		t.Errorf("the file is held %d times", n)
	}
	if got := events(auditLines(t, path)); got != "opened"+strings.Repeat(" dispatch", 6) {
		t.Error(got)
	}
	// CertMagic's lock refresher ends by itself, at most 5 seconds later.
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// Dispatches go on, every lost line is counted, and the log tells once.
func TestDispatchesGoOnWithoutAudit(t *testing.T) {
	path, log := newAuditPath(t), newAuditPath(t)
	other, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}

	s := startSite(t, "\t\tlimit off\n\t\taudit file "+path+"\n\t\tdispatcher open link")
	s.load([]byte(strings.Replace(string(s.config), `{"output":"discard"}`, fmt.Sprintf(`{"output":"file","filename":%q}`, log), 1)))
	const failures = "caddy_oob_audit_failures_total"
	before := s.metric(failures)
	for range 3 {
		if result := s.dispatch("open", "jeff"); result != "dispatched" {
			t.Error(result)
		}
	}
	const lost = "audit lines are lost; dispatches go on"
	if !appears(log, lost, 10*time.Second) { // before the log is another one
		t.Error("the log does not tell that lines are lost")
	}
	s.load(s.withoutHandler()) // nothing waits any more
	s.load(s.config)
	if n := s.metric(failures) - before; n != 3 {
		t.Errorf("%v lost lines were counted, want 3", n)
	}
	told := readFile(t, log)
	if n := strings.Count(told, lost); n != 1 || !strings.Contains(told, "another process writes to it") {
		t.Errorf("the log tells %d times that lines are lost: %s", n, told)
	}
}

// The file is bounded, by other values after a reload as well.
func TestAuditFileIsRolled(t *testing.T) {
	path := newAuditPath(t)
	private, public, err := auditfile.GenerateKey("fido-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OOB_TEST_SIGNING_KEY", private)
	load := func(s *site, keep int) {
		s.load([]byte(strings.Replace(string(s.config), `"roll_keep":2`, fmt.Sprintf(`"roll_keep":%d`, keep), 1)))
	}
	s := startSite(t, "\t\tlimit off\n\t\taudit file "+path+" {\n\t\t\troll_size 1MiB\n\t\t\troll_keep 2\n\t\t\tsigning_key {env.OOB_TEST_SIGNING_KEY}\n\t\t}\n\t\tdispatcher open link")
	fill := func(lines int) {
		file := allHandlers()[0].audit
		for range lines {
			file.Append([]byte(`{"n":"` + strings.Repeat("x", 200<<10) + `"}`))
			time.Sleep(2 * time.Millisecond) // the queue need not take them all
		}
	}
	count := func() int {
		files, err := filepath.Glob(path + "*")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	fill(30)
	load(s, 1)
	s.dispatch("open", "jeff")
	fill(20)
	s.load(s.withoutHandler())
	if n := count(); n != 2 {
		t.Errorf("%d files are there, want 2", n)
	}
	files, err := auditfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer auditfile.Close(files)
	keys, err := auditfile.ParseKeys([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	v := auditfile.NewVerifier(auditfile.Expectation{Keys: keys, Until: time.Now().Add(time.Hour)})
	for _, file := range files {
		if err := v.Read(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.End(); err != nil || !v.Report.Ended || v.Report.Checkpoints < 3 {
		t.Errorf("%v, %+v", err, v.Report)
	}
}
