package exchange

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/text/language"
)

// A page is what a short link leads to, in each of its languages. It holds
// nothing of the message, of the app link or of the request.
type page map[language.Tag]pageText

type pageText struct{ Title, Text, Button string }

var pageReady = page{
	language.English: {"Continue in the app", "Tap the button to open the app. This link works once only.", "Open the app"},
	language.German:  {"Weiter in der App", "Tippen Sie auf die Schaltfläche, um die App zu öffnen. Dieser Link funktioniert nur einmal.", "App öffnen"},
	language.French:  {"Continuer dans l’application", "Appuyez sur le bouton pour ouvrir l’application. Ce lien ne fonctionne qu’une seule fois.", "Ouvrir l’application"},
	language.Italian: {"Prosegua nell’app", "Tocchi il pulsante per aprire l’app. Questo link funziona una volta sola.", "Aprire l’app"},
}

var pageInvalid = page{
	language.English: {"This link is no longer valid", "It has expired or was used already. Please start again.", ""},
	language.German:  {"Dieser Link ist nicht mehr gültig", "Er ist abgelaufen oder wurde bereits verwendet. Bitte beginnen Sie von vorne.", ""},
	language.French:  {"Ce lien n’est plus valable", "Il a expiré ou a déjà été utilisé. Veuillez recommencer.", ""},
	language.Italian: {"Questo link non è più valido", "È scaduto o è già stato utilizzato. Ricominci da capo.", ""},
}

var pageUnavailable = page{
	language.English: {"Please try again", "This link cannot be opened at the moment. Please try again shortly.", ""},
	language.German:  {"Bitte versuchen Sie es noch einmal", "Dieser Link lässt sich im Moment nicht öffnen. Bitte versuchen Sie es gleich noch einmal.", ""},
	language.French:  {"Veuillez réessayer", "Ce lien ne peut pas être ouvert pour le moment. Veuillez réessayer dans un instant.", ""},
	language.Italian: {"Riprovi", "Questo link ora non si apre. Riprovi tra poco.", ""},
}

var (
	pageLanguages = []language.Tag{language.English, language.German, language.French, language.Italian} // the first is the default
	pageMatcher   = language.NewMatcher(pageLanguages)
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// pagePolicy lets the page have its own style and nothing else. There is no
// form-action: browsers that apply it to redirects would not open the app.
var pagePolicy = func() string {
	style := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) + "'; base-uri 'none'; frame-ancestors 'none'"
}()

// maxAcceptLanguage bounds what is looked at of that header, in bytes.
const maxAcceptLanguage = 500

func pageLanguage(r *http.Request) language.Tag {
	accept := r.Header.Get("Accept-Language")
	if len(accept) > maxAcceptLanguage {
		accept = accept[:maxAcceptLanguage]
		accept = accept[:max(strings.LastIndexByte(accept, ','), 0)]
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return pageLanguages[0]
	}
	_, i, _ := pageMatcher.Match(wanted...)
	return pageLanguages[i]
}

func (p page) write(w http.ResponseWriter, r *http.Request, status int) error {
	lang := pageLanguage(r)
	var content bytes.Buffer
	err := pageTemplate.Execute(&content, struct {
		pageText
		Language string
		Style    template.CSS
	}{p[lang], lang.String(), template.CSS(pageCSS)}) //nolint:gosec // the style is ours
	if err != nil {
		return fmt.Errorf("writing the page of a short link: %w", err)
	}
	h := w.Header()
	setPageHeaders(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", lang.String())
	h.Add("Vary", "Accept-Language")
	h.Set("Content-Length", strconv.Itoa(content.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(content.Bytes()) // an error is the client's
	}
	return nil
}

func setPageHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex, nofollow")
}
