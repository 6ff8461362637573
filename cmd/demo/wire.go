package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"image/png"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/qrscan"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/scanner"
)

// artefact is one thing that left the sidecar, as it arrived at a third party.
type artefact struct {
	Channel string      `json:"channel"` // fcm, smtp, webhook, letter or web_push
	Times   int         `json:"times"`   // how often it was sent: more than once after a temporary failure
	Method  string      `json:"method,omitempty"`
	URL     string      `json:"url,omitempty"`
	Header  http.Header `json:"header,omitempty"`
	Raw     []byte      `json:"raw"`            // the body, the mail's source, or the PDF
	View    string      `json:"view,omitempty"` // where it can be seen as its reader sees it
	Subject string      `json:"subject,omitempty"`
	// Content is what the reader's app gets: a link, or the envelope.
	Content string `json:"content,omitempty"`
}

// wire returns what left the sidecar in a dispatch. Each third party has an id
// that is made of the token's hash, as docs/audit.md says.
func (p *page) wire(token string) (all []artefact) {
	s := p.stack
	all = append(all, requests("fcm", s.google.Requests(), func(r double.Request) bool {
		return bytes.Contains(r.Body, []byte(token))
	})...)
	all = append(all, requests("webhook", s.gateway.Requests(), func(r double.Request) bool {
		return strings.HasPrefix(r.Header.Get("Webhook-Id"), token)
	})...)
	sum := sha256.Sum256([]byte(token))
	topic := base64.RawURLEncoding.EncodeToString(sum[:24])
	all = append(all, requests("web_push", s.browser.Requests(), func(r double.Request) bool {
		return r.Header.Get("Topic") == topic
	})...)
	if source := p.mail(token); source != nil {
		all = append(all, mailArtefact(source, "/demo/mails/"+token))
	}
	if pdf := p.letter(token); pdf != nil {
		content, _ := scanner.QRCode(pdf) // "" is not shown
		all = append(all, artefact{Channel: "letter", Times: 1, Raw: pdf, View: letterView(token), Content: content})
	}
	return all
}

// requests returns one artefact for each message among the requests that match:
// one that was sent again differs in the time that it has left.
func requests(channel string, all []double.Request, match func(double.Request) bool) (found []artefact) {
	for _, r := range all {
		if !match(r) {
			continue
		}
		a := artefact{
			Channel: channel, Times: 1, Method: r.Method, URL: "https://" + r.Host + r.URI, Header: r.Header, Raw: r.Body,
			Content: contentOf(channel, r.Body),
		}
		i := slices.IndexFunc(found, func(before artefact) bool { return a.Content != "" && before.Content == a.Content })
		if i < 0 {
			found = append(found, a)
			continue
		}
		a.Times += found[i].Times
		found[i] = a
	}
	return found
}

// contentOf returns what the app gets of a request to a third party.
func contentOf(channel string, body []byte) string {
	switch channel {
	case "fcm":
		var push struct {
			Message struct{ Data json.RawMessage }
		}
		_ = json.Unmarshal(body, &push) // what is not JSON has no content
		return string(push.Message.Data)
	case "webhook":
		var sms struct{ Text string }
		_ = json.Unmarshal(body, &sms)
		_, link, _ := strings.Cut(sms.Text, ": ")
		return link
	}
	return "" // only the browser can open it
}

// mail returns the source of the mail with a token's hash in its Message-ID.
func (p *page) mail(token string) []byte {
	for _, m := range p.stack.mail.Mails() {
		if bytes.Contains(m.Data, []byte("<"+token+"_")) {
			return m.Data
		}
	}
	return nil
}

func mailArtefact(source []byte, view string) artefact {
	a := artefact{Channel: "smtp", Times: 1, Raw: source, View: view}
	if read, err := mail.Read(source); err == nil {
		a.Subject = read.Subject
		for _, picture := range read.Pictures {
			if content, err := scan(picture); err == nil { // not the picture of the visual code
				a.Content = content
			}
		}
	}
	return a
}

// scan returns the content of the QR code in a PNG.
func scan(picture []byte) (string, error) {
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return "", err
	}
	return qrscan.Text(decoded)
}

// serveMail shows a mail as a mail program does.
func (p *page) serveMail(w http.ResponseWriter, r *http.Request) {
	read, err := mail.Read(p.mail(tokenHash(r)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	html := read.HTML
	for id, picture := range read.Pictures {
		html = strings.ReplaceAll(html, "cid:"+id, "data:image/png;base64,"+base64.StdEncoding.EncodeToString(picture))
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, html)
}

// letter returns the PDF of a letter in the spool.
func (p *page) letter(token string) []byte {
	pdf, err := fs.ReadFile(os.DirFS(filepath.Join(p.stack.folder, "letters")), token+"_paper.pdf")
	if err != nil {
		return nil
	}
	return pdf
}

func (p *page) serveLetter(w http.ResponseWriter, r *http.Request) {
	pdf := p.letter(tokenHash(r))
	if pdf == nil {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "letter.pdf", time.Time{}, bytes.NewReader(pdf))
}

// letterView returns where a letter can be seen: as a picture where there is a
// program that draws one, else as PDF.
func letterView(token string) string {
	if _, err := exec.LookPath("pdftoppm"); err != nil {
		return "/demo/letters/" + token
	}
	return "/demo/letters/" + token + "/picture"
}

func (p *page) serveLetterPicture(w http.ResponseWriter, r *http.Request) {
	draw := exec.CommandContext(r.Context(), "pdftoppm", "-png", "-r", "72", "-singlefile", "-") //nolint:gosec // nothing of the request is an argument
	draw.Stdin = bytes.NewReader(p.letter(tokenHash(r)))
	picture, err := draw.Output()
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(picture)
}

var hashForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)

// tokenHash returns the id in a request's path, or what no message has.
func tokenHash(r *http.Request) string {
	if id := r.PathValue("id"); hashForm.MatchString(id) {
		return id
	}
	return "-"
}
