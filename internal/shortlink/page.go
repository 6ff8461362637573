package shortlink

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

// The page that a short link leads to holds nothing of the message, of the app
// link or of the request.
var (
	//go:embed page.html
	pageHTML string

	//go:embed page.css
	pageCSS string

	//go:embed page.json
	pageJSON []byte
)

type pageText struct{ Title, Text, Button string }

// pageTexts are the texts by language and page: "ready", "invalid" and
// "unavailable".
var pageTexts = func() map[string]map[string]pageText {
	var all map[string]map[string]pageText
	if err := json.Unmarshal(pageJSON, &all); err != nil {
		panic(err) // the file is a part of the program
	}
	return all
}()

const defaultLanguage = "en"

var (
	pageLanguages = texts.NewMatcher(slices.Sorted(maps.Keys(pageTexts))...)
	pageTemplate  = template.Must(template.New("page").Parse(pageHTML))
)

// pagePolicy lets the page have its own style and nothing else. There is no
// form-action: browsers that apply it to redirects would not open the app.
var pagePolicy = func() string {
	style := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) + "'; base-uri 'none'; frame-ancestors 'none'"
}()

func setPageHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex, nofollow")
}

// writePage answers with a page, in a language that the visitor's browser asks
// for.
func writePage(w http.ResponseWriter, r *http.Request, name string, status int) error {
	lang := pageLanguages.Pick(defaultLanguage, r.Header.Get("Accept-Language"))
	var content bytes.Buffer
	err := pageTemplate.Execute(&content, struct {
		pageText
		Language string
		Style    template.CSS
	}{pageTexts[lang][name], lang, template.CSS(pageCSS)}) //nolint:gosec // the style is ours
	if err != nil {
		return fmt.Errorf("filling in the page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", lang)
	h.Add("Vary", "Accept-Language")
	h.Set("Content-Length", strconv.Itoa(content.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(content.Bytes()) // an error is the visitor's
	}
	return nil
}
