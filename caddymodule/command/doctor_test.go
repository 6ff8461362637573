package command

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// What cannot be examined is said, and what to do about it; nothing secret is.
func TestDoctorCannotBegin(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		writeFile(t, path, content)
		return path
	}
	server := func(f fault.Fault) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, http.NotFoundHandler()) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	fido, err := nevis.Start(nevis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fido.Close)
	for name, tt := range map[string]struct {
		args  []string
		words []string
	}{
		"nothing to examine":              {nil, []string{"--upstream", "--shapes"}},
		"nobody there":                    {[]string{"--upstream", closed.URL}, []string{"refused", "firewalls"}},
		"an unknown authority":            {[]string{"--upstream", secure.URL}, []string{"certificate", "--ca"}},
		"no TLS there":                    {[]string{"--upstream", strings.Replace(closed.URL, "http:", "https:", 1)}, []string{"refused"}},
		"clear text in place of TLS":      {[]string{"--upstream", "https://" + fido.Addr()}, []string{"does not speak TLS"}},
		"TLS in place of clear text":      {[]string{"--upstream", strings.Replace(secure.URL, "https:", "http:", 1)}, []string{"check https"}},
		"400 to everything":               {[]string{"--upstream", server(fault.Answer(400, nil, "canary"))}, []string{"not nevisFIDO", "https://"}},
		"a web server":                    {[]string{"--upstream", server(fault.HTML(200))}, []string{"not nevisFIDO", "200", "--base-path"}},
		"a login page":                    {[]string{"--upstream", server(fault.Redirect("https://canary.example.com/"))}, []string{"not nevisFIDO", "302"}},
		"a proxy without nevisFIDO":       {[]string{"--upstream", server(fault.HTML(502))}, []string{"not nevisFIDO", "502"}},
		"another base path":               {[]string{"--upstream", fido.URL(), "--base-path", "/fido"}, []string{"not nevisFIDO", "404", "/fido"}},
		"an answer that breaks off":       {[]string{"--upstream", server(fault.Reset)}, []string{"broke", "nothing was found out"}},
		"a path in the URL":               {[]string{"--upstream", fido.URL() + "/nevisfido"}, []string{"--base-path"}},
		"no URL":                          {[]string{"--upstream", "nevisfido"}, []string{"--upstream", "URL"}},
		"a password in the URL":           {[]string{"--upstream", "https://a:canary@localhost"}, []string{"--upstream", "user"}},
		"a SecToken in clear":             {[]string{"--upstream", "http://fido.example.com", "--header-file", file("h", "Authorization: Basic canary")}, []string{"https"}},
		"a header file without a name":    {[]string{"--upstream", fido.URL(), "--header-file", file("b", "canary")}, []string{"--header-file", "one header a line"}},
		"no such header file":             {[]string{"--upstream", fido.URL(), "--header-file", filepath.Join(folder, "none")}, []string{"--header-file", "none"}},
		"a certificate without its key":   {[]string{"--upstream", fido.URL(), "--client-cert", file("c.pem", "")}, []string{"--client-key"}},
		"a ca that is none":               {[]string{"--upstream", fido.URL(), "--ca", file("ca.pem", "canary")}, []string{"ca", "PEM"}},
		"no such file of shapes":          {[]string{"--shapes", filepath.Join(folder, "none")}, []string{"none", "no such file"}},
		"a file of something else":        {[]string{"--shapes", file("other.json", `{"canary":1}`)}, []string{"other.json", "option shapes"}},
		"a folder in place of the file":   {[]string{"--shapes", folder}, []string{folder}},
		"a file of shapes that is broken": {[]string{"--shapes", file("half.json", `{"version":1,"messages":{`)}, []string{"half.json", "option shapes"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := caddyOOB(t, "", append([]string{"doctor"}, tt.args...)...)
			if got.err == nil || got.out != "" {
				t.Fatalf("%v\n%s", got.err, got.out)
			}
			for _, word := range tt.words {
				if !strings.Contains(got.err.Error(), word) {
					t.Errorf("%q lacks %q", got.err, word)
				}
			}
			if strings.Contains(got.text(), "canary") {
				t.Errorf("%s", got.text())
			}
		})
	}
}

// Over TLS with a client's certificate, and without a login: what is refused is
// not seen, and that is told.
func TestDoctorOverTLS(t *testing.T) {
	fido, err := nevis.Start(nevis.Options{Authorization: "Bearer x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fido.Close)
	server := httptest.NewUnstartedServer(fido)
	pair, certificate, err := double.NewCertificate(double.Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	private, err := double.PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem") // the client's is that of the server
	writeFile(t, cert, string(certificate))
	writeFile(t, key, string(private))

	args := []string{"doctor", "--upstream", server.URL, "--ca", cert}
	if got := caddyOOB(t, "", args...); got.err == nil || !strings.Contains(got.err.Error(), "--client-cert") {
		t.Errorf("without a certificate: %v", got.err)
	}
	got := caddyOOB(t, "", append(args, "--client-cert", cert, "--client-key", key, "--json")...)
	if got.err != nil || !strings.Contains(got.errOut, "--header-file") {
		t.Fatal(got.text())
	}
	var report struct {
		Questions []struct {
			Question string
			Status   int
		}
		Assumptions []struct{ ID, Verdict string }
	}
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || len(report.Questions) == 0 || len(report.Assumptions) == 0 {
		t.Fatalf("%v: %s", err, got.out)
	}
	for _, a := range report.Assumptions {
		if want := map[bool]string{true: "holds", false: "not_seen"}[a.ID == "A1"]; a.Verdict != want {
			t.Errorf("%s: %s, want %s", a.ID, a.Verdict, want)
		}
	}
}
