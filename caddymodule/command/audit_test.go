package command

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// replica is a sidecar that really runs, in this process, and its audit file.
type replica struct {
	*sidecar
	address, audit string
	nevis          *nevis.Server
}

// newReplica makes a replica without starting it. Those with the same storage
// share their targets.
func newReplica(t *testing.T, storage, audit, options string) *replica {
	t.Helper()
	upstream, err := nevis.Start(nevis.Options{Users: []string{"jeff", "mary"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Close)
	dir := t.TempDir()
	r := &replica{&sidecar{config: filepath.Join(dir, "Caddyfile"), storage: storage}, testservice.FreeAddress(t), filepath.Join(dir, "audit.jsonl"), upstream}
	writeFile(t, r.config, fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 1s
	storage file_system %s
	log {
		output discard
	}
}
http://%s {
	oob_dispatch {
		audit file %s {
			%s
		}
		limit user 6 1h
		dispatcher open link {
			base_url https://app.example.com/open
		}
		dispatcher sms webhook {
			url http://%s/sms
			retries 0
			encryption off
			address 0790000000
		}
		%s
	}
	reverse_proxy %s
}
`, storage, r.address, r.audit, audit, testservice.FreeAddress(t), options, upstream.Addr()))
	return r
}

// run starts the replica, uses it, and stops it.
func (r *replica) run(t *testing.T, use func()) {
	t.Helper()
	if err := caddy.Load(adapt(t, read(t, r.config)), true); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	use()
}

// dispatch sends a dispatch request and returns the answer.
func (r *replica) dispatch(t *testing.T, dispatcher, user, target string) (answer struct{ DispatchResult, SessionID, Token string }) {
	t.Helper()
	body := fmt.Sprintf(`{"dispatcher":%q,"getUafRequest":{"op":"Auth","context":"{\"username\":\"%s\"}"}}`, dispatcher, user)
	if target != "" {
		body = strings.Replace(body, "{", fmt.Sprintf(`{"dispatchTargetId":%q,`, target), 1)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // a connection may be to the server before, on the same port
	response, err := client.Post("http://"+r.address+"/nevisfido/token/dispatch/authentication", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(content, &answer)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, content)
	}
	return answer
}

// newAuditKeys makes keys with the command, and returns what to configure, and
// the file of the public one.
func newAuditKeys(t *testing.T) (option, public string) {
	t.Helper()
	private := filepath.Join(t.TempDir(), "audit.key")
	r := caddyOOB(t, "", "audit", "keygen", "fido-1", private)
	if r.err != nil || !strings.HasPrefix(r.out, "fido-1+") || strings.Contains(r.out, strings.TrimSpace(read(t, private))) {
		t.Fatal(r.text())
	}
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	public = private + ".pub"
	writeFile(t, public, r.out)
	return "signing_key {file." + private + "}", public
}

// rechained makes all hashes from a line on anew, as docs/audit.md tells how, the
// way somebody does it who may write to the file.
func rechained(lines []string) string {
	var out strings.Builder
	prev := strings.Repeat("0", 64)
	for i, line := range lines {
		line = regexp.MustCompile(`^\{"seq":\d+`).ReplaceAllString(strings.TrimSuffix(line, "\n"), fmt.Sprintf(`{"seq":%d`, i+1))
		body := regexp.MustCompile(`,"prev":"[0-9a-f]{64}","hash":"[0-9a-f]{64}"\}$`).ReplaceAllString(line, `,"prev":"`+prev+`"`)
		sum := sha256.Sum256([]byte(body))
		prev = hex.EncodeToString(sum[:])
		out.WriteString(body + `,"hash":"` + prev + "\"}\n")
	}
	return out.String()
}

// What is done to the file of a real run is found with nothing but the public
// key, also by somebody who makes all hashes anew.
func TestAuditVerifyFindsForgery(t *testing.T) {
	option, public := newAuditKeys(t)
	otherOption, _ := newAuditKeys(t)
	run := func(option string) []string {
		r := newReplica(t, t.TempDir(), option, "")
		for range 2 {
			r.run(t, func() {
				for range 3 {
					r.dispatch(t, "open", "jeff", "")
				}
			})
		}
		return slices.Collect(strings.Lines(read(t, r.audit)))
	}
	lines := run(option)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	verify := func(content string) result {
		writeFile(t, path, content)
		return caddyOOB(t, "", "audit", "verify", path, "--key", public, "--until", time.Now().Add(time.Hour).Format(time.RFC3339))
	}
	if r := verify(strings.Join(lines, "")); r.err != nil || !strings.Contains(r.out, "the process has ended") || len(lines) != 12 {
		t.Fatalf("%d lines: %s", len(lines), r.text())
	}
	edit := func(f func(l []string) []string) []string { return f(slices.Clone(lines)) }
	changed := edit(func(l []string) []string {
		l[3] = strings.Replace(l[3], `"result":"dispatched"`, `"result":"dispatchError"`, 1)
		return l
	})
	without := func(event string) []string {
		return edit(func(l []string) []string {
			return slices.DeleteFunc(l, func(line string) bool { return strings.Contains(line, `"event":"`+event+`"`) })
		})
	}
	for name, tt := range map[string]struct {
		content, want string
	}{
		"changed":                   {strings.Join(changed, ""), "line 4 was changed"},
		"changed and rechained":     {rechained(changed), "line 6 is a checkpoint of another line"},
		"removed":                   {strings.Join(edit(func(l []string) []string { return slices.Delete(l, 3, 4) }), ""), "line 4 has the number 5"},
		"removed and rechained":     {rechained(edit(func(l []string) []string { return slices.Delete(l, 3, 4) })), "line 5 is a checkpoint of another line"},
		"reordered":                 {strings.Join(edit(func(l []string) []string { l[2], l[3] = l[3], l[2]; return l }), ""), "line 3 has the number 4"},
		"reordered and rechained":   {rechained(edit(func(l []string) []string { l[2], l[3] = l[3], l[2]; return l })), "line 6 is a checkpoint of another line"},
		"cut by the end":            {strings.Join(lines[:11], ""), "has not ended in order"},
		"cut by lines":              {strings.Join(lines[:9], ""), "has not ended in order"},
		"cut behind a checkpoint":   {strings.Join(lines[:8], ""), "has not ended in order"},
		"cut in a line":             {strings.Join(lines, "")[:len(strings.Join(lines, ""))-20], "line 12 is not finished"},
		"put in behind the end":     {rechained(append(slices.Clone(lines[:6]), lines[2])), "put in after the process had ended"},
		"rewritten, not signed":     {rechained(without("checkpoint")), "there is no checkpoint"},
		"rewritten with other keys": {strings.Join(run(otherOption), ""), "none of the given keys has signed it"},
		"empty":                     {"", "the file is empty"},
		"another file":              {"hello\nworld\n", "it holds no whole audit line"},
	} {
		verify(tt.content).wantError(t, tt.want)
		if read(t, path) != tt.content {
			t.Errorf("%s: the command has changed the file", name)
		}
	}
	writeFile(t, path, strings.Join(lines, ""))
	for want, args := range map[string][]string{
		"signatures were not looked at": {path},
		"the process has ended":         {path, "--key", strings.TrimSpace(read(t, public))},
	} {
		if r := caddyOOB(t, "", append([]string{"audit", "verify"}, args...)...); r.err != nil || !strings.Contains(r.out, want) {
			t.Errorf("%q: %s", args, r.text())
		}
	}
}

func TestAuditVerifyCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	file := auditfile.New(path, auditfile.Options{Size: 1 << 20, Keep: 9}, func(int64, error) {})
	for range 3 {
		file.Append([]byte(`{"time":"2026-03-04T04:06:08.002Z","event":"dispatch"}`))
	}
	file.Close()
	r := caddyOOB(t, "", "audit", "verify", path)
	if r.err != nil || !strings.HasPrefix(r.out, "4 lines in order, ") || !strings.Contains(r.out, " to 2026-03-04T04:06:08.002Z, last hash ") ||
		!strings.Contains(r.out, "nobody has signed them") {
		t.Fatal(r.text())
	}
	hash := regexp.MustCompile(`last hash ([0-9a-f]{64})\n`).FindStringSubmatch(r.out)[1]
	if r := caddyOOB(t, "", "audit", "verify", path, "--noted", hash); r.err != nil {
		t.Error(r.text())
	}
	whole := read(t, path)
	lines := strings.SplitAfter(whole, "\n")
	for _, tt := range map[string]struct {
		content, want string
		args          []string
	}{
		"cut":           {strings.Join(lines[:3], ""), "no line has the noted hash " + hash, []string{"--noted", hash}},
		"no hash":       {whole, `--noted "abc": a hash has 64 hexadecimal digits`, []string{"--noted", "abc"}},
		"no key":        {whole, "--key: it is not a public key", []string{"--key", "a+b"}},
		"no key's file": {whole, "--key: open /nonexistent", []string{"--key", "/nonexistent"}},
		"a wrong file":  {whole, "--key: " + path + ": it is not a public key", []string{"--key", path}},
		"no time":       {whole, `--since: "soon" is no time`, []string{"--since", "soon"}},
		"times":         {whole, "--since is later than --until", []string{"--since", "2026-03-05", "--until", "2026-03-04"}},
	} {
		writeFile(t, path, tt.content)
		caddyOOB(t, "", append([]string{"audit", "verify", path}, tt.args...)...).wantError(t, tt.want)
	}
	caddyOOB(t, "", "audit", "verify", path+"x").wantError(t, "verifying the audit file: open ")
	caddyOOB(t, "", "audit", "verfy", path).wantError(t, `unknown command "verfy"`)
	writeFile(t, path, whole+lines[3][:50])
	file = auditfile.New(path, auditfile.Options{Size: 1 << 20, Keep: 9}, func(int64, error) {})
	file.Append([]byte(`{"n":1}`))
	file.Close()
	if r := caddyOOB(t, "", "audit", "verify", path); r.err != nil || !strings.Contains(r.out, ": 50 bytes of unfinished lines before it, 0 lines lost\n6 lines in order, ") {
		t.Error(r.text())
	}
}

