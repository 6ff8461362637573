// Command mutations asks whether the tests would notice. It takes one guard after
// the other out of the product, those of list.go, and runs the tests that have to
// fail then. The tree is not changed: the compiler gets the changed files by
// `go test -overlay`. It ends with status 1 if a mutation survives.
//
//	make mutations               all
//	make mutations ARGS=blocked  those with the word in property, file or sentence
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	pattern, err := regexp.Compile("(?i)" + strings.Join(os.Args[1:], " "))
	if err == nil {
		err = run(pattern)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutations:", err)
		os.Exit(1)
	}
}

func run(pattern *regexp.Regexp) error {
	folder, err := os.MkdirTemp("", "mutations")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	overlay, err := writeOverlay(folder)
	if err != nil {
		return err
	}
	programs := make(map[string]string) // by package
	killed, all, number := 0, 0, -1
	for _, p := range properties {
		title := "\n" + p.name + "\n"
		for _, m := range p.guards {
			if number++; !pattern.MatchString(p.name + "\n" + m.file + "\n" + m.removes) {
				continue
			}
			if programs[m.in] == "" {
				if programs[m.in], err = compile(overlay, folder, m.in); err != nil {
					return err
				}
			}
			verdict := try(programs[m.in], m.in, m.tests, number)
			fmt.Printf("%s  %s: %s\n\t%s\n", title, m.file, m.removes, verdict)
			title = ""
			if all++; strings.HasPrefix(verdict, "killed") {
				killed++
			}
		}
	}
	fmt.Printf("\n%d of %d mutations killed\n", killed, all)
	if killed < all || all == 0 {
		return errors.New("not all were killed: where one survived, a test of its guard is missing")
	}
	return nil
}

// writeOverlay returns the file that tells the compiler which files to read in
// place of others.
func writeOverlay(folder string) (path string, err error) {
	woven, err := weave()
	if err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for file, text := range woven {
		if path, err = filepath.Abs(file); err != nil {
			return "", err
		}
		replace[path] = filepath.Join(folder, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(replace[path], text, 0o600); err != nil {
			return "", err
		}
	}
	text, _ := json.Marshal(map[string]any{"Replace": replace}) // strings alone
	path = filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

// compile makes the program of a package's tests, and runs those that have to
// notice something as they are: only what passes then can fail for a mutation.
func compile(overlay, folder, in string) (program string, err error) {
	program = filepath.Join(folder, strings.ReplaceAll(in, "/", "_")+".test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", program, in) //nolint:gosec,noctx // of our own list
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the tests of %s: %w\n%s", in, err, out)
	}
	var tests []string
	for _, m := range mutations() {
		if m.in == in {
			tests = append(tests, m.tests)
		}
	}
	if verdict := try(program, in, strings.Join(tests, "|"), -1); verdict != survived {
		return "", fmt.Errorf("the tests of %s without a mutation: %s", in, verdict)
	}
	return program, nil
}

const survived = "SURVIVED"

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// try runs tests with a mutation, and says what came of it.
func try(program, in, tests string, number int) (verdict string) {
	test := exec.Command(program, "-test.run=^("+tests+")$", "-test.failfast", "-test.timeout=5m") //nolint:gosec,noctx // it has a timeout
	test.Dir, test.Env = in, append(os.Environ(), fmt.Sprintf("%s=%d", chooses, number))
	out, err := test.CombinedOutput()
	name := failure.FindSubmatch(out)
	switch {
	case err == nil:
		return survived
	case bytes.Contains(out, []byte("panic: test timed out")):
		return "TIMED OUT"
	case name != nil:
		return "killed by " + string(name[1])
	}
	return fmt.Sprintf("NO TEST FAILED: %v\n%s", err, out)
}
