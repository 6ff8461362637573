package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// upstream is the way to nevisFIDO. It keeps what nevisFIDO answered to
// dispatches, for the page to show beside what the caller gets.
type upstream struct {
	mu      sync.Mutex
	answers map[string]json.RawMessage // by session
}

// maxAnswers bounds what is kept.
const maxAnswers = 1000

func (u *upstream) handler(nevisFIDO string) http.Handler {
	u.answers = map[string]json.RawMessage{}
	target := &url.URL{Scheme: "http", Host: nevisFIDO}
	return &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: u.keep,
	}
}

func (u *upstream) keep(r *http.Response) error {
	if r.Request.Method != http.MethodPost || !strings.Contains(r.Request.URL.Path, "/token/dispatch/") {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var a struct{ SessionID string }
	if json.Unmarshal(body, &a) != nil || a.SessionID == "" {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.answers) >= maxAnswers {
		clear(u.answers)
	}
	u.answers[a.SessionID] = body
	return nil
}

func (u *upstream) answer(session string) json.RawMessage {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.answers[session]
}

// exchange is what the page shows of a dispatch.
type exchange struct {
	NevisFIDO json.RawMessage `json:"nevisfido,omitempty"` // its answer
	Audit     json.RawMessage `json:"audit,omitempty"`     // the line as it stands in the file
	Wire      []artefact      `json:"wire"`
}

// auditPatience is how long the line of a dispatch may take; that of a fan_out
// comes when its last member has ended.
const auditPatience = 10 * time.Second

// serveExchange finds a dispatch by nevisFIDO's session, or, where there is
// none, the first of a target or a user from a time on.
func (p *page) serveExchange(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	since, err := strconv.ParseInt(q.Get("since"), 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The parameter since is missing.")
		return
	}
	kind := "user"
	for _, k := range []string{"session", "target"} {
		if q.Get(k) != "" {
			kind = k
			break
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), auditPatience)
	defer cancel()
	line, token := p.auditLine(ctx, kind, p.hash.Of(kind, q.Get(kind)), time.UnixMilli(since))
	x := exchange{NevisFIDO: p.upstream.answer(q.Get("session")), Audit: line, Wire: []artefact{}}
	if token != "" {
		x.Wire = append(x.Wire, p.wire(token)...)
	}
	reply(w, http.StatusOK, x)
}

// auditLine waits for the line of a dispatch. It returns the hash of its token as
// well.
func (p *page) auditLine(ctx context.Context, kind, hash string, since time.Time) (line json.RawMessage, token string) {
	for {
		if line, token = p.findLine(kind, hash, since); line != nil {
			return line, token
		}
		select {
		case <-ctx.Done():
			return nil, ""
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *page) findLine(kind, hash string, since time.Time) (line json.RawMessage, token string) {
	trail, err := os.ReadFile(filepath.Join(p.stack.folder, "audit.jsonl"))
	if err != nil {
		return nil, ""
	}
	for line := range bytes.Lines(trail) {
		if !bytes.Contains(line, []byte(hash)) {
			continue
		}
		var v struct {
			Event, Token, Session, Target, User string
			Time                                time.Time
		}
		err := json.Unmarshal(line, &v)
		named := map[string]string{"session": v.Session, "target": v.Target, "user": v.User}[kind]
		if err == nil && v.Event == "dispatch" && named == hash && !v.Time.Before(since.Truncate(time.Millisecond)) {
			return json.RawMessage(bytes.TrimSpace(line)), v.Token
		}
	}
	return nil, ""
}