// The full files are read as well, and errors name the file.
func TestAuditVerifyReadsFullFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	file := auditfile.New(path, auditfile.Options{Size: 300, Keep: 9}, func(int64, error) {})
	for range 5 {
		file.Append([]byte(`{"time":"2026-03-04T04:06:08.002Z","event":"dispatch"}`))
	}
	file.Close()
	full, err := filepath.Glob(path + ".*")
	if err != nil || len(full) < 2 {
		t.Fatalf("%q, %v", full, err)
	}
	if r := caddyOOB(t, "", "audit", "verify", path); r.err != nil || strings.Contains(r.out, "removed") {
		t.Error(r.text())
	}
	writeFile(t, full[1], strings.Replace(read(t, full[1]), "opened", "closed", 1))
	caddyOOB(t, "", "audit", "verify", path).wantError(t, "verifying "+full[1]+": line 1 was changed")
	if err := os.Remove(full[0]); err != nil {
		t.Fatal(err)
	}
	writeFile(t, full[1], strings.Replace(read(t, full[1]), "closed", "opened", 1))
	caddyOOB(t, "", "audit", "verify", path).wantError(t, "are missing")
}

func TestAuditKeygenKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.key")
	writeFile(t, path, "precious")
	if r := caddyOOB(t, "", "audit", "keygen", "fido-1", path); r.err == nil || read(t, path) != "precious" {
		t.Error(r.text())
	}
	caddyOOB(t, "", "audit", "keygen", "fido 1", path+"2").wantError(t, "cannot be that of a key")
}

