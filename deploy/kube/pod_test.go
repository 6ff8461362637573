package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// kubelet is what starts the pod of a chart here, as a kubelet does: with its
// volumes, user and arguments, and nothing else in its file system.
type kubelet struct {
	root     string
	pod      pod
	site     string // host:port in place of port 8080
	internal string // and of port 2020
	cmd      *exec.Cmd
	log      string // the file
	ended    chan error
}

// prepare lays out the volumes. Secrets that are not there are left out, as those
// that are optional are.
func prepare(t *testing.T, manifests string, secrets map[string]map[string][]byte) *kubelet {
	t.Helper()
	testservice.NeedRoot(t, "the pod has a root folder and a user of its own")
	program := sidecar(t)
	all := objects(t, manifests)
	k := &kubelet{
		root: t.TempDir(), pod: find(t, all, "Deployment", "oob-dispatch").Spec.Template.Spec,
		site: testservice.FreeAddress(t), internal: testservice.FreeAddress(t), ended: make(chan error, 1),
	}
	// t.TempDir is for root alone, and so are the folders above it.
	for dir := k.root; dir != os.TempDir(); dir = filepath.Dir(dir) {
		do(t, os.Chmod(dir, 0o755))
	}
	do(t, os.Link(program, filepath.Join(k.root, "caddy")))
	group := int(k.pod.SecurityContext.FSGroup)
	for _, mount := range k.pod.Containers[0].VolumeMounts {
		dir := filepath.Join(k.root, mount.MountPath)
		do(t, os.MkdirAll(dir, 0o755))
		for _, v := range k.pod.Volumes {
			switch {
			case v.Name != mount.Name:
			case v.ConfigMap != nil:
				config := find(t, all, "ConfigMap", v.ConfigMap.Name)
				files := map[string][]byte{"Caddyfile": []byte(k.onLoopback(t, config.Data["Caddyfile"]))}
				project(t, dir, files, 0o644, group)
			case v.Secret != nil:
				files, ok := secrets[v.Secret.SecretName]
				if !ok && !v.Secret.Optional {
					t.Fatalf("a kubelet waits for the Secret %s, and nothing is in the log", v.Secret.SecretName)
				}
				project(t, dir, files, os.FileMode(v.Secret.DefaultMode), group)
			default:
				do(t, os.Chown(dir, 0, group))
				do(t, os.Chmod(dir, 0o775))
			}
		}
	}
	return k
}

// onLoopback moves the listeners to ports of this machine that are free.
func (k *kubelet) onLoopback(t *testing.T, caddyfile string) string {
	t.Helper()
	for port, address := range map[string]string{"8080": k.site, "2020": k.internal} {
		_, free, err := net.SplitHostPort(address)
		do(t, err)
		from := "://:" + port + " {\n"
		if !strings.Contains(caddyfile, from) {
			t.Fatalf("no %q in\n%s", from, caddyfile)
		}
		caddyfile = strings.Replace(caddyfile, from, "://:"+free+" {\nbind 127.0.0.1\n", 1)
	}
	return caddyfile
}

// project writes files as a kubelet does: behind two symbolic links.
func project(t *testing.T, dir string, files map[string][]byte, mode os.FileMode, group int) {
	t.Helper()
	data := filepath.Join(dir, "..2026_11_28")
	do(t, os.Mkdir(data, 0o755))
	do(t, os.Symlink("..2026_11_28", filepath.Join(dir, "..data")))
	for name, content := range files {
		file := filepath.Join(data, name)
		do(t, os.WriteFile(file, content, 0o600))
		do(t, os.Chown(file, 0, group))
		do(t, os.Chmod(file, mode))
		do(t, os.Symlink("..data/"+name, filepath.Join(dir, name)))
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (k *kubelet) start(t *testing.T) {
	t.Helper()
	c, as := k.pod.Containers[0], k.pod.SecurityContext
	k.cmd = exec.Command("/caddy", c.Args...)
	k.cmd.Dir = "/"
	k.cmd.Env = []string{}
	for _, e := range c.Env {
		k.cmd.Env = append(k.cmd.Env, e.Name+"="+e.Value)
	}
	k.cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     k.root,
		Credential: &syscall.Credential{Uid: as.RunAsUser, Gid: as.RunAsGroup, Groups: []uint32{as.FSGroup}},
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	do(t, err)
	defer log.Close()
	k.log = log.Name()
	k.cmd.Stdout, k.cmd.Stderr = log, log
	do(t, k.cmd.Start())
	go func() { k.ended <- k.cmd.Wait() }()
	t.Cleanup(func() {
		_ = k.cmd.Process.Kill() // it may have ended
	})
}

// ready is the status that the readiness probe gets, or 0.
func (k *kubelet) ready() int {
	return k.get(k.internal, k.pod.Containers[0].ReadinessProbe.HTTPGet.Path)
}

func (k *kubelet) get(address, path string) int {
	answer, err := http.Get("http://" + address + path)
	if err != nil {
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}

// until waits for a status of the readiness probe, or for the end.
func (k *kubelet) until(t *testing.T, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for k.ready() != status {
		select {
		case err := <-k.ended:
			t.Fatalf("the pod ended: %v\n%s", err, k.firstLines(t))
		case <-ctx.Done():
			t.Fatalf("the readiness probe got no %d in time", status)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// firstLines are those of the log that somebody reads.
func (k *kubelet) firstLines(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(k.log)
	do(t, err)
	lines := strings.SplitAfter(string(log), "\n")
	return strings.Join(lines[:min(len(lines), 20)], "")
}

func serviceAccount(t *testing.T) map[string][]byte {
	t.Helper()
	g, err := google.Start(google.Options{})
	do(t, err)
	defer g.Close()
	return map[string][]byte{"firebase.json": g.ServiceAccountJSON()}
}

// tlsSecret is a Secret of the type kubernetes.io/tls, for localhost, and a client
// that trusts it.
func tlsSecret(t *testing.T) (secret map[string][]byte, client *http.Client) {
	t.Helper()
	pair, certificate, err := double.NewCertificate(double.Certificate{CommonName: "oob-dispatch"})
	do(t, err)
	secret = map[string][]byte{"tls.crt": certificate, "tls.key": double.KeyPEM(pair)}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secret["tls.crt"])
	return secret, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}}
}

// With what the chart makes the sidecar runs and dispatches, says that it is not
// ready before it ends, and ends in the time that the pod has.
func TestPodDispatchesAndEndsInTime(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			fido, err := nevis.Start(nevis.Options{})
			do(t, err)
			defer fido.Close()
			args := []string{"--set", "shutdown.delaySeconds=2", "--set", "shutdown.graceSeconds=3", "--set", "nevisfido.url=" + fido.URL()}
			if scheme == "https" {
				args = append(args, "--set", "tls.existingSecret=oob-tls")
			}
			manifests, err := template(t, args...)
			do(t, err)
			secret, client := tlsSecret(t)
			defer client.CloseIdleConnections()
			k := prepare(t, manifests, map[string]map[string][]byte{"oob-firebase": serviceAccount(t), "oob-tls": secret})
			k.start(t)
			k.until(t, http.StatusOK)
			dispatch := func() {
				t.Helper()
				answer, err := client.Post(scheme+"://"+k.site+"/nevisfido/token/dispatch/authentication", "application/json",
					strings.NewReader(`{"dispatcher":"app-qr","getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`))
				do(t, err)
				defer answer.Body.Close()
				body, err := io.ReadAll(answer.Body)
				if err != nil || !bytes.Contains(body, []byte(`"dispatchResult":"dispatched"`)) {
					t.Errorf("%s %s, %v", answer.Status, body, err)
				}
			}
			dispatch()

			do(t, k.cmd.Process.Signal(syscall.SIGTERM))
			k.until(t, http.StatusServiceUnavailable)
			dispatch() // which the Service may still send
			select {
			case err := <-k.ended:
				if err != nil {
					t.Errorf("the pod ended with %v\n%s", err, k.firstLines(t))
				}
			case <-time.After(time.Duration(k.pod.TerminationGracePeriodSeconds) * time.Second):
				t.Errorf("the pod is still there after its %d seconds", k.pod.TerminationGracePeriodSeconds)
			}
		})
	}
}

