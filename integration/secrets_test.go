package integration

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// sinks returns everything that an operator or another user of the machine
// might read: all logs at DEBUG, the metrics, the configuration.
func (s *stack) sinks() map[string]string {
	s.t.Helper()
	sinks := map[string]string{"log": logged.text()}
	for name, path := range map[string]string{"metrics": "/metrics", "configuration": "/config/"} {
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+adminAddress()+path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
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
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// spellings returns the ways in which a secret may be written: as it is, percent-
// encoded, in a JSON or Go string, in hex, and in base64, in which a secret within
// a longer text looks in three ways, as its first byte may be any of three.
func spellings(secret string) []string {
	var percent, escaped strings.Builder
	for _, b := range []byte(secret) {
		fmt.Fprintf(&percent, "%%%02X", b)
	}
	for _, unit := range utf16.Encode([]rune(secret)) {
		fmt.Fprintf(&escaped, `\u%04x`, unit)
	}
	inner := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	inJSON := func(text string) string {
		quoted, _ := json.Marshal(text) // strings can always be encoded
		return inner(string(quoted))
	}
	all := []string{
		secret, inJSON(secret), inJSON(inJSON(secret)), inner(strconv.Quote(secret)), inner(strconv.QuoteToASCII(secret)),
		strings.ReplaceAll(secret, "/", `\/`), escaped.String(),
		url.QueryEscape(secret), url.PathEscape(secret), percent.String(), strings.ToLower(percent.String()),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			// Characters that also hold bits of what comes before or after are cut off.
			text := encoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
			end := (before + len(secret)) * 8 / 6
			all = append(all, text[(before*8+5)/6:end])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// find returns where in a text a secret stands, in whichever spelling; -1 if it
// does not.
func find(text, secret string) int {
	for _, spelling := range spellings(secret) {
		if i := strings.Index(text, spelling); i >= 0 {
			return i
		}
	}
	return -1
}

func (s *stack) search(sinks map[string]string, secrets map[string]string) {
	s.t.Helper()
	for kind, secret := range secrets {
		if len(secret) < 8 {
			s.t.Errorf("%s, %q, is too short to be searched for", kind, secret)
			continue
		}
		for sink, text := range sinks {
			if i := find(text, secret); i >= 0 {
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
	if err != nil {
		t.Fatal(err)
	}
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