// storyOf lists what explain --json finds, as dispatchers or events with reasons.
func storyOf(t *testing.T, args ...string) string {
	t.Helper()
	r := caddyOOB(t, "", append([]string{"explain", "--json"}, args...)...)
	if r.err != nil {
		t.Fatal(r.text())
	}
	var story []string
	for line := range strings.Lines(r.out) {
		var l struct{ Event, Dispatcher, Reason string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		name := l.Dispatcher
		if l.Event != "dispatch" {
			name = l.Event
		}
		if l.Reason != "" {
			name += "/" + l.Reason
		}
		story = append(story, name)
	}
	return strings.Join(story, " ")
}

// Everything that happened to a user, a target, a session or a token is found in
// the files of two replicas that share a store, over a restart.
func TestExplain(t *testing.T) {
	storage := t.TempDir()
	a, b := newReplica(t, storage, "roll_keep 3", ""), newReplica(t, storage, "roll_keep 3", "")
	var phone *device.Device
	var session, token string
	a.run(t, func() {
		var err error
		if phone, err = device.New(device.Options{Target: "canary-address", Dispatcher: "open", KeyKind: "P-256", Client: http.DefaultClient}); err != nil {
			t.Fatal(err)
		}
		if err := phone.Register(t.Context(), "http://"+a.address+"/nevisfido", device.Registration{}); err != nil {
			t.Fatal(err)
		}
		if answer := a.dispatch(t, "open", "jeff", phone.TargetID()); answer.DispatchResult != "dispatched" {
			t.Fatalf("%+v", answer)
		}
		a.dispatch(t, "open", "mary", "")
	})
	between := time.Now()
	b.run(t, func() { session = b.dispatch(t, "sms", "jeff", "").SessionID })
	a.run(t, func() {
		for range 7 {
			token = a.dispatch(t, "open", "jeff", "").Token
		}
	})
	if token != "" {
		t.Fatal("no dispatch was refused")
	}
	both := []string{"--config", a.config, b.audit, a.audit}
	rest := "sms/connection" + strings.Repeat(" open", 6)
	hash := regexp.MustCompile(`"token":"([^"]*)"`).FindStringSubmatch(read(t, b.audit))[1]
	thumbprint := phone.Keys()[0].Public().Thumbprint()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a user":          {append(both, "--user", "jeff"), "learned open " + rest + " open/limited"},
		"another":         {append(both, "--user", "mary"), "open"},
		"in the evening":  {append(both, "--user", "jeff", "--since", between.Format(time.RFC3339Nano)), rest + " open/limited"},
		"in the morning":  {append(both, "--until", between.Format(time.RFC3339Nano)), "learned open open"},
		"a target":        {append(both, "--target", phone.TargetID()), "learned open"},
		"a session":       {append(both, "--session", session), "sms/connection"},
		"a token":         {[]string{b.audit, "--token", hash + "_sms"}, "sms/connection"},
		"a key":           {[]string{a.audit, "--thumbprint", thumbprint}, "learned open"},
		"the file's name": {[]string{"--config", b.config, "--user", "jeff"}, "sms/connection"},
		"both":            {append(both, "--user", "mary", "--session", session), ""},
		"nobody":          {append(both, "--user", "harry"), ""},
	} {
		if got := storyOf(t, tt.args...); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}

	r := caddyOOB(t, "", append([]string{"explain", "--user", "jeff"}, both...)...)
	if r.err != nil || r.errOut != "" {
		t.Fatal(r.text())
	}
	for _, fact := range []string{"(limited): limit user 6 1h0m0s is reached", "the caller was told dispatchError", thumbprint, hash, a.audit, b.audit, "delivered by open"} {
		if !strings.Contains(r.out, fact) {
			t.Errorf("%q is not told in\n%s", fact, r.out)
		}
	}
	for _, secret := range []string{"canary", "0790000000", phone.TargetID(), session} {
		if strings.Contains(r.out+read(t, a.audit)+read(t, b.audit), secret) {
			t.Errorf("%q is told", secret)
		}
	}
}

