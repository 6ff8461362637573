package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

var update = flag.Bool("update", false, "write the README's picture of the page again")

const (
	portrait    = "../../docs/demo.png"
	maxPortrait = 150_000 // bytes
)

// sight is what a user sees of a dispatch.
type sight struct {
	Result, TookOver, Story, Channels string
	TokenFound                        string // "no" or "yes" for each thing that left
	Parts                             int    // of JWEs
	Timeline                          []int  // milliseconds: the whole, before the attempts, each attempt
	Health, Step3                     string

	Failure, LaptopCode, PhoneCode string
	LaptopPicture, PhonePicture    string
	Payment                        string
	Session, Steps                 string
	ScrollWidth                    int
}

// visits is what page.mjs tells.
type visits struct {
	Channels   map[string]sight
	Operations map[string]sight
	Switches   map[string]sight
	Storeless  struct {
		Opened, Unregistered, Registering, Notice string
		After                                     sight
	}
	Nonsense map[string]string
	Twice    struct {
		Told  []string
		First sight
		Other int
	}
	Restart struct {
		Away, Renewing, Back string
		Sent                 sight
	}
	Keyboard, Pocket sight
	Took             map[string]int // milliseconds

	faults
}

// faults are what the browser finds.
type faults struct {
	Complaints []string
	Violations map[string][]string // of accessibility, by view
}

// wantGoodPage fails where the browser complains of a page, or where one of at least
// so many views is not accessible.
func (f faults) wantGoodPage(t *testing.T, views int) {
	t.Helper()
	if len(f.Complaints) != 0 {
		t.Errorf("the browser complains: %q", f.Complaints)
	}
	for view, found := range f.Violations {
		if len(found) != 0 {
			t.Errorf("%s: not accessible: %q", view, found)
		}
	}
	if len(f.Violations) < views {
		t.Errorf("looked at %d views", len(f.Violations))
	}
}

// A turned switch, or several, and what a message then meets.
type turned struct {
	Name    string            `json:"name"`
	Turns   map[string]string `json:"turns"`
	Channel string            `json:"channel"`
	Look    bool              `json:"look"` // on the phone
	Mend    bool              `json:"mend"` // by installing the app again

	result, by, story string
}

var turns = []turned{
	{Name: "FCM says UNREGISTERED", Turns: map[string]string{"fcm": "unregistered"}, Channel: "push", Mend: true, result: "dispatchTargetExpired", story: "404"},
	{Name: "FCM says 429", Turns: map[string]string{"fcm": "429"}, Channel: "push", result: "dispatchError", story: "429"},
	{Name: "FCM says 503, with a fallback", Turns: map[string]string{"fcm": "503"}, Channel: "push-then-mail", Look: true, result: "dispatched", by: "mail", story: "push failed"},
	{Name: "FCM is silent, with a fallback", Turns: map[string]string{"fcm": "silent"}, Channel: "push-then-mail", result: "dispatched", by: "mail", story: "push failed (timeout)"},
	{Name: "FCM is silent, in a fan-out", Turns: map[string]string{"fcm": "silent"}, Channel: "everywhere", result: "dispatchError", story: "push"},
	{Name: "FCM fails, and the mail server refuses", Turns: map[string]string{"fcm": "503", "mail": "refuses"}, Channel: "push-then-mail", result: "dispatched", by: "sms", story: "554"},
	{Name: "the mail server refuses", Turns: map[string]string{"mail": "refuses"}, Channel: "mail", result: "dispatchError", story: "554"},
	{Name: "the gateway says no", Turns: map[string]string{"sms": "rejected"}, Channel: "sms", result: "dispatchError", story: "sms"},
	{Name: "the store fails", Turns: map[string]string{"store": "fails"}, Channel: "push", result: "internalError"},
	{Name: "the key is missing", Turns: map[string]string{"key": "missing"}, Channel: "push", result: "dispatchError"},
	{Name: "the key was changed", Turns: map[string]string{"key": "replaced"}, Channel: "push", Look: true, result: "dispatched"},
	{Name: "nevisFIDO seals", Turns: map[string]string{"nevisfido": "8.2511"}, Channel: "app-link", Look: true, result: "dispatched"},
	{Name: "all is well again", Channel: "push-then-mail", Look: true, result: "dispatched", by: "push"},
}

