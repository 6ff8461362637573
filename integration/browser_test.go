package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
)

const (
	fidoHost  = "fido.example.com"
	appHost   = "app.example.com"
	appScheme = "nevisaccess"
)

const browserOptions = `
		dispatcher short-app link {
			base_url https://` + appHost + `/open?lang=de
			short_links https://` + fidoHost + `/oob
		}
		dispatcher short-scheme link {
			base_url ` + appScheme + `://x-callback-url/authenticate
			short_links https://` + fidoHost + `/oob
		}`

// internet is what a browser reaches by any name: the sidecar, and the site of
// the app.
type internet struct {
	*httptest.Server
	mu       sync.Mutex
	pages    map[string][]string // methods by path
	openings []*http.Request     // of the app's site
	strays   []string
}

func startInternet(t *testing.T, s *stack) *internet {
	t.Helper()
	upstream, err := url.Parse(s.url())
	must(t, err)
	sidecar := &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(upstream) },
		Transport: s.client.Transport,
	}
	n := &internet{pages: make(map[string][]string)}
	n.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.isPage(r) {
			sidecar.ServeHTTP(w, r)
		}
	}))
	n.EnableHTTP2 = true
	n.Config.ErrorLog = log.New(io.Discard, "", 0)
	n.StartTLS()
	t.Cleanup(n.Close)
	return n
}

// isPage notes a request, and reports whether it is for the sidecar.
func (n *internet) isPage(r *http.Request) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case r.Host == fidoHost && r.URL.RawQuery == "":
		n.pages[r.URL.Path] = append(n.pages[r.URL.Path], r.Method)
		return true
	case r.Host == appHost && r.URL.Path == "/open":
		n.openings = append(n.openings, r)
	case r.Host == appHost && r.URL.Path == "/favicon.ico": // that of a site without a picture
	default:
		n.strays = append(n.strays, r.Host+r.URL.Path)
	}
	return false
}

// sight is what a user sees of a page.
type sight struct {
	Heading, Text, Title, Language, Button string
	ButtonEnd, ScrollWidth                 int
}

// visit is what page.mjs tells of a user.
type visit struct {
	Looks      []sight
	Target     string // where the button led
	Complaints []string
}

var phoneScreen = map[string]int{"width": 320, "height": 480}

// browse has users follow links in Chromium, and returns their visits.
func (n *internet) browse(t *testing.T, links map[string]string, locales []string) map[string]visit {
	t.Helper()
	job, err := json.Marshal(map[string]any{
		"chromium": testservice.Need(t, "chromium"), "internet": n.Listener.Addr().String(), "app": appHost, "scheme": appScheme,
		"links": links, "locales": locales, "phone": phoneScreen, "patience": time.Minute.Milliseconds(),
	})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "node", "page.mjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = "testdata/browser", bytes.NewReader(job), &stderr
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var visits map[string]visit
	if err := json.Unmarshal(output, &visits); err != nil {
		t.Fatalf("%v in %s", err, output)
	}
	for user, v := range visits {
		if len(v.Complaints) != 0 {
			t.Errorf("%s: the browser complains: %q", user, v.Complaints)
		}
		for _, seen := range v.Looks {
			if seen.ScrollWidth > phoneScreen["width"] || seen.ButtonEnd > phoneScreen["height"] {
				t.Errorf("%s: the page is larger than the screen: %+v", user, seen)
			}
		}
	}
	return visits
}

