package docs

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

const patience = 20 * time.Second

// TestQuickStart follows quickstart.md: its Caddyfile, between a simulated
// nevisFIDO and Google, and its request bring a message that the phone reads.
func TestQuickStart(t *testing.T) {
	p := page{"docs/quickstart.md", readFile(t, "docs/quickstart.md")}
	blocks := make(map[string]string) // the last of each language
	for _, f := range p.fences() {
		blocks[f.language] = f.text
	}
	fido, err := nevis.Start(nevis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fido.Close()
	fcm, err := google.Start(google.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fcm.Close()

	credentials := filepath.Join(t.TempDir(), "firebase.json")
	if err := os.WriteFile(credentials, fcm.ServiceAccountJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	site, probes := testservice.FreeAddress(t), testservice.FreeAddress(t)
	serve(t, strings.NewReplacer(
		"/etc/oob-dispatch/firebase.json", credentials+"\n\t\t\tendpoint "+fcm.URL(),
		"127.0.0.1:8080", site, "127.0.0.1:2020", probes, "127.0.0.1:9080", fido.Addr(),
	).Replace(blocks["caddyfile"]))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pushToken := fcm.Register()
	phone, err := device.New(device.Options{Target: pushToken, Frontend: "http://" + site, RequireSealed: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := phone.Register(ctx, "http://"+site+"/nevisfido", device.Registration{Way: device.InRegistration}); err != nil {
		t.Fatal(err)
	}
	body := strings.Replace(blocks["json"], "<dispatchTargetId>", phone.TargetID(), 1)
	var answer struct {
		Result string `json:"dispatchResult"`
	}
	if err := json.Unmarshal(call(t, http.MethodPost, "http://"+site+"/nevisfido/token/dispatch/authentication", body), &answer); err != nil || answer.Result != "dispatched" {
		t.Fatalf("the dispatch result is %q, %v", answer.Result, err)
	}
	push, err := fcm.Wait(ctx, pushToken)
	if err != nil {
		t.Fatal(err)
	}
	message, err := phone.OpenPush(push.Data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := phone.Redeem(ctx, message); err != nil {
		t.Error(err)
	}
	if push.Notification.Title != "Please confirm" {
		t.Errorf("the phone shows %q", push.Notification.Title)
	}
	if ready := string(call(t, http.MethodGet, "http://"+probes+"/ready", "")); !strings.Contains(ready, `"ready":true`) || !strings.Contains(ready, `"push":{"last_success"`) {
		t.Errorf("/ready says %s", ready)
	}
}

// serve runs Caddy in this process until the end of the test.
func serve(t *testing.T, text string) {
	t.Helper()
	config, err := configuration(t, text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	content, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(content, true); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// call makes a request that has to be answered with 200.
func call(t *testing.T, method, url, body string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v: %s", method, url, answer.Status, err, content)
	}
	return content
}
