package integration

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// sinks returns everything that an operator or another user of the machine
// might read: all logs at DEBUG, the metrics, the configuration.
func (s *stack) sinks() map[string]string {
	s.t.Helper()
	sinks := map[string]string{"log": logged.text()}
	for name, path := range map[string]string{"metrics": "/metrics", "configuration": "/config/"} {
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+adminAddress()+path, nil)
		must(s.t, err)
		answer, err := s.exchange(r)
		if err != nil || answer.status != http.StatusOK || len(answer.body) == 0 {
			s.t.Fatalf("%s: %v, %s", path, err, answer)
		}
		sinks[name] = string(answer.body)
	}
	return sinks
}

// stored returns all files of the storage.
func (s *stack) stored() map[string]string {
	s.t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(s.storage, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	})
	must(s.t, err)
	return files
}

func (s *stack) search(sinks map[string]string, secrets map[string]string) {
	s.t.Helper()
	for kind, secret := range secrets {
		if len(secret) < 8 {
			s.t.Errorf("%s, %q, is too short to be searched for", kind, secret)
			continue
		}
		for sink, text := range sinks {
			if i := testservice.Find(text, secret); i >= 0 {
				s.t.Errorf("%s stands in the %s: …%.300s", kind, sink, text[max(0, i-200):])
			}
		}
	}
}

// wantNowhere checks that secrets are neither shown nor stored.
func (s *stack) wantNowhere(secrets map[string]string) {
	s.t.Helper()
	s.search(s.sinks(), secrets)
	s.search(s.stored(), secrets)
}

// logFormats returns how Caddyfile.example formats the log of its sites, and
// the default log, which gets everything else, such as errors; "" where it
// leaves that to Caddy.
func logFormats(t *testing.T) (site, other string) {
	t.Helper()
	content, err := os.ReadFile("../Caddyfile.example")
	must(t, err)
	example := string(content)
	snippet := regexp.MustCompile(`(?ms)^\((\w+)\) \{\n(.*?)^\}\n`)
	for _, m := range snippet.FindAllStringSubmatch(example, -1) {
		example = strings.ReplaceAll(strings.Replace(example, m[0], "", 1), "import "+m[1]+"\n", strings.ReplaceAll(m[2], "\t", "\t\t"))
	}
	global, sites, _ := strings.Cut(example, "\n}\n")
	inLog := regexp.MustCompile(`(?ms)^\tlog \{\n(.*?)^\t\}\n`)
	if m := inLog.FindStringSubmatch(sites); m != nil {
		site = m[1]
	}
	if m := inLog.FindStringSubmatch(global + "\n"); m != nil {
		other = m[1]
	}
	if site == "" {
		t.Fatal("the sites of Caddyfile.example have no log")
	}
	return site, other
}
