package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

var fromHeader = regexp.MustCompile(`address\s+"?\{http\.request\.header\.([A-Za-z0-9-]+)\}`)

// documentedHeaders are all from which an example takes an address.
func documentedHeaders(t *testing.T) (headers []string) {
	t.Helper()
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../docs/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(append(files, more...), "../README.md", "../Caddyfile.example", "../cmd/demo/Caddyfile") {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		for _, m := range fromHeader.FindAllStringSubmatch(readFile(t, file), -1) {
			headers = append(headers, m[1])
		}
	}
	if len(headers) < 4 {
		t.Fatalf("only %q were found", headers)
	}
	return headers
}

// The log filter of the example leaves nothing of credentials, names and
// addresses in the access log and in the errors.
func TestExampleFiltersLogs(t *testing.T) {
	example := readFile(t, "../Caddyfile.example")
	start, end := strings.Index(example, "(masked)"), strings.Index(example, "\n}\n\n{")
	if start < 0 || end < start || strings.Count(example, "import masked") != 2 {
		t.Fatal("the example has another form than expected")
	}
	address, path := testservice.FreeAddress(t), filepath.Join(t.TempDir(), "log")
	log := "log {\n\t\toutput file " + path + "\n\t\timport masked\n\t}\n"
	config := adapt(t, example[start:end+3]+fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\t%s}\nhttp://%s {\n\t%s\treverse_proxy 127.0.0.1:1\n}\n", log, address, log))
	load(t, config)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	sendTo := func(path, header string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			r.Header.Set(header, "hunter2-"+header)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	send := func(query, header string) { sendTo("/status?a=shown"+query, header) }
	for _, header := range append(documentedHeaders(t), "Sectoken", "X-Token", "Device-Signature", "Authorization") {
		send("", header)
		send("", strings.ToLower(header))
	}
	for _, member := range []string{"username", "Username", "USERNAME", "userId", "extId", "loginId", "dispatchTokenResponse", "%75sername"} {
		send("&"+member+"=hunter2-"+member+"&b=shown", "")
	}
	for _, path := range []string{"/nevisfido/token/dispatch/targets/", "/nevisfido/token/dispatch/Targets//", "/nevisfido/devices/credentials/"} {
		for _, end := range []string{"", "/", "/?c=shown", ";v=1"} {
			sendTo(path+"hunter2-%2F+1"+end, "")
		}
	}
	send("&last=one", "")
	if !appears(path, "last=one", 5*time.Second) {
		t.Fatal("the requests are not logged")
	}
	content := readFile(t, path)
	for line := range strings.Lines(content) {
		if strings.Contains(line, "hunter2") {
			t.Errorf("logged: %s", line)
		}
	}
	if !strings.Contains(content, "b=shown") || !strings.Contains(content, "c=shown") {
		t.Error("what is not secret is masked as well")
	}
}
