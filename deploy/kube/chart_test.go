// Package kube tests the Helm chart and the Kustomize component: what they refuse,
// that the sidecar runs with what they make, and that a real Kubernetes API server
// takes it.
package kube

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

const (
	chart       = "../helm/oob-dispatch"
	helmVersion = "v3.22.0"
	kubeVersion = "1.33.4" // that of apiserver/go.mod
)

// tools is a folder for the programs that the tests build. Go's cache keeps what
// they are built from: the first time takes minutes, later ones seconds.
var tools = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "oob-kube-test-") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := tools(); err == nil {
		_ = os.RemoveAll(dir) // it is in the folder for temporary files
	}
	os.Exit(code)
}

// built returns the path of a program, which go builds from a package in a folder.
func built(t *testing.T, program, dir, pkg string, flags ...string) string {
	t.Helper()
	testservice.Slow(t, program+" is built")
	to, err := tools()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, program)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	args := append([]string{"build", "-trimpath", "-o", path}, flags...)
	if strings.Contains(pkg, "@") { // which go builds with install alone
		args = append([]string{"install"}, flags...)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, pkg)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOBIN="+to)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", program, err, out)
	}
	return path
}

func helm(t *testing.T) string {
	t.Helper()
	return built(t, "helm", ".", "helm.sh/helm/v3/cmd/helm@"+helmVersion)
}

// sidecar is the product, static as in its image.
func sidecar(t *testing.T) string {
	t.Helper()
	t.Setenv("CGO_ENABLED", "0")
	return built(t, "caddy", "../..", "./cmd/caddy", "-tags", "nobadger,nomysql,nopgx,timetzdata")
}

// run returns what a program says, and how it ended.
func run(t *testing.T, program string, args ...string) (output string, err error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	return string(out), err
}

// values are those of docs/kubernetes.md: the first to begin with, and the second,
// which come on top, for production.
func values(t *testing.T) (first, production string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n# (?:values|production)\\.yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) != 2 {
		t.Fatalf("docs/kubernetes.md has %d blocks of values, want 2", len(blocks))
	}
	dir := testservice.Folder(t) // helm divides the names of files at commas
	first, production = filepath.Join(dir, "values.yaml"), filepath.Join(dir, "production.yaml")
	for i, name := range []string{first, production} {
		if err := os.WriteFile(name, blocks[i][1], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return first, production
}

// template renders the chart with the first values of the documentation.
func template(t *testing.T, args ...string) (manifests string, err error) {
	t.Helper()
	first, _ := values(t)
	cmd := exec.CommandContext(t.Context(), helm(t), append([]string{
		"template", "oob-dispatch", chart, "--kube-version", kubeVersion, "--values", first,
	}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", errors.New(stderr.String())
	}
	return stdout.String(), nil
}

// What cannot work is refused before it reaches a cluster, and the error says
// which value to set.
func TestChartRefusesWrongValues(t *testing.T) {
	for _, test := range []struct{ set, want string }{
		{"image.repository=", "image.repository: set it to"},
		{"image.digest=sha1:1", "/image/digest"},
		{"nevisfido.url=", "nevisfido.url:"},
		{"nevisfido.url=nevisfido:9080", "nevisfido.url:"},
		{"nevisfido.url=http://nevisfido:9080/nevisfido", "without a path"},
		{"caddyfile.dispatch=", "caddyfile.dispatch: set it to"},
		{"caddyfile.dispatch=store caddy", "caddyfile.dispatch: leave out store"},
		{"caddyfile.maskedHeaders={X Y}", "/caddyfile/maskedHeaders"},
		{"replicas=2", "redis.urls: several replicas"},
		{"replicas=0", "/replicas"},
		{"autoscaling.enabled=true", "redis.urls: several replicas"},
		{"redis.urls={http://redis}", "redis.urls:"},
		{"autoscaling.enabled=true,redis.urls={redis://redis},autoscaling.minReplicas=9", "autoscaling.minReplicas: set it to"},
		{"httpRoute.enabled=true", "httpRoute.parentRefs: set it to"},
		{"ingress.enabled=true", "ingress.host: set it to"},
		{"service.type=Cluster", "'ClusterIP', 'NodePort', 'LoadBalancer'"},
		{"existingSecrets.fire_base=x", "fire_base"},
		{"volume.size=much", "/volume/size"},
		{"networkPolicy.enabled=yes", "want boolean"},
		{"shutdown.delaySeconds=-1", "/shutdown/delaySeconds"},
		{"replica=1", "'replica' not allowed"},
	} {
		t.Run(test.set, func(t *testing.T) {
			if _, err := template(t, "--set", test.set); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// object is one of Kubernetes', as far as the tests look at it.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template struct{ Spec pod }
	}
}

type pod struct {
	TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
	SecurityContext               struct {
		RunAsUser  uint32 `yaml:"runAsUser"`
		RunAsGroup uint32 `yaml:"runAsGroup"`
		FSGroup    uint32 `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	Containers []container
	Volumes    []volume
}

type container struct {
	Name           string
	Args           []string
	Env            []struct{ Name, Value string }
	ReadinessProbe struct {
		HTTPGet struct{ Path string } `yaml:"httpGet"`
	} `yaml:"readinessProbe"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type volume struct {
	Name      string
	ConfigMap *struct{ Name string } `yaml:"configMap"`
	Secret    *struct {
		SecretName  string `yaml:"secretName"`
		DefaultMode uint32 `yaml:"defaultMode"`
		Optional    bool
	}
}

func objects(t *testing.T, manifests string) (all []object) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(manifests)); ; {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, manifests)
		}
		all = append(all, o)
	}
}

// find returns the object of a kind and a name; the name may have a suffix.
func find(t *testing.T, all []object, kind, name string) object {
	t.Helper()
	for _, o := range all {
		if o.Kind == kind && strings.HasPrefix(o.Metadata.Name, name) {
			return o
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return object{}
}

// The logs of a pod are without what those of Caddyfile.example are without.
func TestLogsAreMaskedAsInTheExample(t *testing.T) {
	mask := func(caddyfile string) (lines []string) {
		_, rest, _ := strings.Cut(caddyfile, "(masked) {")
		block, _, _ := strings.Cut(rest, "\n}\n")
		for line := range strings.Lines(block) {
			lines = append(lines, strings.TrimSpace(line))
		}
		return lines
	}
	example, err := os.ReadFile("../../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	sidecar, err := os.ReadFile("../kustomize/example/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	want := mask(string(example))
	if len(want) < 5 {
		t.Fatalf("Caddyfile.example masks %q", want)
	}
	if got := mask(string(sidecar)); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("kustomize/example/Caddyfile masks\n%q, want\n%q", got, want)
	}
	manifests, err := template(t, "--set", "caddyfile.maskedHeaders={X-Mine}")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(mask(find(t, objects(t, manifests), "ConfigMap", "oob-dispatch").Data["Caddyfile"]), "\n")
	if mine := "request>headers>X-Mine delete\n"; !strings.Contains(got, mine) || strings.Replace(got, mine, "", 1) != strings.Join(want, "\n") {
		t.Errorf("the chart masks\n%s\nwant %s and\n%s", got, mine, strings.Join(want, "\n"))
	}
}