// With hash_key replicas need no store in common.
func TestExplainWithAHashKey(t *testing.T) {
	key := filepath.Join(t.TempDir(), "hash.key")
	writeFile(t, key, strings.Repeat("k", 44)+"\n")
	var paths []string
	for range 2 {
		r := newReplica(t, t.TempDir(), "roll_keep 3", "hash_key {file."+key+"}")
		r.run(t, func() { r.dispatch(t, "open", "jeff", "") })
		paths = append(paths, r.audit)
		if got := storyOf(t, "--config", r.config, "--user", "jeff"); got != "open" {
			t.Errorf("by the configuration: %q", got)
		}
	}
	if got := storyOf(t, append(paths, "--user", "jeff", "--hash-key", key)...); got != "open open" {
		t.Errorf("by the file of the key: %q", got)
	}
	writeFile(t, key, strings.Repeat("l", 44))
	if r := caddyOOB(t, "", append([]string{"explain", "--user", "jeff", "--hash-key", key}, paths...)...); r.err != nil || !strings.Contains(r.out, "--hash-key") {
		t.Error(r.text())
	}
}

// From a trace to the words about it.
func TestExplainATrace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	writeFile(t, path, `{"time":"2026-03-04T04:06:08Z","event":"dispatch","dispatcher":"one","trace_id":"4bf92f35","class":"refused"}
{"time":"2026-03-04T04:06:09Z","event":"dispatch","dispatcher":"other","trace_id":"b7ad6b71","class":"refused"}
{"time":"2026-03-04T04:06:10Z","event":"dispatch","dispatcher":"untraced","class":"refused"}
`)
	r := caddyOOB(t, "", "explain", "--trace", "4bf92f35", path)
	if r.err != nil || !strings.Contains(r.out, "trace 4bf92f35") || !strings.Contains(r.out, "over one") || strings.Contains(r.out, "other") || strings.Contains(r.out, "untraced") {
		t.Error(r.text())
	}
}

