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

var update = flag.Bool("update", false, "write the generated part of commands.md again")

// TestCommandsPage compares commands.md with the commands that are registered:
// each has a section, which is its help, and there is no other section.
func TestCommandsPage(t *testing.T) {
	const page, marker = "commands.md", "<!-- from here on: go test ./docs -run CommandsPage -update -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, written, found := strings.Cut(string(text), marker)
	if !found {
		t.Fatalf("%s lacks the line %s", page, marker)
	}
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
	if *update {
		if err := os.WriteFile(page, []byte(head+marker+want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if written != want.String() {
		t.Errorf("%s is not what the commands say of themselves: run go test ./docs -run CommandsPage -update", page)
	}
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
