package integration

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// doctor runs caddy oob doctor --json and returns its output and, by their ids,
// what it says of the assumptions.
func doctor(t *testing.T, args ...string) (out string, verdicts map[string]string, err error) {
	t.Helper()
	var stdout bytes.Buffer
	cmd := &cobra.Command{Use: "oob", SilenceUsage: true, SilenceErrors: true}
	caddycmd.Commands()["oob"].CobraFunc(cmd)
	cmd.SetArgs(append([]string{"doctor"}, args...))
	cmd.SetOut(&stdout)
	cmd.SetErr(new(bytes.Buffer))
	err = cmd.ExecuteContext(t.Context())
	var report struct {
		Assumptions []struct{ ID, Verdict string }
	}
	_ = json.Unmarshal(stdout.Bytes(), &report) // one that is text has none
	verdicts = make(map[string]string)
	for _, a := range report.Assumptions {
		verdicts[a.ID] = a.Verdict
	}
	return stdout.String(), verdicts, err
}

// changed answers as the simulated nevisFIDO does, but for what change makes of it.
func changed(change func(r *http.Request, status int, body string) (int, string)) fault.Fault {
	return func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		answer := httptest.NewRecorder()
		regular.ServeHTTP(answer, r)
		status, body := change(r, answer.Code, answer.Body.String())
		answer.Header().Del("Content-Length")
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

const doctorSecToken = "Basic canary-sectoken-4711"

// visit is what may pass on the first day, with canaries in it.
func (s *stack) visit(how device.Registration, withDevices bool) (canaries map[string]string) {
	o := device.Options{
		Dispatcher: nevisfido.BuiltInFCM, KeyKind: "RSA-2048", Name: "canary phone of jeff", DeviceID: "canary-device-id",
		Header: http.Header{"Authorization": {doctorSecToken}},
	}
	p := s.registerAs(o, how)
	o.Name = "canary second phone"
	second := s.registerAs(o, device.Registration{})
	header := []string{"Authorization", doctorSecToken, "Content-Type", jsonType}
	answers := make(map[string]reply)
	for _, dispatcher := range []string{nevisfido.BuiltInLink, nevisfido.BuiltInQRCode, "push"} {
		body := strings.Replace(request(nevisfido.Authentication, dispatcher, p.TargetID()), `"notification"`,
			`"encodingParameters":{"width":300,"height":"300","foregroundColor":"rgb(0, 0, 0)","backgroundColor":"#fff"},
			"jeff":1,"canary@example.com":2,"`+p.TargetID()+`":{"canary-device-id":3},"notification"`, 1)
		answers[dispatcher] = s.send(http.MethodPost, dispatchPath+"authentication", body, header...)
	}
	s.send(http.MethodGet, dispatchPath+"targets?username=jeff", "", "Authorization", doctorSecToken)
	for _, err := range []error{p.Modify(s.t.Context(), device.Change{Target: "canary-new-address"}), second.Delete(s.t.Context())} {
		if err != nil {
			s.t.Error(err)
		}
	}
	if withDevices {
		jws, err := p.Sign(device.Change{Name: "canary renamed"})
		must(s.t, err)
		s.send(http.MethodPatch, "/nevisfido/devices/credentials/canary-device-id", "", "Device-Signature", jws)
	}
	var dispatched answer
	_ = json.Unmarshal(answers[nevisfido.BuiltInLink].body, &dispatched) // what it says is the doctor's matter
	canaries = map[string]string{
		"SecToken": doctorSecToken, "name": o.Name, "device": o.DeviceID, "target": p.TargetID(), "address": p.pushToken,
		"new address": "canary-new-address", "mail address": "canary@example.com", "title": "Confirm payment 4711",
		"host": s.address, "upstream": s.upstream, "token": dispatched.Token, "session": dispatched.SessionID,
	}
	maps.DeleteFunc(canaries, func(_, canary string) bool { return canary == "" })
	return canaries
}

// What the simulated nevisFIDO does holds, in its modes, and what another one
// does differently does not.
func TestDoctor(t *testing.T) {
	at := func(path string, status int, from, to string) func(*http.Request, int, string) (int, string) {
		return func(r *http.Request, code int, body string) (int, string) {
			if !strings.Contains(r.Method+" "+r.URL.Path, path) || code >= 300 {
				return code, body
			}
			return status, strings.ReplaceAll(body, from, to)
		}
	}
	const dispatch = "POST /nevisfido/token/dispatch/authentication"
	odd := func(status int, body string) func(*http.Request, int, string) (int, string) {
		return func(r *http.Request, code int, regular string) (int, string) {
			if r.Header.Get("X-Odd") != "" {
				return status, body
			}
			return code, regular
		}
	}
	for name, tt := range map[string]struct {
		mode    nevis.Mode
		how     device.Registration
		change  func(r *http.Request, status int, body string) (int, string)
		fails   []string
		notSeen []string
		path    string // of a call that passes as well, with X-Odd
		request string
	}{
		"8.2511":               {how: device.Registration{Way: device.InRegistration}},
		"8.2511, keys as text": {how: device.Registration{Way: device.InRegistration, KeysAsText: true}},
		"LTS21":                {mode: nevis.LTS21, how: device.Registration{Way: device.InRegistration}, notSeen: []string{"A9"}},
		"a key without a target": {
			path:    "/nevisfido/uaf/1.1/registration",
			request: `{"uafResponse":"[]","context":"{\"phone\":{\"publicKey\":{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}}}"}`,
			fails:   []string{"A3", "A5"}, notSeen: []string{"A6"},
		},
		"results of another kind": {change: at(dispatch, 200, `"dispatchResult":"`, `"dispatchResult":"my`), fails: []string{"A15"}, notSeen: []string{"A5", "A6", "A16"}},
		"a dispatch with 202":     {change: at(dispatch, 202, "", ""), fails: []string{"A14", "A16"}, notSeen: []string{"A5", "A6", "A15", "A17", "A18"}},
		"targets that are listed by another name": {
			change: at("GET /nevisfido/token/dispatch/targets", 200, "dispatchTargets", "targets"), fails: []string{"A10"}, notSeen: []string{"A5", "A6"},
		},
		"not strict JSON": {
			change: at("GET /nevisfido/token/dispatch/targets", 200, `"dispatchTargets"`, `"a":1,"a":2,"dispatchTargets"`),
			fails:  []string{"A20"}, notSeen: []string{"A5", "A6", "A10"},
		},
		"an id that is not told": {
			path:    "/nevisfido/uaf/1.1/registration",
			request: `{"uafResponse":"[]","context":"{\"dispatchTarget\":{\"name\":\"canary\",\"target\":\"x\"}}"}`,
			change:  odd(200, `{"statusCode":1200,"description":"registration done"}`), fails: []string{"A6"},
		},
		"a creation with 200": {
			path: "/nevisfido/token/dispatch/targets", request: `{"username":"jeff","name":"canary"}`,
			change: odd(200, `{"id":"0815-4711"}`), fails: []string{"A4"}, notSeen: []string{"A5", "A6"},
		},
		"other statuses": {
			change: func(r *http.Request, status int, body string) (int, string) {
				if status == 400 && strings.HasPrefix(r.URL.Path, "/nevisfido/token/dispatch/authentication") {
					return 422, body
				}
				if status == 400 && strings.HasSuffix(r.URL.Path, "/") {
					return 404, body
				}
				return status, body
			},
			fails: []string{"A1", "A19"}, notSeen: []string{"A5", "A6"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "shapes.json")
			s := start(t, options{
				nevis:   nevis.Options{Mode: tt.mode, Authorization: doctorSecToken},
				handler: "observe\n\t\tshapes " + file,
			})
			if tt.change != nil {
				s.nevis.Always(changed(tt.change))
			}
			canaries := s.visit(tt.how, tt.mode != nevis.LTS21)
			if tt.request != "" {
				media := map[bool]string{true: "application/fido+uaf", false: jsonType}[strings.Contains(tt.path, "uaf")]
				s.send(http.MethodPost, tt.path, tt.request, "Content-Type", media, "X-Odd", "1", "Authorization", doctorSecToken)
			}
			if err := idle(); err != nil { // which writes what was seen
				t.Fatal(err)
			}
			header := filepath.Join(t.TempDir(), "header")
			must(t, os.WriteFile(header, []byte("Authorization: "+doctorSecToken+"\n"), 0o600))
			before, _ := s.nevis.Tokens()
			args := []string{"--shapes", file, "--upstream", s.nevis.URL(), "--header-file", header, "--username", "jeff"}
			out, verdicts, err := doctor(t, append(args, "--json")...)
			if (err != nil) != (tt.fails != nil) || len(verdicts) == 0 {
				t.Errorf("it ended with %v", err)
			}
			for id, verdict := range verdicts {
				want := "holds"
				switch {
				case slices.Contains(tt.fails, id):
					want = "does_not_hold"
				case slices.Contains(tt.notSeen, id):
					want = "not_seen"
				}
				if verdict != want {
					t.Errorf("%s: %s, want %s", id, verdict, want)
				}
			}
			if after, _ := s.nevis.Tokens(); after != before {
				t.Errorf("the questions made %d tokens", after-before)
			}
			text, _, _ := doctor(t, args...)
			content, err := os.ReadFile(file)
			must(t, err)
			if strings.Contains(out+text+string(content), "jeff") {
				t.Error("the name of the user is told")
			}
			s.search(map[string]string{"report": out, "text": text, "file": string(content)}, canaries)
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}
