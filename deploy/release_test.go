package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

const (
	version = "0.0.1-test"
	commit  = "0123456789abcdef0123456789abcdef01234567"
)

// stamp is what the release is told of git.
var stamp = []string{"VERSION=v" + version, "COMMIT=" + commit}

// TestRelease makes a release, looks at its parts, and runs them. What it runs
// comes out of the files that operators get.
func TestRelease(t *testing.T) {
	testservice.Slow(t, "Caddy is built for two architectures")
	testservice.NeedRoot(t, "it builds and runs containers without a service that does")
	for _, program := range []string{"make", "buildah", "podman", "runc", "dpkg"} {
		testservice.Need(t, program)
	}
	machine := containerMachine(t)
	dist := testservice.Folder(t)
	command{env: append(machine, stamp...)}.run(t, "make", "release", "DIST="+dist)
	part := func(suffix string) string { return filepath.Join(dist, "oob-dispatch_"+version+"_linux_"+suffix) }

	t.Run("checksums", func(t *testing.T) {
		sums := string(read(t, filepath.Join(dist, "SHA256SUMS")))
		if !strings.Contains(sums, "oob-dispatch-"+version+".tgz\n") {
			t.Errorf("SHA256SUMS lacks the chart:\n%s", sums)
		}
		for _, suffix := range []string{".tar.gz", ".deb", ".oci.tar", ".cdx.json"} {
			for _, arch := range []string{"amd64", "arm64"} {
				if !strings.Contains(sums, filepath.Base(part(arch+suffix))+"\n") {
					t.Errorf("SHA256SUMS lacks %s%s:\n%s", arch, suffix, sums)
				}
			}
		}
	})
	t.Run("archive", func(t *testing.T) {
		for arch, want := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
			files := unpack(t, part(arch+".tar.gz"))
			for _, name := range []string{"LICENSE", "THIRD_PARTY", "CHANGELOG.md", "Caddyfile.example", "oob-dispatch.service"} {
				if len(files[name]) == 0 {
					t.Errorf("%s: there is no %s", arch, name)
				}
			}
			binary, err := elf.NewFile(bytes.NewReader(files["caddy"]))
			if err != nil {
				t.Fatal(err)
			}
			if binary.Machine != want {
				t.Errorf("%s: the binary is for %v", arch, binary.Machine)
			}
			if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
				t.Errorf("%s: the binary is not static", arch)
			}
		}
	})
	native := part(strings.TrimSpace(command{}.run(t, "go", "env", "GOARCH")))
	binary := unpack(t, native+".tar.gz")["caddy"]
	t.Run("empty root", func(t *testing.T) { inEmptyRoot(t, binary) })
	t.Run("same bytes again", func(t *testing.T) { builtElsewhere(t, binary) })
	t.Run("package", func(t *testing.T) { install(t, native+".deb", binary) })
	t.Run("bill of materials", func(t *testing.T) { materials(t, native+".cdx.json") })
	t.Run("image", func(t *testing.T) { runImage(t, machine, native+".oci.tar") })
	t.Run("compose", func(t *testing.T) { runCompose(t, machine, dist) })
}

