package docs

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	_ "github.com/oob-dispatch/oob-dispatch/caddymodule/command"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

var update = flag.Bool("update", false, "write the generated parts of pages again")

// wantGenerated compares the end of a page, below its marker, with what the code
// says, or writes it. test is the name that -run takes.
func wantGenerated(t *testing.T, page, test, want string) {
	t.Helper()
	testservice.WantGenerated(t, page, "go test ./docs -run "+test+" -update", want, *update)
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
	readme := readFile(t, "README.md")
	for _, cmd := range oob.Commands() {
		if !strings.Contains(readme, "caddy oob "+cmd.Name()) {
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
