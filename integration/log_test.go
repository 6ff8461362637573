package integration

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(memoryWriter{}) }

// logged is everything that Caddy logged since the last stack was started.
var logged memory

type memory struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (m *memory) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buf.Write(p)
}

// Close implements io.WriteCloser.
func (*memory) Close() error { return nil }

func (m *memory) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buf.Reset()
}

func (m *memory) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buf.String()
}

// lines returns the lines that hold all of the words.
func (m *memory) lines(words ...string) []string {
	return slices.Collect(func(yield func(string) bool) {
		for line := range strings.Lines(m.text()) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) && !yield(line) {
				return
			}
		}
	})
}

// memoryWriter is a log output that keeps everything for the test.
type memoryWriter struct{}

// CaddyModule returns the Caddy module information.
func (memoryWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.writers.oob_test_memory",
		New: func() caddy.Module { return new(memoryWriter) },
	}
}

func (memoryWriter) String() string                      { return "memory" }
func (memoryWriter) WriterKey() string                   { return "oob_test_memory" }
func (memoryWriter) OpenWriter() (io.WriteCloser, error) { return &logged, nil }
func (memoryWriter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

var (
	_ caddy.WriterOpener    = memoryWriter{}
	_ caddyfile.Unmarshaler = memoryWriter{}
)