// What an operator may get wrong keeps the pod from being ready, and the first
// lines of its log say what is wrong.
func TestPodWithAMistakeIsNotReadyAndSaysWhy(t *testing.T) {
	credentials := "/run/secrets/oob-dispatch/firebase/firebase.json"
	for _, test := range []struct {
		name  string
		set   []string
		spoil func(t *testing.T, k *kubelet)
		ready int // what the probe gets; 0: the process ends
		want  string
	}{
		{
			name: "the Secret is missing", set: []string{"existingSecrets.firebase=another"},
			want: credentials,
		},
		{
			name: "the Secret lacks the file", want: credentials,
			spoil: func(t *testing.T, k *kubelet) { do(t, os.Remove(filepath.Join(k.root, credentials))) },
		},
		{
			name: "everybody may write the Secret", want: credentials,
			spoil: func(t *testing.T, k *kubelet) { do(t, os.Chmod(filepath.Join(k.root, credentials), 0o666)) },
		},
		{
			name: "the sidecar may not read the Secret", want: credentials,
			spoil: func(t *testing.T, k *kubelet) { do(t, os.Chmod(filepath.Join(k.root, credentials), 0o400)) },
		},
		{
			name: "everybody may read the Secret, which is a warning", want: credentials, ready: http.StatusOK,
			spoil: func(t *testing.T, k *kubelet) { do(t, os.Chmod(filepath.Join(k.root, credentials), 0o644)) },
		},
		{
			name: "the volume is read-only", want: "/data", ready: http.StatusServiceUnavailable,
			spoil: func(t *testing.T, k *kubelet) { do(t, os.Chown(filepath.Join(k.root, "data"), 0, 0)) },
		},
		{
			name: "the volume is missing", want: "/data", ready: http.StatusServiceUnavailable,
			spoil: func(t *testing.T, k *kubelet) { do(t, os.Remove(filepath.Join(k.root, "data"))) },
		},
		{
			name: "Redis is away", set: []string{"redis.urls={redis://127.0.0.1:1}"}, want: "127.0.0.1:1", ready: http.StatusServiceUnavailable,
		},
		{
			name: "the Caddyfile has an unknown word", set: []string{"caddyfile.dispatch=dispatcherr push fcm"}, want: "dispatcherr",
		},
		{
			name: "the Caddyfile lacks a brace", set: []string{"caddyfile.dispatch=dispatcher app-qr qr_code {"}, want: "Caddyfile",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var args []string
			for _, s := range test.set {
				args = append(args, "--set", s)
			}
			manifests, err := template(t, args...)
			do(t, err)
			k := prepare(t, manifests, map[string]map[string][]byte{"oob-firebase": serviceAccount(t)})
			if test.spoil != nil {
				test.spoil(t, k)
			}
			k.start(t)
			if test.ready == 0 {
				select {
				case err := <-k.ended:
					if err == nil {
						t.Error("the process ended without an error")
					}
				case <-time.After(30 * time.Second):
					t.Fatal("the process runs")
				}
			} else {
				k.until(t, test.ready)
			}
			for end := time.Now().Add(10 * time.Second); !strings.Contains(k.firstLines(t), test.want); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("no %q in the first lines of\n%s", test.want, k.firstLines(t))
				}
			}
		})
	}
}