// What is no message: each gets a sentence, and the page goes on.
var nonsense = map[string]string{
	"nothing":          "",
	"a text":           "hello",
	"half a link":      "https://app.example.com/open?dispatchTokenResponse=eyJubWFfZGF0YSI6ImV5",
	"another link":     "https://app.example.com/open",
	"no envelope":      `{"a":1}`,
	"no message":       `{"nma_data":"x","nma_data_content_type":"application/json","nma_data_version":"1"}`,
	"no token":         `{"nma_data":{"redeem_url":"https://fido.example.com/nevisfido/token/redeem/authentication"},"nma_data_content_type":"application/json","nma_data_version":"1"}`,
	"another address":  `{"nma_data":{"token":"x","redeem_url":"https://fido.example.com/demo/switches"},"nma_data_content_type":"application/json","nma_data_version":"1"}`,
	"half a JWE":       `{"nma_data":"eyJhbGciOiJSU0EtT0FFUC0yNTYifQ.AAAA","nma_data_content_type":"application/jose","nma_data_version":"1"}`,
	"no header":        `{"nma_data":"x.x.x.x.x","nma_data_content_type":"application/jose","nma_data_version":"1"}`,
	"for another key":  `{"nma_data":"eyJhbGciOiJSU0EtT0FFUC0yNTYiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0.AAAA.AAAA.AAAA.AAAA","nma_data_content_type":"application/jose","nma_data_version":"1"}`,
	"for another kind": `{"nma_data":"eyJhbGciOiJFQ0RILUVTIiwiZW5jIjoiQTI1NkdDTSJ9..AAAA.AAAA.AAAA","nma_data_content_type":"application/jose","nma_data_version":"1"}`,
}

// done is ten steps that were all done.
const done = "dddddddddd"

// The page in a real browser: every channel, every switch, what is no message,
// two pages, a demo that ends and comes back, a keyboard alone, a small screen.
func TestPageInABrowser(t *testing.T) {
	v := browse(t)
	t.Logf("milliseconds: %v", v.Took)
	v.wantGoodPage(t, 9)

	for channel, wire := range channelsSeen {
		got := v.Channels[channel]
		wantDelivered(t, channel, got)
		if got.Channels != wire || (got.TookOver != "") != (channel == "push-then-mail") || got.Parts == 0 {
			t.Errorf("%s: on the wire %q, of JWEs %d parts, %q", channel, got.Channels, got.Parts, got.TookOver)
		}
	}
	wantDelivered(t, "payment", v.Operations["payment"])
	if got := v.Operations["payment"].Payment; !strings.Contains(got, "1,250.00") {
		t.Errorf("the phone shows %q of the payment", got)
	}
	if got := v.Operations["rejected"].Steps; got != "ddddddddds" {
		t.Errorf("rejected: steps %s", got)
	}
	if got := v.Operations["registration"]; got.Result != "dispatched" || got.TokenFound != "yes" || got.Session != "succeeded" {
		t.Errorf("registration: %+v", got)
	}
	wantDelivered(t, "after the registration", v.Operations["after"])
	if got := v.Operations["nobody"]; got.Result != "dispatchTargetNotFound" || got.Channels != "" {
		t.Errorf("a phone that nobody knows: %+v", got)
	}

	for _, want := range turns {
		got := v.Switches[want.Name]
		if got.Result != want.result || !strings.HasPrefix(got.TookOver, want.by) || (got.TookOver == "") != (want.by == "") ||
			!strings.Contains(got.Story, want.story) {
			t.Errorf("%s: %+v", want.Name, got)
		}
		if (want.Name == "the key was changed") != (got.Failure != "") {
			t.Errorf("%s: the phone says %q", want.Name, got.Failure)
		}
	}
	if got := v.Switches["the store fails"].Health; !strings.Contains(got, "not ready") {
		t.Errorf("the store fails: health is %q", got)
	}
	if got := v.Switches["nevisFIDO seals"].Step3; !strings.Contains(got, "nevisFIDO had sealed it") {
		t.Errorf("nevisFIDO seals: step 3 is %q", got)
	}

	if got := v.Switches["FCM is silent, in a fan-out"].Timeline; len(got) < 5 || got[1] > got[0]/2 {
		t.Errorf("FCM is silent, in a fan-out: of %v ms most went by before the attempts", got)
	}
	wantSentence(t, "opened without a store", v.Storeless.Opened)
	wantSentence(t, "a phone that is not registered", v.Storeless.Unregistered)
	wantSentence(t, "registering without a store", v.Storeless.Registering)
	wantDelivered(t, "with the store again", v.Storeless.After)
	if v.Storeless.Notice != "" {
		t.Errorf("with the store again the page says %q", v.Storeless.Notice)
	}

	for what := range nonsense {
		wantSentence(t, what, v.Nonsense[what])
	}
	for _, what := range []string{"no picture", "no code", "again"} {
		wantSentence(t, what, v.Nonsense[what])
	}
	if v.Nonsense["sent"] != "dispatched" {
		t.Error("after nonsense the page does not go on")
	}

	if got := v.Twice; len(got.Told) != 2 || !strings.Contains(got.Told[0], "2 times") || got.Told[0] != got.Told[1] || got.Other != 0 {
		t.Errorf("twice: %+v", got)
	}
	wantDelivered(t, "beside another page", v.Twice.First)
	wantSentence(t, "away", v.Restart.Away)
	wantSentence(t, "installed again while away", v.Restart.Renewing)
	if !strings.Contains(v.Restart.Back, "started again") {
		t.Errorf("back: %q", v.Restart.Back)
	}
	wantDelivered(t, "after a restart", v.Restart.Sent)
	if v.Keyboard.Steps != done || v.Keyboard.Payment == "" {
		t.Errorf("by keyboard: %+v", v.Keyboard)
	}
	wantDelivered(t, "on a small screen", v.Pocket)
	if v.Pocket.ScrollWidth > 360 {
		t.Errorf("on a small screen the page has %d pixels", v.Pocket.ScrollWidth)
	}
}

