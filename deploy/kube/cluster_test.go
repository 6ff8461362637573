package kube

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// crds are the modules that bring resources which Kubernetes itself does not have.
var crds = map[string][]string{
	"sigs.k8s.io/gateway-api@v1.3.0": {
		"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
	},
	"github.com/prometheus-operator/prometheus-operator@v0.84.0": {
		"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
		"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
	},
}

// cluster is a Kubernetes API server with its store. There are no nodes: what it
// takes is never started.
type cluster struct {
	kubectl, config string
}

// background runs a server until the end of the test.
func background(t *testing.T, dir, program string, args ...string) (log func() string) {
	t.Helper()
	name := filepath.Join(dir, filepath.Base(program)+".log")
	file, err := os.Create(name)
	do(t, err)
	defer file.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, file, file
	do(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	})
	return func() string {
		text, err := os.ReadFile(name)
		if err != nil {
			return err.Error()
		}
		return string(text[max(0, len(text)-4000):])
	}
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	etcd := testservice.Need(t, "etcd")
	// Helm asks it for its version.
	apiserver := built(t, "kube-apiserver", "apiserver", ".", "-ldflags=-s -X k8s.io/component-base/version.gitVersion=v"+kubeVersion)
	dir := testservice.Folder(t)
	c := &cluster{kubectl: filepath.Join(filepath.Dir(apiserver), "kubectl"), config: filepath.Join(dir, "config")}
	if _, err := os.Stat(c.kubectl); err != nil {
		do(t, os.Link(apiserver, c.kubectl)) // it is both
	}

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	do(t, err)
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	store, peers, address := "http://"+testservice.FreeAddress(t), "http://"+testservice.FreeAddress(t), testservice.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	do(t, err)
	for name, content := range map[string]string{
		"accounts.key": string(private),
		"tokens.csv":   "test,admin,1,system:masters\n",
		"config": fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"test",
			"clusters":[{"name":"test","cluster":{"server":"https://%s","insecure-skip-tls-verify":true}}],
			"users":[{"name":"test","user":{"token":"test"}}],
			"contexts":[{"name":"test","context":{"cluster":"test","user":"test"}}]}`, address),
	} {
		do(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	stored := background(t, dir, etcd, "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", store, "--advertise-client-urls", store,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
	served := background(t, dir, apiserver, "--etcd-servers", store, "--secure-port", port, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
		"--cert-dir", filepath.Join(dir, "certs"), "--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.test", "--service-account-key-file", "accounts.key", "--service-account-signing-key-file", "accounts.key",
		"--service-cluster-ip-range", "10.0.0.0/24", "--endpoint-reconciler-type", "none")
	testservice.Until(t, func() bool {
		_, err := c.run(t, "get", "--raw", "/readyz")
		return err == nil
	}, func() string { return stored() + served() })

	for module, files := range crds {
		out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module).Output()
		do(t, err)
		var info struct{ Dir string }
		do(t, json.Unmarshal(out, &info))
		for _, file := range files {
			c.want(t, "apply", "--server-side", "-f", filepath.Join(info.Dir, file))
		}
	}
	c.want(t, "wait", "--for=condition=Established", "crd", "--all")
	for _, namespace := range []string{"fido", "second"} {
		c.want(t, "create", "namespace", namespace)
		// Pods that do not fit the standard are refused, and Deployments warned about.
		c.want(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted")
	}
	return c
}

func (c *cluster) run(t *testing.T, args ...string) (string, error) {
	return run(t, c.kubectl, append([]string{"--kubeconfig", c.config}, args...)...)
}

// want runs kubectl, and fails if it fails or warns.
func (c *cluster) want(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.run(t, args...)
	if err != nil || strings.Contains(out, "Warning:") {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// take has the API server check manifests as it would on creation. The pods of
// Deployments are checked as well, which controllers would make.
func (c *cluster) take(t *testing.T, manifests string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	do(t, os.WriteFile(file, []byte(manifests), 0o600))
	c.want(t, "apply", "--dry-run=server", "--namespace", "fido", "-f", file)
}

// switches are what the values of the chart turn on and off, and what they need.
var switches = map[string][]string{
	"redis":         {"redis.urls={redis://redis:6379}"},
	"replicas":      {"redis.urls={redis://redis:6379}", "replicas=3"},
	"autoscaling":   {"redis.urls={redis://redis:6379}", "autoscaling.enabled=true"},
	"volume":        {"volume.storageClass=fast", "volume.size=2Gi"},
	"claim":         {"volume.existingClaim=mine"},
	"tls":           {"tls.existingSecret=oob-tls"},
	"digest":        {"image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "image.pullSecrets={registry}"},
	"httpRoute":     {"httpRoute.enabled=true", "httpRoute.parentRefs[0].name=public", "httpRoute.hostnames={fido.example.com}"},
	"ingress":       {"ingress.enabled=true", "ingress.host=fido.example.com", "ingress.tlsSecret=fido-tls", "ingress.className=nginx"},
	"networkPolicy": {"networkPolicy.enabled=true"},
	"monitoring":    {"serviceMonitor.enabled=true", "prometheusRule.enabled=true", "dashboard.enabled=true"},
	"scheduling": {
		"nodeSelector.disk=fast", "tolerations[0].key=fido", "tolerations[0].operator=Exists", "priorityClassName=system-cluster-critical",
		"podLabels.team=fido", "podAnnotations.note=x", "service.annotations.note=x", "serviceAccount.annotations.note=x",
	},
	"volumes": {"extraVolumes[0].name=x", "extraVolumes[0].emptyDir.sizeLimit=1Mi", "extraVolumeMounts[0].name=x", "extraVolumeMounts[0].mountPath=/x"},
	"env":     {"env[0].name=SMTP_PASSWORD", "env[0].valueFrom.secretKeyRef.name=smtp", "env[0].valueFrom.secretKeyRef.key=password"},
}

// A real API server takes what the chart and the component make, without a warning
// of its Pod Security admission, and refuses what is wrong.
func TestKubernetesTakesTheManifests(t *testing.T) {
	c := startCluster(t)
	first, production := values(t)

	t.Run("it refuses what is wrong", func(t *testing.T) {
		manifests, err := template(t)
		do(t, err)
		for old, wrong := range map[string]string{
			"restartPolicy: Always": "restartPolicy: Alwayz", // of the sidecar
			"runAsNonRoot: true":    "runAsNonRoot: false",
			"containerPort: 8080":   "containerPort: 808080",
		} {
			text := manifests
			if strings.Contains(old, "restartPolicy") {
				text = c.want(t, "kustomize", "../kustomize/example")
			}
			spoilt := strings.Replace(text, old, wrong, 1)
			if spoilt == text {
				t.Fatalf("there is no %q", old)
			}
			file := filepath.Join(t.TempDir(), "manifests.yaml")
			do(t, os.WriteFile(file, []byte(spoilt), 0o600))
			if out, err := c.run(t, "apply", "--dry-run=server", "--namespace", "fido", "-f", file); err == nil && !strings.Contains(out, "Warning:") {
				t.Errorf("%s: taken\n%s", wrong, out)
			}
		}
	})
	t.Run("each switch of the chart", func(t *testing.T) {
		for name, sets := range switches {
			t.Run(name, func(t *testing.T) {
				var args []string
				for _, s := range sets {
					args = append(args, "--set", s)
				}
				manifests, err := template(t, args...)
				do(t, err)
				c.take(t, manifests)
			})
		}
	})
	t.Run("all switches of the chart", func(t *testing.T) {
		var args []string
		for _, sets := range switches {
			for _, s := range sets {
				args = append(args, "--set", s)
			}
		}
		manifests, err := template(t, args...)
		do(t, err)
		c.take(t, manifests)
	})
	t.Run("an installation, its upgrade, and its end", func(t *testing.T) {
		helmDo := func(args ...string) {
			t.Helper()
			out, err := run(t, helm(t), append(args, "--kubeconfig", c.config, "--namespace", "second")...)
			if err != nil || strings.Contains(out, "Warning:") {
				t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		helmDo("lint", chart, "--values", first)
		helmDo("install", "oob-dispatch", chart, "--values", first)
		if out := c.want(t, "get", "--namespace", "second", "pvc,deploy,svc,sa,cm", "-o", "name"); !strings.Contains(out, "persistentvolumeclaim/oob-dispatch") || !strings.Contains(out, "deployment.apps/oob-dispatch") {
			t.Errorf("installed are\n%s", out)
		}
		helmDo("upgrade", "oob-dispatch", chart, "--values", first, "--values", production)
		if out := c.want(t, "get", "--namespace", "second", "hpa,pdb,netpol,servicemonitor,prometheusrule,cm", "-o", "name"); strings.Count(out, "oob-dispatch") < 7 {
			t.Errorf("after the upgrade there are\n%s", out)
		}
		// The volume with the targets outlives what made it.
		helmDo("uninstall", "oob-dispatch")
		if out := c.want(t, "get", "--namespace", "second", "pvc", "-o", "name"); !strings.Contains(out, "persistentvolumeclaim/oob-dispatch") {
			t.Error("the volume with the targets is gone")
		}
	})
	t.Run("the pod", func(t *testing.T) {
		manifests, err := template(t, "--values", production)
		do(t, err)
		c.admit(t, manifests, "oob-dispatch")
		c.admit(t, c.want(t, "kustomize", "../kustomize/example"), "nevisfido")
	})
	t.Run("the component", func(t *testing.T) {
		manifests := c.want(t, "kustomize", "../kustomize/example")
		c.take(t, manifests)
		if service := manifests[strings.Index(manifests, "kind: Service"):]; !strings.Contains(service, "targetPort: 9081") {
			t.Errorf("the Service does not lead to the sidecar:\n%s", service)
		}
		// And the sidecar takes its configuration, as far as its files are at hand.
		config := find(t, objects(t, manifests), "ConfigMap", "oob-dispatch").Data["Caddyfile"]
		file := filepath.Join(t.TempDir(), "Caddyfile")
		do(t, os.WriteFile(file, []byte(config), 0o600))
		program := sidecar(t)
		if out, err := run(t, program, "adapt", "--config", file, "--adapter", "caddyfile"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// admit has the API server admit the pod of a Deployment, as a controller would
// ask for it.
func (c *cluster) admit(t *testing.T, manifests, name string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	do(t, os.WriteFile(file, []byte(manifests), 0o600))
	text := c.want(t, "create", "--dry-run=client", "-o", "json", "--namespace", "fido", "-f", file)
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct{ Template map[string]any }
		}
		do(t, d.Decode(&o))
		if o.Kind != "Deployment" || o.Metadata.Name != name {
			continue
		}
		pod := o.Spec.Template
		pod["apiVersion"], pod["kind"] = "v1", "Pod"
		metadata := pod["metadata"].(map[string]any)
		metadata["name"] = name
		// Its account is there with the chart alone; a controller makes the default.
		delete(pod["spec"].(map[string]any), "serviceAccountName")
		if out, err := c.run(t, "create", "serviceaccount", "default", "--namespace", "fido"); err != nil && !strings.Contains(out, "already exists") {
			t.Fatal(out)
		}
		content, err := json.Marshal(pod)
		do(t, err)
		do(t, os.WriteFile(file, content, 0o600))
		c.want(t, "create", "--dry-run=server", "--namespace", "fido", "-f", file)
		return
	}
	t.Fatalf("there is no Deployment %s in\n%s", name, text)
}
