package docs

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	_ "github.com/oob-dispatch/oob-dispatch/caddymodule/command"
)

var update = flag.Bool("update", false, "write the generated parts of pages again")

// wantGenerated compares the end of a page, below its marker, with what the code
// says, or writes it. test is the name that -run takes.
func wantGenerated(t *testing.T, page, test, want string) {
	t.Helper()
	marker := "<!-- from here on: go test ./docs -run " + test + " -update -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, written, found := strings.Cut(string(text), marker)
	switch {
	case !found:
		t.Fatalf("%s lacks the line %s", page, marker)
	case *update:
		if err := os.WriteFile(page, []byte(head+marker+want), 0o644); err != nil {
			t.Fatal(err)
		}
	case written != want:
		t.Errorf("%s is not what the code says: run go test ./docs -run %s -update", page, test)
	}
}

// TestCommandsPage compares commands.md with the commands that are registered:
// each has a section, which is its help, and there is no other section.
func TestCommandsPage(t *testing.T) {
	oob := &cobra.Command{Use: "oob"}
	registered := caddycmd.Commands()["oob"]
	registered.CobraFunc(oob)
	oob.Short = registered.Short
	caddy := &cobra.Command{Use: "caddy"}
	caddy.AddCommand(oob)
	var want strings.Builder
	for _, cmd := range oob.Commands() {
		writeSections(&want, cmd)
	}
	wantGenerated(t, "commands.md", "CommandsPage", want.String())
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range oob.Commands() {
		if !strings.Contains(string(readme), "caddy oob "+cmd.Name()) {
			t.Errorf("README.md does not name %s", cmd.CommandPath())
		}
	}
}

// writeSections writes the help of a command and of those below it.
func writeSections(b *strings.Builder, cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	help := strings.TrimSpace(cmd.Long + "\n\n" + cmd.UsageString())
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n```\n%s\n```\n", cmd.CommandPath(), cmd.Short, help)
	for _, sub := range cmd.Commands() {
		writeSections(b, sub)
	}
}
