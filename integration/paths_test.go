package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// What may become of a request.
const (
	handled = "handled" // by the module, on its way to nevisFIDO
	refused = "refused" // with 400, before nevisFIDO
	ignored = "ignored" // nevisFIDO does not take it for the call either
)

// variants are ways to write a path, and what has to become of it.
var variants = []struct {
	name  string
	write func(path string) string
	want  string
}{
	{"as documented", func(p string) string { return p }, handled},
	{"trailing slash", func(p string) string { return p + "/" }, handled},
	{"two trailing slashes", func(p string) string { return p + "//" }, handled},
	{"query", func(p string) string { return p + "?a=/../b" }, handled},
	{"empty query", func(p string) string { return p + "?" }, handled},
	{"repeated slash", replace("/token", "//token"), handled},
	{"many slashes", replace("/dispatch", "////dispatch"), handled},
	{"encoded letter", replace("dispatch", "%64ispatch"), handled},
	{"encoded letters", replace("token", "%74%6F%6b%65%6E"), handled},
	{"parameter at the end", func(p string) string { return p + ";x=1" }, handled},
	{"empty parameter", func(p string) string { return p + ";" }, handled},
	{"parameter in the middle", replace("/token", "/token;jsessionid=1"), handled},
	{"parameter at the base", replace("/nevisfido", "/nevisfido;a"), handled},

	{"two parameters", replace("/nevisfido", "/nevisfido;a;b"), refused},
	{"dot segment", replace("/token", "/./token"), refused},
	{"dot at the end", func(p string) string { return p + "/." }, refused},
	{"detour", replace("/token", "/x/../token"), refused},
	{"detour from outside", func(p string) string { return "/elsewhere/.." + p }, refused},
	{"above the root", func(p string) string { return "/.." + p }, refused},
	{"encoded dot", replace("/token", "/%2e/token"), refused},
	{"encoded detour", replace("/token", "/x/%2E%2e/token"), refused},
	{"detour with parameter", replace("/token", "/x/..;/token"), refused},
	{"encoded slash", replace("/dispatch", "%2fdispatch"), refused},
	{"encoded slash, upper case", replace("/dispatch", "%2Fdispatch"), refused},
	{"backslash", replace("/dispatch", "\\dispatch"), refused},
	{"encoded backslash", replace("/dispatch", "%5Cdispatch"), refused},
	{"encoded twice", replace("dispatch", "%2564ispatch"), refused},
	{"slash encoded twice", replace("/dispatch", "%252fdispatch"), refused},
	{"upper case", replace("token", "TOKEN"), refused},
	{"one other letter", replace("dispatch", "disPatch"), refused},
	{"other case at the base", replace("nevisfido", "nevisFIDO"), refused},
	{"Kelvin sign", replace("token", "to%E2%84%AAen"), refused},
	{"NUL", replace("dispatch", "dispatch%00"), refused},
	{"dot after a segment", replace("dispatch", "dispatch."), refused},
	{"space after a segment", replace("dispatch", "dispatch%20"), refused},
	{"encoded semicolon", replace("token", "token%3bx"), refused},
	{"suffix", func(p string) string { return p + ".json" }, refused},
	{"encoded suffix", func(p string) string { return p + "%2exml" }, refused},

	{"other segment", replace("token", "tokens"), ignored},
	{"other base", replace("nevisfido", "nevis"), ignored},
	{"encoded question mark", replace("dispatch", "dispatch%3f"), refused},
	{"encoded number sign", replace("dispatch", "dispatch%23"), refused},
	{"dotless i", replace("dispatch", "d%C4%B1spatch"), refused},
	{"full-width slash", replace("/dispatch", "%EF%BC%8Fdispatch"), ignored},
	{"overlong slash", replace("/dispatch", "%C0%AFdispatch"), ignored},
}

func replace(old, repl string) func(string) string {
	return func(path string) string { return strings.Replace(path, old, repl, 1) }
}

// Nothing gets round the module: whatever nevisFIDO takes for one of its calls
// was either handled or refused, however the path is written. The simulated
// nevisFIDO reads paths as leniently as servlet containers do.
func TestPathMatrix(t *testing.T) {
	const authorization = "Basic amVmZjpzZWNyZXQ="
	s := start(t, options{nevis: nevis.Options{Authorization: authorization}})
	p := s.registerAs(device.Options{Header: http.Header{"Authorization": {authorization}}}, device.Registration{})
	calls := []struct{ method, path, media string }{
		{"POST", "/nevisfido/token/dispatch/authentication", jsonType},
		{"POST", "/nevisfido/token/dispatch/targets", jsonType},
		{"PATCH", "/nevisfido/token/dispatch/targets/" + p.TargetID(), "application/jose"},
		{"DELETE", "/nevisfido/token/dispatch/targets/" + p.TargetID(), ""},
	}
	// None of the requests is authorized: nothing changes, but nevisFIDO
	// answers a call of its own with another status than 404.
	ways := map[string]func(method, path, media, body string) int{"HTTP/1.1": s.statusOf1, "HTTP/2": s.statusOf2}
	for protocol, statusOf := range ways {
		for _, c := range calls {
			for _, v := range variants {
				if protocol == "HTTP/2" && strings.Contains(v.write(c.path), "\\") {
					continue // Go's client does not send it
				}
				t.Run(fmt.Sprintf("%s %s %s %s", protocol, c.method, c.path[:33], v.name), func(t *testing.T) {
					path := v.write(c.path)
					before := len(s.nevis.Requests())
					status := statusOf(c.method, path, c.media, request("authentication", "app-link", p.TargetID()))
					arrived := s.nevis.Requests()[before:]
					got := ""
					switch {
					case len(arrived) == 0 && status == http.StatusBadRequest:
						got = refused
					case len(arrived) == 1 && arrived[0].URI != path:
						t.Errorf("nevisFIDO got the path %s, sent was %s", arrived[0].URI, path)
					case len(arrived) == 1 && arrived[0].Header.Get("Accept-Encoding") == "identity":
						got = handled
					case len(arrived) == 1 && status == http.StatusNotFound:
						got = ignored
					}
					if got != v.want {
						t.Errorf("%s: status %d, %d requests at nevisFIDO: %q, want %q", path, status, len(arrived), got, v.want)
					}
				})
			}
		}
	}
}

func (s *stack) statusOf1(method, path, media, body string) int {
	s.t.Helper()
	return parsed(s.t, method, s.raw(http1(method, path, contentType(media), body))).status
}

func contentType(media string) string {
	if media == "" {
		return ""
	}
	return "Content-Type: " + media + "\n"
}

// overHTTP2 sends a path as it stands.
func (s *stack) overHTTP2(method, path, media, body string) (reply, error) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols, DisableCompression: true, ResponseHeaderTimeout: patience,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	r := &http.Request{
		Method: method, Host: s.address, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		URL: &url.URL{Scheme: "http", Host: s.address, Opaque: "//" + s.address + path},
	}
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, content, nil}, err
}

func (s *stack) statusOf2(method, path, media, body string) int {
	s.t.Helper()
	r, err := s.overHTTP2(method, path, media, body)
	must(s.t, err)
	return r.status
}

// The request target may be a whole URL.
func TestAbsoluteForm(t *testing.T) {
	s := start(t, options{})
	p := s.register("P-256")
	answer := s.raw(http1("POST", s.url()+"/nevisfido/token/dispatch/authentication", contentType(jsonType),
		request("authentication", "app-link", p.TargetID())))
	if !strings.Contains(answer, `"name":"app-link"`) {
		t.Errorf("%s", answer)
	}
}