// What cannot be read is told of, and nothing is changed.
func TestExplainRefuses(t *testing.T) {
	fresh := newSidecar(t, "")
	dir := t.TempDir()
	path := func(name, content string) string {
		writeFile(t, filepath.Join(dir, name), content)
		return filepath.Join(dir, name)
	}
	line := `{"seq":1,"time":"2026-03-04T04:06:08.002Z","event":"dispatch","token":"T","class":"refused","reason":"limited"}` + "\n"
	good := path("good", line)
	for _, tt := range map[string]struct {
		args []string
		want string
	}{
		"no question":     {[]string{good}, "say what to explain"},
		"no file":         {[]string{dir + "/none", "--token", "T"}, "no such file"},
		"a folder":        {[]string{dir, "--token", "T"}, "is a directory"},
		"another file":    {[]string{path("text", "hello\n{}\n"), "--token", "T"}, "holds no audit line"},
		"a long line":     {[]string{path("long", strings.Repeat("x", 300<<10)), "--token", "T"}, "token too long"},
		"no key":          {[]string{good, "--user", "jeff", "--hash-key", path("key", "short")}, "holds no hash key"},
		"no key's file":   {[]string{good, "--user", "jeff", "--hash-key", dir + "/none"}, "no such file"},
		"a fresh store":   {[]string{good, "--user", "jeff", "--config", fresh.config}, "the store holds no hash key"},
		"no audit file":   {[]string{"--user", "jeff", "--config", fresh.config}, "the configuration has no audit file"},
		"no time":         {[]string{good, "--since", "yesterday"}, "is no time"},
		"no good Caddy":   {[]string{good, "--user", "jeff", "--config", path("Caddyfile", "{")}, "syntax error"},
		"an unknown flag": {[]string{good, "--usr", "jeff"}, "unknown flag"},
	} {
		caddyOOB(t, "", append([]string{"explain"}, tt.args...)...).wantError(t, tt.want)
	}
	if _, err := os.Stat(fresh.storage); !os.IsNotExist(err) {
		t.Errorf("the command has written to the storage: %v", err)
	}
	half := path("half", line+line[:60])
	r := caddyOOB(t, "", "explain", "--token", "T", half)
	if r.err != nil || !strings.Contains(r.out, "limited") || !strings.Contains(r.errOut, "1 lines of "+half) {
		t.Error(r.text())
	}
}

