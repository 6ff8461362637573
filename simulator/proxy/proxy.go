// Package proxy is a double of a forward proxy, as it stands between a bank's
// servers and the internet: Basic authentication, requests in absolute form
// and CONNECT tunnels, all counted.
package proxy

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// Options configure a Server. The zero value is an open proxy.
type Options struct {
	User, Password string // demanded if a user is set

	// TLS makes clients reach the proxy by https, over which it prefers
	// HTTP/2, with a certificate for 127.0.0.1 and localhost that CA vouches
	// for. Tunnels are for clients of HTTP/1.1.
	TLS bool
}

// Counts is what a proxy was asked for.
type Counts struct {
	Requests int // in absolute form
	Connects int // tunnels
	Refused  int // without the right credentials, or by Refuse
}

// Server is the double.
type Server struct {
	*double.Server
	options Options
	forward *http.Transport
	refusal fault.Script[fault.Fault]

	tunnels sync.WaitGroup
	closing context.Context
	end     context.CancelFunc

	mu     sync.Mutex
	counts Counts
}

// Start runs a proxy; Close ends it.
func Start(o Options) (*Server, error) {
	var config *tls.Config
	var err error
	if o.TLS {
		if config, err = double.NewTLS(double.Certificate{CommonName: "simulated proxy"}); err != nil {
			return nil, err
		}
	}
	s := &Server{options: o, forward: &http.Transport{DisableCompression: true}}
	s.closing, s.end = context.WithCancel(context.Background())
	if s.Server, err = double.Listen("", config); err != nil {
		return nil, err
	}
	double.Serve(s.Server, fault.Handler(&s.refusal, http.HandlerFunc(s.serve), ""))
	return s, nil
}

// Close ends the proxy and every tunnel through it.
func (s *Server) Close() {
	s.Server.Close()
	s.end()
	s.tunnels.Wait()
	s.forward.CloseIdleConnections()
}

// URL is the proxy's address, with the credentials that it demands.
func (s *Server) URL() string {
	u := url.URL{Scheme: "http", Host: s.Addr()}
	if s.options.TLS {
		u.Scheme = "https"
	}
	if s.options.User != "" {
		u.User = url.UserPassword(s.options.User, s.options.Password)
	}
	return u.String()
}

// Counts returns what the proxy was asked for so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Hosts returns the hosts that were asked for, in order.
func (s *Server) Hosts() []string {
	var hosts []string
	for _, r := range s.Requests() {
		hosts = append(hosts, r.Host)
	}
	return hosts
}

// Refuse makes the proxy answer every request with a status; 0 ends that.
func (s *Server) Refuse(status int) {
	if status == 0 {
		s.refusal.Mend("")
		return
	}
	s.refusal.Always("", func(w http.ResponseWriter, r *http.Request, _ http.Handler) { s.refuse(w, r, status) })
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int) {
	s.count(&s.counts.Refused)
	w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
	http.Error(w, "refused "+r.Host, status)
}

func (s *Server) count(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	credentials := "Basic " + base64.StdEncoding.EncodeToString([]byte(s.options.User+":"+s.options.Password))
	switch {
	case s.options.User != "" && r.Header.Get("Proxy-Authorization") != credentials:
		s.refuse(w, r, http.StatusProxyAuthRequired)
	case r.Method == http.MethodConnect:
		s.count(&s.counts.Connects)
		s.connect(w, r)
	case r.URL.IsAbs():
		s.count(&s.counts.Requests)
		p := &httputil.ReverseProxy{
			Rewrite:   func(p *httputil.ProxyRequest) { p.Out.Header.Del("Proxy-Authorization") },
			Transport: s.forward,
			ErrorLog:  log.New(io.Discard, "", 0),
		}
		p.ServeHTTP(w, r)
	default:
		http.Error(w, "this is a proxy", http.StatusBadRequest)
	}
}

// connect opens a tunnel, which lasts until one side, or the proxy, ends.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	upstream, err := net.DialTimeout("tcp", r.Host, 10*time.Second)
	if err != nil {
		http.Error(w, "cannot connect", http.StatusBadGateway)
		return
	}
	s.tunnels.Add(2) // before Hijack, after which Close does not wait for the handler
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.tunnels.Add(-2)
		_ = upstream.Close()
		return
	}
	end := func() { _, _ = client.Close(), upstream.Close() }
	context.AfterFunc(s.closing, end)                                          //nolint:contextcheck // a tunnel outlives its request
	_, _ = client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")) // a broken connection ends the copying
	join := func(to io.Writer, from io.Reader) {
		defer s.tunnels.Done()
		defer end()
		_, _ = io.Copy(to, from)
	}
	go join(upstream, buffered)
	go join(client, upstream)
}