// channelsSeen are the channels of the page, and what the page shows of each on
// the wire.
var channelsSeen = map[string]string{
	"push": "fcm", "mail": "smtp", "paper": "letter", "sms": "webhook", "app-qr": "qr_code", "app-link": "link",
	"browser": "web_push", "push-then-mail": "fcm", "everywhere": "fcm smtp",
}

func wantDelivered(t *testing.T, what string, got sight) {
	t.Helper()
	if got.Result != "dispatched" || strings.Contains(got.TokenFound, "yes") || got.TokenFound == "" ||
		len(got.PhoneCode) != visualCodeDigits || got.PhoneCode != got.LaptopCode ||
		got.PhonePicture == "" || got.PhonePicture != got.LaptopPicture || got.Session != "succeeded" || got.Steps != done {
		t.Errorf("%s: %+v", what, got)
	}
}

// wantSentence checks that something was said in words.
func wantSentence(t *testing.T, what, got string) {
	t.Helper()
	if !strings.HasSuffix(got, ".") || strings.Count(got, " ") < 3 || strings.Contains(got, "undefined") || strings.Contains(got, "Error") {
		t.Errorf("%s: the page says %q", what, got)
	}
}

// browser is Chromium with the demo, used by a script.
type browser struct {
	chromium, node string
	demo           *demo
	url            string
	pictures       string // folder for what the script takes
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	b := &browser{chromium: testservice.Need(t, "chromium"), node: testservice.Need(t, "node"), pictures: t.ArtifactDir()}
	if _, err := os.Stat("testdata/browser/node_modules"); err != nil {
		testservice.Lacking(t, "testdata/browser lacks node_modules; run npm ci there, as ./test.sh does")
	}
	b.demo = &demo{t: t, address: testservice.FreeAddress(t)}
	b.demo.start()
	t.Cleanup(b.demo.stop)
	b.url = "http://" + b.demo.address + "/"
	return b
}

// run has a script do a job, and reads what it tells.
func (b *browser) run(t *testing.T, script string, job map[string]any, told any) (output []byte) {
	t.Helper()
	job["chromium"], job["pictures"], job["patience"] = b.chromium, b.pictures, time.Minute.Milliseconds()
	input, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, b.node, script)
	cmd.Dir, cmd.Stdin, cmd.Stderr = "testdata/browser", bytes.NewReader(input), &stderr
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if output, err = cmd.Output(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if err := json.Unmarshal(output, told); err != nil {
		t.Fatalf("%v in %s", err, output)
	}
	return output
}