// What stands in a file cannot take over a terminal.
func TestExplainPrintsNoControlCharacters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	writeFile(t, path, `{"time":"2026-03-04T04:06:08Z","event":"dispatch","dispatcher":"a\u001b[2J","token":"T","cause":"b\u0007","class":"refused"}`+"\n")
	r := caddyOOB(t, "", "explain", "--token", "T", path)
	if r.err != nil || bytes.ContainsAny([]byte(r.out), "\x1b\x07") {
		t.Errorf("%q, %v", r.out, r.err)
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 28, 15, 0, 0, 0, zone)
	for text, want := range map[string]string{
		"10:30":                "2026-11-28T10:30:00+01:00",
		"10:30:07":             "2026-11-28T10:30:07+01:00",
		"2h":                   "2026-11-28T13:00:00+01:00",
		"2026-11-27":           "2026-11-27T00:00:00+01:00",
		"2026-11-27 10:30":     "2026-11-27T10:30:00+01:00",
		"2026-11-27T10:30":     "2026-11-27T10:30:00+01:00",
		"2026-11-27T10:30:00Z": "2026-11-27T10:30:00Z",
		"-2h":                  "",
		"25:00":                "",
		"":                     "",
	} {
		at, err := parseTime(text, now)
		if (err == nil) != (want != "") || err == nil && at.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
}

// FuzzExplain explains lines that anybody may have written. Whatever they say is one
// paragraph, and nothing that a terminal obeys.
func FuzzExplain(f *testing.F) {
	for _, seed := range []string{
		`{"seq":7,"time":"2026-01-02T03:04:05.678Z","event":"dispatch","operation":"authentication","dispatcher":"fcm","delivered":"sms","user":"4f","target":"8a","token":"c0","session":"d1","thumbprint":"t","trace_id":"0af7","encryption":"sealed","alg":"ECDH-ES+A256KW","result":"dispatched","class":"delivered","ms":12,"attempts":[{"dispatcher":"fcm","class":"temporary","reason":"unavailable","cause":"\u001b[2J","ms":-1},{"dispatcher":"sms","class":"delivered"}],"fallbacks":[{"from":"fcm","to":"sms","reason":"unavailable"}]}`,
		`{"time":"2026-01-02T03:04:05Z","event":"dispatch","result":"observed","class":"\u202e","reason":"x\ny","cause":"\ufffd","test":true}`, `{"time":"2026-01-02T03:04:05Z","event":"notice","about":"key_changed\r","dispatcher":"","reason":"\u0000"}`,
		`{"time":"9999-12-31T23:59:59.999999999+23:59","event":"\u009b1m","source":"\u2028","reason":"r"}`, `{"time":"0001-01-01T00:00:00Z","event":"learned"}`, `{"time":"2026-01-02T03:04:05Z","event":"resumed","lost":-1}`, `{"Time":"2026-01-02T03:04:05Z","EVENT":"dispatch","attempts":null}`, `null`, `[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := readAuditLine(text, "audit.jsonl")
		if l == nil {
			return
		}
		var out bytes.Buffer
		explain(&out, l)
		mustBePlain(t, out.String())
		for line := range strings.Lines(out.String()) {
			if paragraph := len(line) < out.Len(); paragraph && !strings.HasPrefix(line, "    ") && !strings.HasPrefix(out.String(), line) {
				t.Errorf("%q looks like a line of its own", line)
			}
		}
	})
}
