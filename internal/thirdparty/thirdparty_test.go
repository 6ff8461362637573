// Package thirdparty keeps THIRD_PARTY, the list of the licences of all modules
// that the product binary is built of.
package thirdparty

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/licensecheck"
)

var update = flag.Bool("update", false, "write THIRD_PARTY again")

const head = `# Modules in the product binary, and their licences by SPDX identifier. The texts
# are in the modules themselves. go test ./internal/thirdparty -update writes
# this file.
`

// allowed are the licences that a module in the binary may have: those that ask
// for no more than their text and notice. MPL-2.0 modules are used unchanged;
// OFL-1.1 is that of a font.
var allowed = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "OFL-1.1", "Unlicense"}

// module is what go list tells of one.
type module struct{ Path, Version, Dir string }

// TestThirdParty compares THIRD_PARTY with the modules that the binary is built
// of now.
func TestThirdParty(t *testing.T) {
	var list strings.Builder
	list.WriteString(head)
	for _, m := range modules(t) {
		licences, err := licencesOf(m.Dir)
		if err != nil {
			t.Errorf("%s: %v", m.Path, err)
		}
		for _, l := range licences {
			if !slices.Contains(allowed, l) {
				t.Errorf("%s has the licence %s, which is not among those that are allowed", m.Path, l)
			}
		}
		fmt.Fprintf(&list, "%s %s %s\n", m.Path, m.Version, strings.Join(licences, " AND "))
	}
	const file = "../../THIRD_PARTY"
	if *update && !t.Failed() {
		if err := os.WriteFile(file, []byte(list.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != list.String() {
		t.Error("THIRD_PARTY is not up to date: run go test ./internal/thirdparty -update, and look at what has changed")
	}
}

// modules returns the modules that the binary for Linux is built of, by path.
func modules(t *testing.T) []module {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Module", "-tags", "nobadger,nomysql,nopgx", "./cmd/caddy")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []module
	for packages := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		err := packages.Decode(&p)
		switch {
		case errors.Is(err, io.EOF):
			slices.SortFunc(all, func(a, b module) int { return cmp.Compare(a.Path, b.Path) })
			return slices.Compact(all)
		case err != nil:
			t.Fatal(err)
		case p.Module != nil && p.Module.Version != "": // not the standard library, nor this module
			all = append(all, *p.Module)
		}
	}
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([-_.].*)?$`)

// licencesOf returns the identifiers of the licences in a module's folder.
func licencesOf(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range files {
		if !licenceFile.MatchString(f.Name()) || f.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		for _, match := range licensecheck.Scan(text).Match {
			found = append(found, match.ID)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no licence was recognized")
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
