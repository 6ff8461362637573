package shortlink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

const page = "https://fido.example.com/oob"

var appLink = nevisfido.Link("myapp://open", nevisfido.NewContent("t", "https://fido.example.com/redeem").Envelope())

// newLinks returns Links of a store, and their log.
func newLinks(store shortlink.Store) (*shortlink.Links, *bytes.Buffer) {
	log := new(bytes.Buffer)
	return &shortlink.Links{Store: store, Paths: []string{"/oob"}, Timeout: time.Minute, Log: slog.New(slog.NewTextHandler(log, nil))}, log
}

// shorten returns the path of a short link.
func shorten(t *testing.T, l *shortlink.Links, link string, expires time.Time) string {
	t.Helper()
	short, err := l.Shorten(t.Context(), page, link, "message-id", expires)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(short, "https://fido.example.com")
}

func soon() time.Time { return time.Now().Add(time.Minute) }

func visit(t *testing.T, l *shortlink.Links, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	if !l.Covers(r) {
		t.Fatalf("%s is not covered", path)
	}
	l.ServeHTTP(w, r)
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %s is %q", method, name, got)
		}
	}
	if method == http.MethodHead && w.Body.Len() != 0 {
		t.Error("HEAD has a body")
	}
	return w
}

func TestOnlyAButtonOpensTheApp(t *testing.T) {
	store := new(kvtest.Memory)
	l, log := newLinks(store)
	path := shorten(t, l, appLink, soon())
	for id, content := range store.Links() {
		if handle := path[len("/oob/"):]; strings.Contains(id+string(content), handle) {
			t.Errorf("the store shows the handle: %s: %s", id, content)
		}
	}
	// What checks links, or opens them ahead of the user, changes nothing.
	for _, method := range []string{"GET", "HEAD", "GET", "HEAD", "GET"} {
		w := visit(t, l, method, path)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String()+w.Header().Get("Location"), "myapp") {
			t.Errorf("%s: status %d, %s", method, w.Code, w.Body)
		}
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "PROPFIND"} {
		w := visit(t, l, method, path)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: status %d, %v", method, w.Code, w.Header())
		}
	}
	if w := visit(t, l, "POST", path); w.Code != http.StatusSeeOther || w.Header().Get("Location") != appLink {
		t.Errorf("POST: status %d, Location %q", w.Code, w.Header().Get("Location"))
	}
	if len(store.Links()) != 0 || !strings.Contains(log.String(), `msg="a short link was followed" token=message-id`) {
		t.Errorf("%d links are kept, the log says %s", len(store.Links()), log)
	}
	for _, method := range []string{"POST", "GET", "HEAD"} {
		if w := visit(t, l, method, path); w.Code != http.StatusNotFound || w.Header().Get("Location") != "" {
			t.Errorf("%s once more: status %d", method, w.Code)
		}
	}
}

func TestALinkIsFollowedOnce(t *testing.T) {
	l, _ := newLinks(new(kvtest.Memory))
	path := shorten(t, l, appLink, soon())
	var followed, gone atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			w := httptest.NewRecorder()
			l.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", path, nil))
			switch w.Code {
			case http.StatusSeeOther:
				followed.Add(1)
			case http.StatusNotFound:
				gone.Add(1)
			}
		})
	}
	all.Wait()
	if followed.Load() != 1 || gone.Load() != 15 {
		t.Errorf("followed %d times, refused %d times", followed.Load(), gone.Load())
	}
}

// Whoever guesses learns nothing: what does not exist, what has expired and
// what is of another namespace look the same.
func TestInvalidLinks(t *testing.T) {
	store := new(kvtest.Memory)
	l, _ := newLinks(store)
	other, _ := newLinks(store)
	other.Namespace = "tenant"
	unknown := "/oob/" + shortlink.NewHandle(soon())
	for name, path := range map[string]string{
		"expired": shorten(t, l, appLink, time.Now()), "of another namespace": shorten(t, other, appLink, soon()),
	} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			one, two := visit(t, l, method, path), visit(t, l, method, unknown)
			if one.Code != http.StatusNotFound || two.Code != one.Code {
				t.Errorf("%s: %s %d, unknown %d", method, name, one.Code, two.Code)
			}
			if !bytes.Equal(one.Body.Bytes(), two.Body.Bytes()) || len(one.Header()) != len(two.Header()) {
				t.Errorf("%s: the answers differ", method)
			}
			if strings.Contains(one.Body.String(), "<form") {
				t.Errorf("%s: there is a button", method)
			}
		}
	}
}

func TestStoreTrouble(t *testing.T) {
	for op, method := range map[string]string{"get": "GET", "take": "POST"} {
		store := new(kvtest.Memory)
		l, log := newLinks(store)
		path := shorten(t, l, appLink, soon())
		store.SetFault(func(_ context.Context, failing kvtest.Op) error {
			if string(failing) == op {
				return errors.New("connection refused")
			}
			return nil
		})
		w := visit(t, l, method, path)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Location") != "" {
			t.Errorf("%s: status %d, %v", method, w.Code, w.Header())
		}
		if text := log.String(); !strings.Contains(text, "connection refused") || strings.Contains(text, path[len("/oob/"):]) {
			t.Errorf("the log says %s", text)
		}
		store.SetFault(nil)
		if w := visit(t, l, "POST", path); w.Code != http.StatusSeeOther {
			t.Errorf("%s: afterwards status %d", method, w.Code)
		}
	}
}

