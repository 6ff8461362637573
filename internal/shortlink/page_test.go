package shortlink

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func write(t *testing.T, page, acceptLanguage string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/oob/x", nil)
	r.Header.Set("Accept-Language", acceptLanguage)
	w := httptest.NewRecorder()
	setPageHeaders(w.Header())
	if err := writePage(w, r, page, 200); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestPageLanguages(t *testing.T) {
	for accept, want := range map[string]string{
		"": "en", "de-CH,de;q=0.9,en;q=0.8": "de", "fr-CH": "fr", "it": "it", "gsw, de;q=0.5": "de", "ja": "en", "en-GB": "en",
		"*": "en", "rm-CH, it-CH;q=0.7": "it", ";;;": "en", "<script>": "en", strings.Repeat("ja,", 1000) + "de": "en",
		"de," + strings.Repeat("x", 10_000): "de",
	} {
		w := write(t, "ready", accept)
		if got := w.Header().Get("Content-Language"); got != want {
			t.Errorf("%.30q: %q, want %q", accept, got, want)
		}
		if !strings.Contains(w.Body.String(), `<html lang="`+want+`">`) {
			t.Errorf("%.30q: the page says otherwise", accept)
		}
	}
}

// active is what runs or fetches something.
var active = regexp.MustCompile(`(?i)<script|<link|<img|href|src=|action=|\bon[a-z]+=|url\(|@import|http-equiv|style=`)

func TestPagesAreComplete(t *testing.T) {
	if len(pageTexts) != 4 {
		t.Errorf("texts in %d languages", len(pageTexts))
	}
	for lang, pages := range pageTexts {
		seen := make(map[string]bool)
		for _, name := range []string{"ready", "invalid", "unavailable"} {
			text := pages[name]
			if text.Title == "" || text.Text == "" || seen[text.Title] || (text.Button != "") != (name == "ready") {
				t.Errorf("%s, %s: %+v", name, lang, text)
			}
			seen[text.Title] = true
			body := write(t, name, lang).Body.String()
			if strings.Contains(body, "<form") != (name == "ready") || strings.Contains(body, "ZgotmplZ") {
				t.Errorf("%s, %s: %s", name, lang, body)
			}
			if found := active.FindString(body); found != "" {
				t.Errorf("%s, %s: the page has %q", name, lang, found)
			}
		}
	}
}

var styleElement = regexp.MustCompile(`(?s)<style>(.*)</style>`)

// The policy allows the style that the page has, and nothing else.
func TestPagePolicyFitsThePage(t *testing.T) {
	w := write(t, "ready", "")
	style := styleElement.FindStringSubmatch(w.Body.String())
	if style == nil {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	policy := w.Header().Get("Content-Security-Policy")
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; frame-ancestors 'none'"
	if policy != want {
		t.Errorf("the policy is %q, want %q", policy, want)
	}
}

// Texts are escaped even where a translation holds markup.
func TestPageEscapes(t *testing.T) {
	before := pageTexts["en"]["ready"]
	defer func() { pageTexts["en"]["ready"] = before }()
	pageTexts["en"]["ready"] = pageText{`</title><script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `"><b>`}
	body := write(t, "ready", "en").Body.String()
	for _, markup := range []string{"<script", "<img", "<b>"} {
		if strings.Contains(body, markup) {
			t.Errorf("%s in %s", markup, body)
		}
	}
}
