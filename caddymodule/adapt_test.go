package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddytest"

	_ "github.com/oob-dispatch/oob-dispatch/internal/guests"
)

var update = flag.Bool("update", false, "write the JSON of testdata again")

// The files hold a Caddyfile, a line of dashes, and the JSON that it stands for.
func TestCaddyfileAdaptsToJSON(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(content), "----------\n")
			if *update {
				var indented bytes.Buffer
				if err := json.Indent(&indented, adapt(t, input), "", "\t"); err != nil {
					t.Fatal(err)
				}
				want = indented.String()
				writeFile(t, file, input+"----------\n"+want+"\n")
			}
			if !caddytest.CompareAdapt(t, file, input, "caddyfile", strings.TrimSpace(want)) {
				t.Error("the JSON is another one")
			}
		})
	}
}

// adapt returns the JSON of a Caddyfile.
func adapt(t *testing.T, text string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, text)
	}
	return config
}

func inSite(options string) string {
	return ":8881 {\n\toob_dispatch {\n" + options + "\n\t}\n}\n"
}

func inDispatcher(kind, options string) string {
	return inSite("\t\tdispatcher d " + kind + " {\n" + options + "\n\t\t}")
}

const oneLink = "\n\t\tdispatcher link link"

// A proxy's URL may hold a password, and so do other options; no error shows it.
func TestRefusalsQuoteNoSecrets(t *testing.T) {
	for line, kind := range map[string]string{
		"proxy http://user:hunter2@proxy extra": "fcm", "proxy hunter2": "fcm", "client_cert /a/hunter2": "fcm", "credentials hunter2 hunter2": "fcm",
		"auth bank hunter2 hunter3": "smtp", "auth a hunter2\nauth a hunter2": "smtp", "secret hunter2": "webhook", "secret hunter2 b": "webhook",
	} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(inDispatcher(kind, line)), nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// FuzzCaddyfile reads blocks of oob_dispatch. One is an error that says something, or
// a configuration: always the same, and the one that its JSON is read as.
func FuzzCaddyfile(f *testing.F) {
	var documents []string
	for _, pattern := range []string{"../README.md", "../docs/*.md", "../Caddyfile.example", "testdata/*.caddyfiletest"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		documents = append(documents, files...)
	}
	blocks := 0
	for _, document := range documents {
		content, err := os.ReadFile(document)
		if err != nil {
			f.Fatal(err)
		}
		for _, block := range blocksIn(string(content)) {
			f.Add(block)
			blocks++
		}
	}
	if blocks < 20 {
		f.Fatalf("%d blocks are in the documents", blocks)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := readBlock(text)
		second, again := readBlock(text)
		if err != nil {
			if again == nil || err.Error() != again.Error() || err.Error() == "" {
				t.Errorf("the errors %v and %v", err, again)
			}
			return
		}
		config, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := json.Marshal(second); err != nil || again != nil || !bytes.Equal(config, same) {
			t.Errorf("two configurations, %v:\n%s\n%s", errors.Join(err, again), config, same)
		}
		read := new(Handler)
		strict := json.NewDecoder(bytes.NewReader(config))
		strict.DisallowUnknownFields()
		if err := strict.Decode(read); err != nil {
			t.Fatalf("%v, of %s", err, config)
		}
		if same, err := json.Marshal(read); err != nil || !bytes.Equal(config, same) {
			t.Errorf("the JSON becomes another, %v:\n%s\n%s", err, config, same)
		}
	})
}

// blocksIn returns those of oob_dispatch in a document.
func blocksIn(document string) (blocks []string) {
	for {
		_, rest, found := strings.Cut(document, "oob_dispatch {\n")
		if !found {
			return blocks
		}
		end, depth := 0, 1
		for line := range strings.Lines(rest) {
			end += len(line)
			switch line = strings.TrimSpace(line); {
			case strings.HasSuffix(line, " {"):
				depth++
			case line == "}":
				depth--
			}
			if depth == 0 {
				break
			}
		}
		blocks, document = append(blocks, "oob_dispatch {\n"+rest[:end]), rest[end:]
	}
}

func readBlock(text string) (*Handler, error) {
	tokens, err := caddyfile.Tokenize([]byte(text), "Caddyfile")
	if err != nil {
		return nil, err
	}
	d, h := caddyfile.NewDispenser(tokens), new(Handler)
	return h, h.UnmarshalCaddyfile(d)
}
