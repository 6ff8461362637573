package httpclient

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// proxied is a connection to a proxy that says what stands in it.
type proxied struct {
	net.Conn // nil: there is no network
	answer   *bytes.Reader
	request  bytes.Buffer
}

func (p *proxied) Read(b []byte) (int, error)  { return p.answer.Read(b) }
func (p *proxied) Write(b []byte) (int, error) { return p.request.Write(b) }

// FuzzTunnel reads what a proxy answers to CONNECT. Only a 200 opens a tunnel;
// nothing behind the answer is taken, as it is the server's; an error quotes nothing.
func FuzzTunnel(f *testing.F) {
	const secret, server = "Zx7Q-canary", "220 mail.example.com ESMTP\r\n"
	for _, answer := range []string{
		"HTTP/1.1 200 Connection established\r\n\r\n" + server, "HTTP/1.0 200 OK\nVia: " + secret + "\n\n" + server, "HTTP/1.1 407 " + secret + "\r\nProxy-Authenticate: Basic realm=\"" + secret + "\"\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + server, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + server, "HTTP/1.1 502 x\r\n\r\n", server, "HTTP/1.1 200 OK\r\n" + secret, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1000), "",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		c := &proxied{answer: bytes.NewReader(answer)}
		err := tunnel(c, "mail.example.com:25", http.Header{"Proxy-Authorization": {"Basic " + secret}})
		rest, _ := io.ReadAll(c.answer)
		taken := answer[:len(answer)-len(rest)]
		if err != nil {
			if text := Explain("connecting", err).Error(); strings.Contains(text, secret) {
				t.Errorf("the error quotes the proxy: %v", text)
			}
			return
		}
		end := bytes.HasSuffix(taken, []byte("\r\n\r\n")) || bytes.HasSuffix(taken, []byte("\n\n")) || bytes.HasSuffix(taken, []byte("\n\r\n"))
		if status := bytes.Fields(append(bytes.Clone(taken), " x x"...))[1]; string(status) != "200" || !end || len(taken) > maxHeaderBytes {
			t.Errorf("a tunnel after %q", taken)
		}
	})
}
