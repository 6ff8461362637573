// Package java compares what the sidecar makes of requests with what nevisFIDO
// may make of them: what it is most likely built of, Jetty, Tomcat, Spring and
// Jackson, gets what the sidecar lets through. docs/java.md has the figures.
package java

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oob-dispatch/oob-dispatch" // the module
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// patience is how long a server may take to answer, or to start.
const patience = 60 * time.Second

// jars are those of the Debian packages libjetty9-java, libtomcat10-java,
// libspring-web-servlet-java and libjackson2-databind-java.
var jars = strings.Fields(`jetty9-server jetty9-servlet jetty9-http jetty9-io jetty9-util jetty9-security servlet-api
	tomcat10-catalina tomcat10-coyote tomcat10-util tomcat10-util-scan tomcat10-juli tomcat10-servlet-api tomcat10-annotations-api
	tomcat10-jaspic-api tomcat10-api tomcat10-jni spring3-core spring3-beans spring3-context spring3-web spring3-web.servlet
	spring3-expression spring3-aop commons-logging jackson-core jackson-annotations jackson-databind`)

// startServers starts testdata/Servers.java and returns each server's address.
func startServers(t *testing.T) map[string]string {
	t.Helper()
	testservice.Need(t, "javac")
	var classPath []string
	for _, jar := range jars {
		file := "/usr/share/java/" + jar + ".jar"
		if _, err := os.Stat(file); err != nil {
			testservice.Lacking(t, "%s is not installed; ./test.sh installs what the tests need", file)
		}
		classPath = append(classPath, file)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testservice.Need(t, "java"), "-Djava.io.tmpdir="+t.TempDir(), "-Xmx256m",
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", strings.Join(classPath, ":"), "testdata/Servers.java")
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	var ports map[string]int
	if err := json.NewDecoder(stdout).Decode(&ports); err != nil {
		_ = stdin.Close()
		_ = cmd.Wait()
		t.Fatalf("starting the Java servers: %v\n%s", err, log.String())
	}
	addresses := make(map[string]string)
	for name, port := range ports {
		addresses[name] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return addresses
}

const caddyfile = `{
	admin off
	persist_config off
	auto_https off
	grace_period 1s
	storage file_system %s
	log {
		output discard
	}
}
http:// {
	bind 127.0.0.1
	oob_dispatch {
		limit off
		dispatcher ` + ours + ` link {
			base_url https://app.example.com/open
		}
	}
	reverse_proxy %s
}
`

// ours is the name of the sidecar's dispatcher.
const ours = "probe"

// startSidecar starts the product in front of an upstream and returns its
// address.
func startSidecar(t *testing.T, upstream string) string {
	t.Helper()
	address := testservice.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	text := fmt.Sprintf(strings.Replace(caddyfile, "http://", "http://:"+port, 1), testservice.Folder(t), upstream)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return address
}

// recorder stands for nevisFIDO: it keeps the bytes of what arrives by the
// number in the header Case, and answers 404.
type recorder struct {
	mu      sync.Mutex
	arrived map[string][]string
}

func startRecorder(t *testing.T) (*recorder, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &recorder{arrived: make(map[string][]string)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
		}
	}()
	return r, l.Addr().String()
}

func (r *recorder) serve(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		r.mu.Lock()
		number := request.Header.Get("Case")
		r.arrived[number] = append(r.arrived[number], raw.String())
		r.mu.Unlock()
		raw.Reset()
		if _, err := io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

// take returns what arrived of a case.
func (r *recorder) take(number string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrived[number]
}

// client sends bytes over a connection that it keeps as long as the server does.
type client struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

// ask returns the answer to a request, 0 where there is none. A connection that
// was used before may have been closed meanwhile: then it tries another one.
func (c *client) ask(raw string) (status int, body []byte) {
	method, _, _ := strings.Cut(raw, " ")
	for {
		fresh := c.conn == nil
		if fresh {
			conn, err := net.Dial("tcp", c.address)
			if err != nil {
				return 0, nil
			}
			c.conn, c.in = conn, bufio.NewReader(conn)
		}
		_ = c.conn.SetDeadline(time.Now().Add(patience))
		_, errWrite := io.WriteString(c.conn, raw) // an answer may come before the end of what is refused
		response, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			c.close()
			if fresh {
				return 0, nil
			}
			continue
		}
		body, err = io.ReadAll(response.Body)
		if err != nil || errWrite != nil || response.Close {
			c.close()
		}
		return response.StatusCode, body
	}
}

// another tells whether the server answers once more to what was sent.
func (c *client) another() bool {
	if c.conn == nil {
		return false
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	_, err := c.in.ReadByte()
	c.close()
	return err == nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// row is a request.
type row struct {
	kind   string // what is odd about it
	method string
	target string // as it stands in the request line
	header string // lines, each with CRLF
	body   string
	raw    string // in place of these, with {case} for the number

	// What became of it at the sidecar.
	number    string
	status    int
	forwarded string // what nevisFIDO would get; "" where the sidecar refuses
	ours      bool   // the sidecar took it for a call of interest
}

func (r *row) request() string {
	if r.raw != "" {
		return strings.ReplaceAll(r.raw, "{case}", r.number)
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\nCase: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		r.method, r.target, r.number, r.header, len(r.body), r.body)
}

// asked is what a server behind the sidecar gets, or what it would get if the
// sidecar did not refuse it.
func (r *row) asked() string {
	if r.forwarded != "" {
		return r.forwarded
	}
	return r.request()
}

// reading is what a Java server says of a request.
type reading struct {
	Call     string                    `json:"call"` // "" for none
	ID       string                    `json:"id"`
	Readings map[string]map[string]any `json:"readings"` // by the way of reading the body
	twice    bool                      // the server has seen two requests
}

// run sends all rows through the sidecar, and what comes out to each server. It
// returns the servers' readings, in the order of the rows.
func run(t *testing.T, rows []*row) map[string][]reading {
	t.Helper()
	servers := startServers(t)
	rec, upstream := startRecorder(t)
	sidecar := startSidecar(t, upstream)
	// In blocks, as changes of the same target would wait for each other.
	blocks := slices.Collect(slices.Chunk(rows, len(rows)/4+1))
	each(len(blocks), func(worker int) {
		c := &client{address: sidecar}
		defer c.close()
		for i, r := range blocks[worker] {
			r.number = fmt.Sprintf("%d-%d", worker, i)
			if r.raw != "" {
				c.close()
			}
			r.status, _ = c.ask(r.request())
			for r.status == http.StatusServiceUnavailable && r.raw == "" { // its store was busy; nothing was forwarded
				r.status, _ = c.ask(r.request())
			}
			if r.raw != "" {
				c.close()
			}
		}
	})
	for _, r := range rows {
		switch arrived := rec.take(r.number); len(arrived) {
		case 0:
		case 1:
			r.forwarded = arrived[0]
			r.ours = strings.Contains(arrived[0], "\r\nAccept-Encoding: identity\r\n")
		default:
			t.Errorf("%s: one request became %d: %q", r.kind, len(arrived), r.request())
		}
	}
	names := slices.Collect(maps.Keys(servers))
	readings := make(map[string][]reading)
	for _, name := range names {
		readings[name] = make([]reading, len(rows))
	}
	each(len(names), func(worker int) {
		c, of := &client{address: servers[names[worker]]}, readings[names[worker]]
		defer c.close()
		for i, r := range rows {
			if r.body != "" && strings.Contains(r.header, "Read:") && strings.Contains(names[worker], ", ") {
				continue // Jackson is the same in the lenient ones
			}
			status, body := c.ask(r.asked())
			if status == http.StatusOK && len(body) > 0 && json.Unmarshal(body, &of[i]) != nil {
				t.Errorf("%s answers %q", names[worker], body)
			}
			if r.raw != "" {
				of[i].twice = c.another() && r.forwarded != ""
			}
		}
	})
	return readings
}

// each runs n workers.
func each(n int, work func(worker int)) {
	var all sync.WaitGroup
	for worker := range n {
		all.Go(func() { work(worker) })
	}
	all.Wait()
}

// expected is the call that the sidecar takes a request for, as the servers name
// it, and the id. read tells that it reads the body, and may then leave the call
// to nevisFIDO.
func expected(t *testing.T, r *row) (call, id string, read bool) {
	t.Helper()
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(r.forwarded)))
	if err != nil {
		t.Fatal(err)
	}
	route, err := nevisfido.Recognise("/nevisfido", request.Method, request.URL.EscapedPath())
	if err != nil {
		t.Fatal(err)
	}
	if route.Call == nevisfido.Dispatch {
		return string(route.Operation), "", true
	}
	return map[nevisfido.Call]string{
		nevisfido.CreateTarget: "create", nevisfido.QueryTargets: "query", nevisfido.ModifyTarget: "modify",
		nevisfido.DeleteTarget: "delete", nevisfido.RegisterResponse: "register",
		nevisfido.ModifyDevice: "modify device", nevisfido.DeleteDevice: "delete device",
	}[route.Call], route.ID, route.Call == nevisfido.RegisterResponse
}
