package shortlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Links connects media that are too small for a long app link with that link:
// the message carries a short link with a handle, which leads to a page, and
// the page to the app link, once.
type Links struct {
	Store     Store
	Namespace string
	Paths     []string      // of the pages, such as "/oob"; "/<handle>" follows
	Timeout   time.Duration // of the store, for one visitor
	Log       *slog.Logger
}

// Errors of Shorten. Every other one means that the store is unavailable.
var (
	// ErrUnusable reports a link that a browser would not hand to an app.
	ErrUnusable = errors.New("it is not a link that opens an app")
	// ErrTooLong reports a link that is longer than a store keeps.
	ErrTooLong = errors.New("the link is too long")
)

const keptSchema = 1

// A kept link is what the store holds under the id of a handle. The content of
// the link is sealed; a message in clear is never kept.
type kept struct {
	Schema  int    `json:"schema"`
	Message string `json:"message"` // dispatchers.Message.ID, for the log
	Expires int64  `json:"expires"` // Unix time in seconds
	Link    string `json:"link"`
}

// Shorten keeps the link of a message until it expires, and returns a short one
// that leads to it: the URL of a page, base, with a handle after it. message is
// what the log shows when the link is followed.
func (l *Links) Shorten(ctx context.Context, base, link, message string, expires time.Time) (string, error) {
	if err := checkAppLink(link); err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	content, err := json.Marshal(kept{Schema: keptSchema, Message: message, Expires: expires.Unix(), Link: link})
	if err != nil {
		return "", fmt.Errorf("%w: it is not valid UTF-8", ErrUnusable)
	}
	if len(content) > MaxContent {
		return "", fmt.Errorf("%w: it has %d bytes, and %d can be kept", ErrTooLong, len(link), MaxContent)
	}
	handle := NewHandle(expires)
	id, _ := ID(l.Namespace, handle)
	if err := l.Store.Put(ctx, id, content, expires); err != nil {
		return "", err
	}
	return base + "/" + handle, nil
}

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
	if err := json.Unmarshal(content, k, json.RejectUnknownMembers(true)); err != nil || len(content) > MaxContent || k.Schema != keptSchema {
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
// log nor nevisFIDO should see. A nil *Links covers nothing.
func (l *Links) Covers(r *http.Request) bool {
	if l == nil {
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
	return slices.ContainsFunc(l.Paths, func(page string) bool {
		page = strings.ToLower(page) + "/"
		return strings.HasPrefix(folded, page) || strings.HasPrefix(cleaned, page)
	})
}

// id returns the id of the link that a request is about, and false where its
// path has no valid handle.
func (l *Links) id(r *http.Request) (id string, ok bool) {
	path := r.URL.EscapedPath()
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 || len(path)-slash-1 != HandleChars || !slices.Contains(l.Paths, path[:slash]) {
		return "", false
	}
	return ID(l.Namespace, path[slash+1:])
}

// ServeHTTP answers a request that the pages cover. Everything except POST leaves
// the link where it is: programs that follow links, to check them or ahead of
// their user, do not press buttons.
func (l *Links) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setPageHeaders(w.Header())
	id, ok := l.id(r)
	if !ok {
		l.write(w, r, "invalid", http.StatusNotFound)
		return
	}
	ask := l.Store.Get
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		ask = l.Store.Take
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	link, err := l.find(r, id, ask)
	switch {
	case errors.Is(err, ErrNotFound):
		l.write(w, r, "invalid", http.StatusNotFound)
	case err != nil:
		// The error is not left to the server, which would log the request and
		// with it the handle.
		l.Log.Error("a short link cannot be followed", slog.String("method", r.Method), slog.Any("error", err))
		w.Header().Set("Retry-After", "5")
		l.write(w, r, "unavailable", http.StatusServiceUnavailable)
	case r.Method != http.MethodPost:
		l.write(w, r, "ready", http.StatusOK)
	default:
		l.Log.Info("a short link was followed", slog.String("token", link.Message))
		w.Header().Set("Location", link.Link)
		w.WriteHeader(http.StatusSeeOther)
	}
}

func (l *Links) find(r *http.Request, id string, ask func(context.Context, string) ([]byte, error)) (*kept, error) {
	// A visitor who goes away must not leave a link that is half taken.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), l.Timeout)
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
		return nil, ErrNotFound
	}
	return link, nil
}

func (l *Links) write(w http.ResponseWriter, r *http.Request, name string, status int) {
	if err := writePage(w, r, name, status); err != nil {
		l.Log.Error("the page of a short link cannot be written", slog.Any("error", err))
		w.WriteHeader(http.StatusInternalServerError)
	}
}
