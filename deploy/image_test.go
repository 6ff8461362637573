package deploy

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// containerMachine is an environment for buildah and podman that keeps what
// they make apart from this machine's, and asks for nothing that a build machine
// without an engine, which often is a container itself, does not have.
func containerMachine(t *testing.T) []string {
	dir := testservice.Folder(t)
	storage, containers := filepath.Join(dir, "storage.conf"), filepath.Join(dir, "containers.conf")
	write(t, storage, fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n",
		filepath.Join(dir, "graph"), filepath.Join(dir, "run")), 0o600)
	write(t, containers, "[containers]\ndefault_ulimits = []\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n", 0o600)
	return []string{"CONTAINERS_STORAGE_CONF=" + storage, "CONTAINERS_CONF=" + containers, "BUILDAH_ISOLATION=chroot"}
}

// uid is the user of the image.
const uid = 65532

const imageCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	shutdown_delay 1s
	grace_period 10s
}
http://%s {
	oob_dispatch {
		dispatcher push fcm {
			credentials /etc/oob-dispatch/firebase.json
			endpoint %s
		}
	}
	reverse_proxy %s
}
http://%s {
	oob_health /ready
	respond /time "{time.now}"
}
`

// container is the image, running between simulated parties.
type container struct {
	podman            command
	name              string
	address, internal string // host:port
	google            *google.Server
	phone             *device.Device
	pushToken         string
}

// runImage runs the image as locked up as a cluster would, and ends it while it
// is at work.
func runImage(t *testing.T, machine []string, archive string) {
	c := startImage(t, machine, archive)
	c.wantLockedUp(t)

	sent := c.dispatch(t.Context())
	c.wantDelivered(t, sent)
	c.wantTarget(t)
	if now := get(t, "http://"+c.internal+"/time"); !strings.Contains(now, "+0530") {
		t.Errorf("with TZ=Asia/Kolkata the image's time is %s", now)
	}
	authorities := filepath.Join(t.TempDir(), "ca.crt")
	c.podman.run(t, "podman", "cp", c.name+":/etc/ssl/certs/ca-certificates.crt", authorities)
	if !x509.NewCertPool().AppendCertsFromPEM(read(t, authorities)) {
		t.Error("the image has no certificates of authorities")
	}

	c.wantEndOfWork(t)

	// What was learned is on the volume.
	c.podman.run(t, "podman", "start", c.name)
	c.wantReady(t)
	c.wantTarget(t)
	c.wantDelivered(t, c.dispatch(t.Context()))
}

func startImage(t *testing.T, machine []string, archive string) *container {
	t.Helper()
	fido, err := nevis.Start(nevis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fido.Close)
	c := &container{
		podman: command{env: machine}, name: "oob-dispatch",
		address: testservice.FreeAddress(t), internal: testservice.FreeAddress(t),
	}
	if c.google, err = google.Start(google.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.google.Close)

	config := t.TempDir()
	if err := os.Chmod(config, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(config, "Caddyfile"), fmt.Sprintf(imageCaddyfile, c.address, c.google.URL(), fido.Addr(), c.internal), 0o644)
	credentials := filepath.Join(config, "firebase.json")
	write(t, credentials, string(c.google.ServiceAccountJSON()), 0o400)
	if err := os.Chown(credentials, uid, uid); err != nil {
		t.Fatal(err)
	}

	c.podman.run(t, "podman", "load", "-q", "-i", archive)
	image := "localhost/oob-dispatch:" + version
	var labels map[string]string
	if err := json.Unmarshal([]byte(c.podman.run(t, "podman", "image", "inspect", "--format", "{{json .Labels}}", image)), &labels); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{"version": "v" + version, "revision": commit, "licenses": "Apache-2.0"} {
		if got := labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("the image's label %s is %q, want %q", label, got, want)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.log(t))
		}
		c.podman.run(t, "podman", "rm", "--force", "--time", "30", c.name)
	})
	c.podman.run(t, "podman", "run", "-d", "--name", c.name, "--network", "host",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", // the defaults need more than this machine may allow
		"--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges",
		"-e", "TZ=Asia/Kolkata", "-v", config+":/etc/oob-dispatch:ro", "-v", "oob-data:/data", image)
	c.wantReady(t)

	c.pushToken = c.google.Register()
	c.phone, err = device.New(device.Options{
		Target: c.pushToken, Dispatcher: "push", KeyKind: "P-256", RequireSealed: true, Frontend: "http://" + c.address,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.phone.Register(t.Context(), "http://"+c.address+"/nevisfido", device.Registration{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantLockedUp looks at the process as the kernel sees it.
func (c *container) wantLockedUp(t *testing.T) {
	t.Helper()
	pid := strings.TrimSpace(c.podman.run(t, "podman", "inspect", "--format", "{{.State.Pid}}", c.name))
	status := string(read(t, "/proc/"+pid+"/status"))
	for _, want := range []string{
		fmt.Sprintf("Uid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", uid), "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n",
	} {
		if !strings.Contains(status, want) {
			t.Errorf("the process does not have %q:\n%s", want, status)
		}
	}
}

func (c *container) wantReady(t *testing.T) {
	t.Helper()
	testservice.Until(t, func() bool { return c.ready() == http.StatusOK }, func() string { return c.log(t) })
}

// log is what the sidecar said; podman writes it to where the container did.
func (c *container) log(t *testing.T) string {
	t.Helper()
	out, err := c.podman.try(t, "sh", "-c", "podman logs "+c.name+" 2>&1")
	return fmt.Sprint(out, err)
}

// ready is the status that probes get, 0 where nobody answers.
func (c *container) ready() int {
	response, err := http.Get("http://" + c.internal + "/ready")
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// wantTarget asks for the targets in the container, as an operator does.
func (c *container) wantTarget(t *testing.T) {
	t.Helper()
	if list := c.podman.run(t, "podman", "exec", c.name, "caddy", "oob", "targets", "list"); !strings.Contains(list, c.phone.TargetID()) {
		t.Errorf("caddy oob targets list does not have %s:\n%s", c.phone.TargetID(), list)
	}
}

// wantEndOfWork stops the container while a dispatch is under way: Google has
// the request and does not answer yet.
func (c *container) wantEndOfWork(t *testing.T) {
	t.Helper()
	underWay, answer := make(chan struct{}), make(chan struct{})
	c.google.Script(func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		close(underWay)
		fault.Hold(answer)(w, r, regular)
	})
	sent := make(chan dispatched, 1)
	go func() { sent <- c.dispatch(t.Context()) }()
	<-underWay

	const grace = 20 * time.Second
	begin, stopped := time.Now(), make(chan error, 1)
	go func() {
		_, err := c.podman.try(t, "podman", "stop", "-t", fmt.Sprint(grace.Seconds()), c.name)
		stopped <- err
	}()
	testservice.Until(t, func() bool { return c.ready() == http.StatusServiceUnavailable }, func() string { return "it was that probes see the end coming" })
	close(answer)
	c.wantDelivered(t, <-sent)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took >= grace {
		t.Errorf("the container took %v to stop", took)
	}
	if code := strings.TrimSpace(c.podman.run(t, "podman", "inspect", "--format", "{{.State.ExitCode}}", c.name)); code != "0" {
		t.Errorf("the container ended with %s", code)
	}
}

// dispatched is a relying party's answer.
type dispatched struct {
	Token  string
	Result string `json:"dispatchResult"`
	err    error
}

func (c *container) dispatch(ctx context.Context) (d dispatched) {
	body := fmt.Sprintf(`{"dispatcher":"push","dispatchTargetId":%q,"dispatchInformation":{"notification":{"title":"Confirm payment 4711"}},
		"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`, c.phone.TargetID())
	var r *http.Request
	if r, d.err = http.NewRequestWithContext(ctx, http.MethodPost,
		"http://"+c.address+"/nevisfido/token/dispatch/authentication", strings.NewReader(body)); d.err != nil {
		return d
	}
	r.Header.Set("Content-Type", "application/json")
	var response *http.Response
	if response, d.err = http.DefaultClient.Do(r); d.err != nil {
		return d
	}
	defer response.Body.Close()
	d.err = json.NewDecoder(response.Body).Decode(&d)
	return d
}

// wantDelivered has the phone open the message and redeem its token.
func (c *container) wantDelivered(t *testing.T, d dispatched) {
	t.Helper()
	if d.err != nil || d.Result != "dispatched" {
		t.Fatalf("the dispatch ended with %q, %v", d.Result, d.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	message, err := c.google.Wait(ctx, c.pushToken)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := c.phone.OpenPush(message.Data)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Token != d.Token {
		t.Error("the phone got another token than the relying party")
	}
	if _, err := c.phone.Redeem(ctx, opened); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