// browse has page.mjs use the page.
func browse(t *testing.T) (v visits) {
	t.Helper()
	testservice.Need(t, "pdftoppm")
	b := openBrowser(t)
	control := httptest.NewServer(http.HandlerFunc(b.demo.control))
	t.Cleanup(control.Close)
	job := map[string]any{"url": b.url, "control": control.URL, "channels": pageChannels, "switches": turns, "nonsense": nonsense}
	taken := filepath.Join(b.pictures, "portrait.png")
	if *update {
		job["portrait"] = taken
	}
	wantScreen(t, b.run(t, "page.mjs", job, &v))
	if *update {
		keepPortrait(t, taken)
	}
	return v
}

var pageChannels = []string{"push", "mail", "paper", "sms", "app-qr", "app-link", "browser", "push-then-mail", "everywhere"}

// wantScreen checks that the QR code on the screen, as jsQR reads it from a
// picture of the screen, is the one that the caller got, and that the page's
// camera reads it.
func wantScreen(t *testing.T, output []byte) {
	t.Helper()
	var v struct {
		Channels struct {
			QR struct{ Screen, Answered, Refused, Camera string }
		}
	}
	if err := json.Unmarshal(output, &v); err != nil {
		t.Fatal(err)
	}
	picture, err := base64.StdEncoding.DecodeString(v.Channels.QR.Answered)
	if err != nil {
		t.Fatal(err)
	}
	answered, err := scan(picture)
	if err != nil || answered != v.Channels.QR.Screen || !strings.HasPrefix(answered, "https://app.example.com/open?dispatchTokenResponse=") {
		t.Errorf("the screen shows a QR code of %q, answered was %q (%v)", v.Channels.QR.Screen, answered, err)
	}
	wantSentence(t, "a camera that it may not use", v.Channels.QR.Refused)
	if !strings.Contains(v.Channels.QR.Camera, "by camera") {
		t.Errorf("with the camera step 8 is %q", v.Channels.QR.Camera)
	}
}

func keepPortrait(t *testing.T, path string) {
	t.Helper()
	picture := read(t, path)
	if len(picture) > maxPortrait {
		t.Fatalf("the README's picture has %d bytes, more than %d", len(picture), maxPortrait)
	}
	if err := os.WriteFile(portrait, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// demo is one that can be ended and started again.
type demo struct {
	t       *testing.T
	address string
	cancel  context.CancelFunc
	ended   chan error
}

func (d *demo) start() {
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	d.ended = make(chan error, 1)
	up := make(chan struct{})
	go func() { d.ended <- serve(ctx, &firstWrite{up: up}, d.address, nevis.LTS21) }()
	select {
	case <-up:
	case err := <-d.ended:
		d.t.Errorf("the demo ended: %v", err)
		d.ended <- err
	}
}

func (d *demo) stop() {
	d.cancel()
	if err := <-d.ended; err != nil {
		d.t.Error(err)
	}
	d.ended <- nil
}

func (d *demo) control(_ http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/stop") {
		d.stop()
		return
	}
	d.start()
}

// firstWrite closes a channel at the first write.
type firstWrite struct {
	io.Writer
	up chan struct{}
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if f.up != nil {
		close(f.up)
		f.up = nil
	}
	return len(p), nil
}

// The test clicks what the page has.
func TestAllChannelsAreClicked(t *testing.T) {
	script := read(t, "page/laptop.js")
	for _, c := range pageChannels {
		if !bytes.Contains(script, []byte("name: '"+c+"'")) {
			t.Errorf("the page has no channel %s", c)
		}
	}
	if n := bytes.Count(script, []byte("{ name: '")); n != len(pageChannels) {
		t.Errorf("the page has %d channels, the test clicks %d", n, len(pageChannels))
	}
	for _, s := range switches {
		for _, p := range s.positions {
			if p.name != "works" && p.name != "LTS21" && !slices.ContainsFunc(turns, func(u turned) bool { return u.Turns[s.name] == p.name }) {
				t.Errorf("the test does not turn %s to %s", s.name, p.name)
			}
		}
	}
}
