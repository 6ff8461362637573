package deploy

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// service is what compose.yaml says of a container. Anything else in it is an
// error, because the test would not do it.
type service struct {
	Image       string
	Command     []string
	Ports       []string // there is no way in here, see runCompose
	Volumes     []string
	NetworkMode string   `yaml:"network_mode"`
	DependsOn   []string `yaml:"depends_on"`
	Restart     string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
}

// arguments are those of podman run; images are those that were built.
func (s *service) arguments(t *testing.T, images map[string]string) []string {
	t.Helper()
	args := []string{"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"} // as in runImage
	network := "none"
	if shared, ok := strings.CutPrefix(s.NetworkMode, "service:"); ok {
		network = "container:" + shared
	}
	args = append(args, "--network", network)
	if s.Restart != "" {
		args = append(args, "--restart", s.Restart)
	}
	if s.ReadOnly {
		args = append(args, "--read-only", "--read-only-tmpfs=false")
	}
	for _, c := range s.CapDrop {
		args = append(args, "--cap-drop", c)
	}
	for _, o := range s.SecurityOpt {
		args = append(args, "--security-opt", o)
	}
	for _, v := range s.Volumes {
		if relative, ok := strings.CutPrefix(v, "./"); ok {
			folder, err := filepath.Abs("compose")
			if err != nil {
				t.Fatal(err)
			}
			v = filepath.Join(folder, relative)
		}
		args = append(args, "--volume", v)
	}
	variable := regexp.MustCompile(`^\$\{(\w+):-`).FindStringSubmatch(s.Image)
	if variable == nil || images[variable[1]] == "" {
		t.Fatalf("which image is %s?", s.Image)
	}
	return append(append(args, images[variable[1]]), s.Command...)
}

// runCompose starts the containers of compose.yaml with podman, in a network
// without a way out, and sends a message to the phone.
func runCompose(t *testing.T, machine []string, dist string) {
	podman := command{env: machine}
	podman.run(t, "make", "demo-image", "DIST="+dist)
	images := map[string]string{
		"IMAGE": "localhost/oob-dispatch:" + version, "DEMO_IMAGE": "localhost/oob-dispatch-demo:latest", "REDIS_IMAGE": redisImage(t, podman),
	}
	var file struct {
		Name     string
		Services map[string]*service
		Volumes  map[string]struct{}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(read(t, "compose/compose.yaml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}

	started := map[string]bool{}
	var start func(name string)
	start = func(name string) {
		s := file.Services[name]
		if s == nil {
			t.Fatalf("compose.yaml has no service %s", name)
		}
		for _, before := range s.DependsOn {
			start(before)
		}
		if started[name] {
			return
		}
		started[name] = true
		t.Cleanup(func() {
			if t.Failed() {
				out, _ := podman.try(t, "sh", "-c", "podman logs "+name+" 2>&1")
				t.Logf("%s: %s", name, out)
			}
			podman.run(t, "podman", "rm", "--force", "--time", "5", name)
		})
		podman.run(t, "podman", append([]string{"run", "--detach", "--name", name}, s.arguments(t, images)...)...)
	}
	for name := range file.Services {
		start(name)
	}

	heard := func(pattern string) (found []string) {
		testservice.Until(t, func() bool {
			out, _ := podman.try(t, "podman", "logs", "parties")
			found = regexp.MustCompile(pattern).FindStringSubmatch(out)
			return found != nil
		}, func() string { return "the phone did not say " + pattern })
		return found
	}
	id := heard(`registered as dispatch target (\S+)`)[1]
	podman.run(t, "podman", "exec", "oob-dispatch", "caddy", "oob", "send",
		"--address", "unix//data/oob-dispatch.sock", "--dispatcher", "push", "--target", id)
	heard(`phone: push .* arrived, and cannot be redeemed`) // read, but no nevisFIDO made its token
}

// redisImage makes an image of the Redis that is installed.
func redisImage(t *testing.T, podman command) string {
	t.Helper()
	root, server := t.TempDir(), testservice.Need(t, "redis-server")
	copyProgram(t, root, server)
	containerfile := filepath.Join(t.TempDir(), "Containerfile")
	write(t, containerfile, "FROM scratch\nCOPY . /\nENV PATH="+filepath.Dir(server)+"\nWORKDIR /data\n", 0o644)
	podman.run(t, "buildah", "bud", "-t", "redis-of-this-machine", "-f", containerfile, root)
	return "localhost/redis-of-this-machine:latest"
}
