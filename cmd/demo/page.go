package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
	"github.com/oob-dispatch/oob-dispatch/simulator/pushservice"
)

//go:embed page
var pageFiles embed.FS

// page is the server behind the sidecar: it serves the page, what the page
// wants to know, and whatever is for nevisFIDO.
//
// What the page shows of a dispatch comes from its audit line, found as `caddy
// oob explain` finds it, and from the third parties, found by the id that the
// line connects them with. The page makes the calls of the relying party and of
// the phone itself, through the sidecar.
type page struct {
	stack *stack
	hash  *keyedhash.Key // of the audit trail
	boot  string         // differs after a restart

	server   *http.Server
	listener net.Listener
	upstream upstream

	mu       sync.Mutex
	handsets map[string]*handset
	open     map[chan struct{}]bool // the pages that are open, each told of changes
	switches map[string]string      // what is broken, by name
}

// handset is what a phone has of third parties: the page makes its keys.
type handset struct {
	ID           string          `json:"id"`
	PushToken    string          `json:"pushToken"`
	Subscription json.RawMessage `json:"subscription"` // of web push

	browser *pushservice.Subscription
}

func startPage(s *stack, hash string, mode nevis.Mode) (*page, error) {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		return nil, err
	}
	p := &page{
		stack: s, hash: keyedhash.New([]byte(hash)), boot: rand.Text(),
		handsets: map[string]*handset{}, open: map[chan struct{}]bool{}, switches: map[string]string{"nevisfido": releases[mode]},
	}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil { //nolint:noctx // it ends with the server
		return nil, fmt.Errorf("starting the page's server: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/nevisfido/", p.upstream.handler(s.nevis.Addr()))
	mux.Handle("/", static(http.FileServerFS(files)))
	mux.Handle("GET /inspect", static(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "inspect.html")
	})))
	mux.HandleFunc("POST /demo/handsets", p.addHandset)
	mux.HandleFunc("POST /demo/handsets/{id}/token", p.renewToken)
	mux.HandleFunc("GET /demo/events/{id}", p.serveEvents)
	mux.HandleFunc("GET /demo/exchange", p.serveExchange)
	mux.HandleFunc("GET /demo/mails/{id}", p.serveMail)
	mux.HandleFunc("GET /demo/letters/{id}", p.serveLetter)
	mux.HandleFunc("GET /demo/letters/{id}/picture", p.serveLetterPicture)
	mux.HandleFunc("POST /demo/switches", p.setSwitch)
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Print(err)
		}
	}()
	return p, nil
}

func (p *page) addr() string { return p.listener.Addr().String() }

// Close ends the server and every page's events.
func (p *page) Close() { _ = p.server.Close() }

// policy keeps the page from loading anything from elsewhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
	"frame-src 'self'; object-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func static(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	})
}

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content)
}

// refuse answers with a sentence that the page shows.
func refuse(w http.ResponseWriter, status int, sentence string) {
	reply(w, status, map[string]string{"error": sentence})
}

// isJSON reports whether a request is one that no page of another site can send
// without asking first.
func isJSON(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Content-Type") == "application/json" {
		return true
	}
	refuse(w, http.StatusUnsupportedMediaType, "The Content-Type has to be application/json.")
	return false
}

// maxHandsets bounds what pages that nobody looks at any more leave behind.
const maxHandsets = 1000

func (p *page) addHandset(w http.ResponseWriter, r *http.Request) {
	if !isJSON(w, r) {
		return
	}
	browser, err := p.stack.browser.Subscribe(p.stack.vapid)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	h := &handset{rand.Text(), p.stack.google.Register(), json.RawMessage(browser.JSON()), browser}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.handsets) >= maxHandsets {
		refuse(w, http.StatusServiceUnavailable, "The demo has too many phones. Start it again.")
		return
	}
	p.handsets[h.ID] = h
	reply(w, http.StatusCreated, h)
}

// renewToken gives a phone a new registration token, as FCM does when the app is
// installed again. The phone has to tell nevisFIDO.
func (p *page) renewToken(w http.ResponseWriter, r *http.Request) {
	h := p.handset(r)
	if h == nil || !isJSON(w, r) {
		http.NotFound(w, r)
		return
	}
	token := p.stack.google.Register()
	p.mu.Lock()
	h.PushToken = token
	p.mu.Unlock()
	p.changed()
	reply(w, http.StatusOK, map[string]string{"pushToken": token})
}

func (p *page) handset(r *http.Request) *handset {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handsets[r.PathValue("id")]
}

// changed has every open page look anew.
func (p *page) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for change := range p.open {
		select {
		case change <- struct{}{}:
		default: // it has not yet looked at the one before
		}
	}
}

// event is a server-sent event.
type event struct {
	name    string
	content any
}

// serveEvents tells an open page of the state of the demo, and of what arrives
// at its phone.
func (p *page) serveEvents(w http.ResponseWriter, r *http.Request) {
	h := p.handset(r)
	if h == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	change := make(chan struct{}, 1)
	p.mu.Lock()
	p.open[change] = true
	p.mu.Unlock()
	p.changed()
	defer func() {
		p.mu.Lock()
		delete(p.open, change)
		p.mu.Unlock()
		p.changed()
	}()
	arrived := make(chan event)
	go p.webPushes(ctx, h, arrived)
	token := ""
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-arrived:
			send(w, e)
		case <-change:
			state, current := p.state(h)
			if current != token {
				go p.pushes(ctx, current, arrived)
				token = current
			}
			send(w, event{"state", state})
		}
	}
}

func send(w http.ResponseWriter, e event) {
	content, err := json.Marshal(e.content)
	if err != nil {
		panic(err) // strings and maps of them can always be encoded
	}
	_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.name, content)
	_ = http.NewResponseController(w).Flush()
}

type state struct {
	Boot     string            `json:"boot"`
	Pages    int               `json:"pages"` // that are open
	Switches map[string]string `json:"switches"`
}

func (p *page) state(h *handset) (s state, token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s = state{p.boot, len(p.open), map[string]string{}}
	for _, sw := range switches {
		s.Switches[sw.name] = cmp.Or(p.switches[sw.name], sw.positions[0].name)
	}
	return s, h.PushToken
}

// pushes hands on what FCM delivers to the phone.
func (p *page) pushes(ctx context.Context, token string, arrived chan<- event) {
	for {
		m, err := p.stack.google.Wait(ctx, token)
		if err != nil {
			return // the page is closed
		}
		deliver(ctx, arrived, event{"push", map[string]any{"notification": m.Notification, "data": m.Data}})
	}
}

// webPushes hands on what the push service delivers to the phone's browser,
// which has opened its own layer of encryption.
func (p *page) webPushes(ctx context.Context, h *handset, arrived chan<- event) {
	for {
		m, err := h.browser.Wait(ctx)
		if err != nil {
			return
		}
		deliver(ctx, arrived, event{"webpush", map[string]string{"content": string(m.Content)}})
	}
}

func deliver(ctx context.Context, arrived chan<- event, e event) {
	select {
	case arrived <- e:
	case <-ctx.Done():
	}
}