// The pages of short links in a real browser: their texts, and where their
// button leads, once.
func TestShortLinksInABrowser(t *testing.T) {
	testservice.Need(t, "chromium")
	testservice.Need(t, "node")
	if _, err := os.Stat("testdata/browser/node_modules"); err != nil {
		testservice.Lacking(t, "testdata/browser lacks node_modules; run npm ci there, as ./test.sh does")
	}
	s := start(t, options{handler: browserOptions})
	p := s.registerAs(device.Options{KeyKind: "RSA-4096"}, device.Registration{})
	n := startInternet(t, s)
	answers, links := map[string]answer{}, map[string]string{}
	for user, channel := range map[string]string{
		"read": "short-app", "follow": "short-app", "withoutScripts": "short-app", "scheme": "short-scheme",
	} {
		answers[user] = s.dispatch(channel, p.TargetID())
		links[user] = answers[user].text()
	}
	headings := map[string][3]string{ // and buttons
		"de-CH": {"de", "Weiter in der App", "App öffnen"},
		"fr-CH": {"fr", "Continuer dans l’application", "Ouvrir l’application"},
		"it-CH": {"it", "Prosegua nell’app", "Aprire l’app"},
		"en-GB": {"en", "Continue in the app", "Open the app"},
		"ja":    {"en", "Continue in the app", "Open the app"},
	}
	locales := []string{"de-CH", "fr-CH", "it-CH", "en-GB", "ja"}
	visits := n.browse(t, links, locales)

	for locale, want := range headings {
		v := visits[locale]
		if len(v.Looks) != 1 || want != [3]string{v.Looks[0].Language, v.Looks[0].Heading, v.Looks[0].Button} ||
			v.Looks[0].Title != want[1] || v.Looks[0].Text == "" {
			t.Errorf("%s: the user sees %+v", locale, v.Looks)
		}
	}
	wantButtons(t, "follow", visits["follow"], true, true, false, false)
	wantButtons(t, "scheme", visits["scheme"], true, false)
	for user, prefix := range map[string]string{
		"follow": "https://" + appHost + "/open?lang=de&", "withoutScripts": "https://" + appHost + "/open?lang=de&",
		"scheme": appScheme + "://x-callback-url/authenticate?",
	} {
		if !strings.HasPrefix(visits[user].Target, prefix) {
			t.Fatalf("%s: the button led to %q", user, visits[user].Target)
		}
		m, err := p.Open(visits[user].Target)
		if err != nil {
			t.Fatalf("%s: %v", user, err)
		}
		s.check(p, nevisfido.Authentication, answers[user], m)
	}
	n.check(t, visits, map[string][]string{
		links["read"]:           slices.Repeat([]string{"GET"}, len(locales)),
		links["follow"]:         {"GET", "GET", "GET", "POST", "POST", "GET"},
		links["withoutScripts"]: {"GET", "POST"},
		links["scheme"]:         {"GET", "POST", "POST"},
	})
}

// wantButtons checks on which of the pages that a user sees there is a button.
// The others say that the link is not valid any more.
func wantButtons(t *testing.T, user string, v visit, want ...bool) {
	t.Helper()
	var got []bool
	for _, seen := range v.Looks {
		got = append(got, seen.Button != "")
		invalid := seen.Heading == "Dieser Link ist nicht mehr gültig" || seen.Heading == "This link is no longer valid"
		if invalid != (seen.Button == "") {
			t.Errorf("%s sees %+v", user, seen)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s sees buttons: %v, want %v", user, got, want)
	}
}

// check looks at what the browsers asked for: the pages of the links, and the
// app's site, which learns nothing of the short link.
func (n *internet) check(t *testing.T, visits map[string]visit, want map[string][]string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.strays) != 0 {
		t.Errorf("there were requests for %v", n.strays)
	}
	for link, methods := range want {
		path := strings.TrimPrefix(link, "https://"+fidoHost)
		if !slices.Equal(n.pages[path], methods) {
			t.Errorf("%s was asked for by %v, want %v", path, n.pages[path], methods)
		}
		delete(n.pages, path)
	}
	if len(n.pages) != 0 {
		t.Errorf("the pages led to %v", n.pages)
	}
	var opened []string
	for _, r := range n.openings {
		opened = append(opened, "https://"+r.Host+r.URL.RequestURI())
		if r.Method != http.MethodGet || r.Header.Get("Referer") != "" || r.Header.Get("Origin") != "" {
			t.Errorf("the app's site was asked by %s with %v", r.Method, r.Header)
		}
	}
	if !slices.Equal(opened, []string{visits["follow"].Target, visits["withoutScripts"].Target}) {
		t.Errorf("the app's site was asked for %v", opened)
	}
}
