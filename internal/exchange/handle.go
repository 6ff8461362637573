package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Handles stands between long app links and media that are too small for them:
// the message carries a short link with a handle, which leads to a page, and
// the page to the app link, once.
type Handles struct {
	Store     shortlink.Store
	Namespace string
	Paths     []string // of the pages, such as "/oob"; "/<handle>" follows
}

const keptSchema = 1

// A kept link is what the store holds under the id of a handle. The content of
// the link is sealed; a message in clear is never kept.
type kept struct {
	Schema  int    `json:"schema"`
	Message string `json:"message"` // dispatchers.Message.ID, for the log
	Expires int64  `json:"expires"` // Unix time in seconds
	Link    string `json:"link"`
}

// shorten puts a short link into a message for a channel that wants one. A
// message that its policy lets leave in clear keeps its own link.
func (d *delivery) shorten(ctx context.Context, c *Channel, m *dispatchers.Message) *dispatchers.Error {
	if c.Handle == "" || m.Envelope.ContentType != nevisfido.ContentTypeSealed {
		return nil
	}
	if m.Link == "" {
		return dispatchers.Fail(dispatchers.Broken, "base_url", "nevisFIDO's answer carries no link: configure base_url of dispatcher %q", c.Name)
	}
	if err := checkAppLink(m.Link); err != nil {
		return dispatchers.Fail(dispatchers.Broken, "base_url", "the base URL of nevisFIDO's link cannot be used: %w", err)
	}
	content, err := json.Marshal(kept{Schema: keptSchema, Message: m.ID, Expires: m.Expires.Unix(), Link: m.Link})
	if err != nil {
		return dispatchers.Fail(dispatchers.Broken, "base_url", "the link is not valid UTF-8")
	}
	if len(content) > shortlink.MaxContent {
		return dispatchers.Fail(dispatchers.Refused, "link_too_long", "the link has %d bytes; at most %d can be kept for a short one", len(m.Link), shortlink.MaxContent)
	}
	handle := shortlink.NewHandle(m.Expires)
	id, _ := shortlink.ID(d.x.Handles.Namespace, handle)
	if err := d.x.Handles.Store.Put(ctx, id, content, m.Expires); err != nil {
		return dispatchers.Fail(dispatchers.Broken, "store_unavailable", "keeping the link that a short one leads to: %w", err)
	}
	m.Link, m.LinkConfigured, m.LinkShort = c.Handle+"/"+handle, true, true
	return nil
}

// checkAppLink refuses links that a browser would not hand to an app.
func checkAppLink(link string) error {
	base, _, err := nevisfido.ParseLink(link)
	if err != nil {
		return err
	}
	return nevisfido.ValidBaseURL(base)
}

// parseKept reads what the store holds. The error never quotes it.
func parseKept(content []byte) (*kept, error) {
	k := new(kept)
	if err := json.Unmarshal(content, k, json.RejectUnknownMembers(true)); err != nil || len(content) > shortlink.MaxContent || k.Schema != keptSchema {
		return nil, errors.New("the record is damaged, or of a newer release")
	}
	if checkAppLink(k.Link) != nil {
		return nil, errors.New("the record holds no link to the app")
	}
	return k, nil
}

// Covers reports whether a request is for one of the pages, or for something
// below them in a reading that some server might have of its path: the paths of
// the pages are theirs alone, and what follows may be a handle, which neither a
// log nor nevisFIDO should see.
func (h *Handles) Covers(r *http.Request) bool {
	if h == nil {
		return false
	}
	read := strings.ToLower(strings.ReplaceAll(r.URL.Path, "\\", "/"))
	segments := strings.FieldsFunc(read, func(c rune) bool { return c == '/' })
	for i, segment := range segments {
		segment, _, _ = strings.Cut(segment, ";")
		if segment != "." && segment != ".." {
			segment = strings.TrimRight(segment, ". \t")
		}
		segments[i] = segment
	}
	folded := "/" + strings.Join(segments, "/")
	cleaned := path.Clean(folded)
	return slices.ContainsFunc(h.Paths, func(page string) bool {
		page = strings.ToLower(page) + "/"
		return strings.HasPrefix(folded, page) || strings.HasPrefix(cleaned, page)
	})
}

// id returns the id of the claim that a request is about, and false where its
// path has no valid handle.
func (h *Handles) id(r *http.Request) (id string, ok bool) {
	path := r.URL.EscapedPath()
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 || len(path)-slash-1 != shortlink.HandleChars || !slices.Contains(h.Paths, path[:slash]) {
		return "", false
	}
	return shortlink.ID(h.Namespace, path[slash+1:])
}

// claim answers a request that the pages cover. Everything but POST leaves the link
// where it is: programs that follow links, to check them or ahead of their
// user, do not press buttons.
func (x *Exchange) claim(w http.ResponseWriter, r *http.Request) error {
	id, ok := x.Handles.id(r)
	if !ok {
		return pageInvalid.write(w, r, http.StatusNotFound)
	}
	ask := x.Handles.Store.Get
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		ask = x.Handles.Store.Take
	default:
		setPageHeaders(w.Header())
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	link, err := x.askFor(r, id, ask)
	switch {
	case errors.Is(err, shortlink.ErrNotFound):
		return pageInvalid.write(w, r, http.StatusNotFound)
	case err != nil:
		// Not left to the server, which would log the request and with it
		// the handle.
		x.Log.Error("a short link cannot be followed", zap.String("method", r.Method), zap.Error(err))
		w.Header().Set("Retry-After", "5")
		return pageUnavailable.write(w, r, http.StatusServiceUnavailable)
	case r.Method != http.MethodPost:
		return pageReady.write(w, r, http.StatusOK)
	}
	x.Log.Info("a short link was followed", zap.String("token", link.Message))
	setPageHeaders(w.Header())
	w.Header().Set("Location", link.Link)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (x *Exchange) askFor(r *http.Request, id string, ask func(context.Context, string) ([]byte, error)) (*kept, error) {
	ctx, cancel := x.detached(r) // half a Take would be the worst
	defer cancel()
	content, err := ask(ctx, id)
	if err != nil {
		return nil, err
	}
	link, err := parseKept(content)
	if err != nil {
		return nil, fmt.Errorf("reading the link that a short one leads to: %w", err)
	}
	if link.Expires <= time.Now().Unix() {
		return nil, shortlink.ErrNotFound
	}
	return link, nil
}