// unpack returns the files of an archive by name.
func unpack(t *testing.T, file string) map[string][]byte {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(read(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(unzipped); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err == nil {
			files[strings.TrimPrefix(h.Name, "./")], err = io.ReadAll(archive)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// inEmptyRoot runs the binary where there is no other file: no libc, no time
// zones.
func inEmptyRoot(t *testing.T, binary []byte) {
	root := t.TempDir()
	write(t, filepath.Join(root, "caddy"), string(binary), 0o755)
	for _, words := range []string{"version", "--version", "oob version"} {
		cmd := exec.CommandContext(t.Context(), "/caddy", strings.Fields(words)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir, cmd.Env = "/", []string{"HOME=/"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{"v" + version, commit, "v2."} {
			if !strings.Contains(string(out), want) {
				t.Errorf("caddy %s says %q, without %q", words, out, want)
			}
		}
	}
}

// install installs the package into a root that has what its scripts need, and
// takes it away again.
func install(t *testing.T, file string, binary []byte) {
	root := t.TempDir()
	for _, program := range []string{"/bin/sh", "/usr/bin/id", "/usr/sbin/useradd"} {
		copyProgram(t, root, program)
	}
	write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	write(t, filepath.Join(root, "etc/group"), "root:x:0:\n", 0o644)
	write(t, filepath.Join(root, "etc/nsswitch.conf"), "passwd: files\ngroup: files\n", 0o644)
	for _, name := range []string{"dev/null", "var/lib/dpkg/status", "var/lib/dpkg/updates/.keep", "var/lib/dpkg/info/.keep"} {
		write(t, filepath.Join(root, name), "", 0o666)
	}
	dpkg := func(args ...string) {
		t.Helper()
		command{}.run(t, "dpkg", append([]string{"--root=" + root, "--force-depends"}, args...)...)
	}

	dpkg("--install", file)
	if !bytes.Equal(read(t, filepath.Join(root, "usr/bin/oob-dispatch")), binary) {
		t.Error("the package has another binary than the archive")
	}
	if unit := string(read(t, filepath.Join(root, "usr/lib/systemd/system/oob-dispatch.service"))); !strings.Contains(unit, "ExecStart=/usr/bin/oob-dispatch ") {
		t.Errorf("the unit starts another binary:\n%s", unit)
	}
	if users := string(read(t, filepath.Join(root, "etc/passwd"))); !strings.Contains(users, "\noob-dispatch:") {
		t.Errorf("the package made no user:\n%s", users)
	}

	config := filepath.Join(root, "etc/oob-dispatch/Caddyfile")
	write(t, config, "# ours\n", 0o644)
	dpkg("--install", file)
	dpkg("--remove", "oob-dispatch")
	if got := string(read(t, config)); got != "# ours\n" {
		t.Errorf("the configuration did not outlive an upgrade and a removal: %q", got)
	}
	dpkg("--purge", "oob-dispatch")
	for _, left := range []string{config, filepath.Join(root, "usr/bin/oob-dispatch")} {
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there after a purge: %v", left, err)
		}
	}
}

// copyProgram copies a program with its libraries into another root.
func copyProgram(t *testing.T, root, program string) {
	t.Helper()
	libraries := command{}.run(t, "ldd", program)
	for _, name := range append(regexp.MustCompile(`/\S+`).FindAllString(libraries, -1), program) {
		write(t, filepath.Join(root, name), string(read(t, name)), 0o755)
	}
}

// builtElsewhere builds a copy of the sources, without a git repository, in
// another folder.
func builtElsewhere(t *testing.T, binary []byte) {
	elsewhere := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(command{}.run(t, "git", "ls-files", "-z"), "\x00"), "\x00") {
		from := filepath.Join("..", name)
		info, err := os.Stat(from)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not yet in git
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(elsewhere, name), string(read(t, from)), info.Mode())
	}
	again := filepath.Join(t.TempDir(), "caddy")
	command{env: stamp}.run(t, filepath.Join(elsewhere, "xcaddy.sh"), "--output", again)
	if !bytes.Equal(read(t, again), binary) {
		t.Error("a second build of the same sources has other bytes")
	}
}

// materials looks at the SBOM.
func materials(t *testing.T, file string) {
	var bill struct {
		Metadata struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(read(t, file), &bill); err != nil {
		t.Fatal(err)
	}
	if c := bill.Metadata.Component; c.Name != "github.com/oob-dispatch/oob-dispatch" || c.Version != "v"+version {
		t.Errorf("it is the bill of %s %s", c.Name, c.Version)
	}
	caddy := "github.com/caddyserver/caddy/v2"
	want := strings.TrimSpace(command{}.run(t, "go", "list", "-m", "-f", "{{.Version}}", caddy))
	for _, c := range bill.Components {
		if c.Name == caddy && c.Version == want {
			return
		}
	}
	t.Errorf("it lacks %s %s", caddy, want)
}