// fixed is a store that holds the same under every id.
type fixed []byte

func (fixed) Put(context.Context, string, []byte, time.Time) error { return nil }
func (f fixed) Get(context.Context, string) ([]byte, error)        { return f, nil }
func (f fixed) Take(context.Context, string) ([]byte, error)       { return f, nil }

func TestDamagedRecords(t *testing.T) {
	record := func(schema int, link string) []byte {
		text, err := json.Marshal(map[string]any{"schema": schema, "expires": soon().Unix(), "link": link})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, content := range map[string][]byte{
		"empty": {}, "not JSON": []byte("{"), "null": []byte("null"), "array": []byte("[]"),
		"newer release":  record(2, appLink),
		"unknown member": []byte(`{"schema":1,"expires":9999999999,"link":"` + appLink + `","url":"x"}`),
		"twice":          []byte(`{"schema":1,"expires":9999999999,"link":"x","link":"` + appLink + `"}`),
		"no link":        record(1, ""),
		"another link":   record(1, "https://evil.example/"),
		"script":         record(1, strings.Replace(appLink, "myapp:", "javascript:", 1)),
		"header":         record(1, "https://a\r\nSet-Cookie: b"+appLink),
		"too long":       append(record(1, appLink), bytes.Repeat([]byte(" "), shortlink.MaxContent)...),
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := newLinks(fixed(content))
			for _, method := range []string{"GET", "POST"} {
				w := visit(t, l, method, "/oob/"+shortlink.NewHandle(time.Now()))
				if w.Code != http.StatusServiceUnavailable || w.Header().Get("Location") != "" {
					t.Errorf("%s: status %d, Location %q", method, w.Code, w.Header().Get("Location"))
				}
			}
		})
	}
}

// Only one spelling of a short link leads anywhere, and the others are covered
// too: they may hold a handle.
func TestOtherSpellings(t *testing.T) {
	handle := shortlink.NewHandle(soon())
	for _, path := range []string{
		"/oob/" + handle + "/", "/oob/" + handle[1:], "/oob/" + handle + "A", "/oob//" + handle, "//oob/" + handle,
		"/oob/x/" + handle, "/OOB/" + handle, "/oob/" + handle[:23] + ".", "/%6fob/" + handle, "/oob%2f" + handle,
		"/oob/%" + "41" + handle[1:], "/oob/" + handle + ";a=b", "/oob/" + handle + "%00", "/oob/..%2f" + handle,
		"/x/..%2foob/" + handle, "/oob%5c" + handle, "/./oob/" + handle, "/oob;x=1/" + handle, "/oob%20/" + handle, "/oob./" + handle,
	} {
		t.Run(path, func(t *testing.T) {
			store := new(kvtest.Memory)
			store.SetFault(func(_ context.Context, op kvtest.Op) error { t.Errorf("the store was asked: %s", op); return nil })
			l, _ := newLinks(store)
			for _, method := range []string{"GET", "POST"} {
				if w := visit(t, l, method, path); w.Code != http.StatusNotFound {
					t.Errorf("%s: status %d", method, w.Code)
				}
			}
		})
	}
	for _, path := range []string{"/oob", "/oob/", "/" + handle, "/oob2/" + handle, "/x/oob/" + handle, "/oob." + handle} {
		l, _ := newLinks(nil)
		if r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil); l.Covers(r) || (*shortlink.Links)(nil).Covers(r) {
			t.Errorf("%s is covered", path)
		}
	}
}

// A visitor who goes away while the link is taken does not lose it half way.
func TestVisitorGoesAway(t *testing.T) {
	l, _ := newLinks(new(kvtest.Memory))
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "POST", shorten(t, l, appLink, soon()), nil)
	cancel()
	w := httptest.NewRecorder()
	if l.ServeHTTP(w, r); w.Code != http.StatusSeeOther {
		t.Errorf("status %d", w.Code)
	}
}

func TestShortenRefuses(t *testing.T) {
	store := new(kvtest.Memory)
	l, _ := newLinks(store)
	for link, want := range map[string]error{
		"": shortlink.ErrUnusable, "https://example.com/": shortlink.ErrUnusable,
		strings.Replace(appLink, "myapp:", "javascript:", 1):                                  shortlink.ErrUnusable,
		strings.Replace(appLink, "?", "?a="+strings.Repeat("a", shortlink.MaxContent)+"&", 1): shortlink.ErrTooLong,
	} {
		if _, err := l.Shorten(t.Context(), page, link, "id", soon()); !errors.Is(err, want) {
			t.Errorf("%.40s: %v", link, err)
		}
	}
	store.SetFault(func(context.Context, kvtest.Op) error { return errors.New("disk full") })
	_, err := l.Shorten(t.Context(), page, appLink, "id", soon())
	if err == nil || errors.Is(err, shortlink.ErrUnusable) || errors.Is(err, shortlink.ErrTooLong) || len(store.Links()) != 0 {
		t.Errorf("with the store down: %v", err)
	}
}

// Interface guard
var _ shortlink.Store = fixed(nil)
