package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// TestEveryCommandIsOne: commands of ours in blocks and in the text, of the
// binary, make, go and scripts, are there and take the flags and arguments that
// stand behind them.
func TestEveryCommandIsOne(t *testing.T) {
	for _, p := range pages(t) {
		for _, f := range p.fences() {
			if f.language != "sh" && f.language != "console" {
				continue
			}
			for _, words := range commandsOf(f.text) {
				if err := checkCommand(t, words, true); err != "" {
					t.Errorf("%s:%d: %s: %s", p.name, f.line, strings.Join(words, " "), err)
				}
			}
		}
		for _, span := range codeSpan.FindAllStringSubmatch(p.prose(), -1) {
			if strings.Contains(span[1], "…") || strings.HasPrefix(span[1], "caddy_") {
				continue
			}
			for _, words := range commandsOf(span[1]) {
				if err := checkCommand(t, words, false); err != "" {
					t.Errorf("%s: %s: %s", p.name, span[1], err)
				}
			}
		}
	}
}

var (
	codeSpan    = regexp.MustCompile("`([^`\n]+)`")
	comment     = regexp.MustCompile(`(?m)(^|\s)# .*$`)
	continued   = regexp.MustCompile(`\\\n\s*`)
	separator   = regexp.MustCompile(`\n| (?:\|\|?|&&?|;) |\$\(|[;&]$`)
	redirection = regexp.MustCompile(` [<>]{1,2} ?\S+`)
	word        = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)
	assignment  = regexp.MustCompile(`^[A-Z_]+=`)
)

// commandsOf takes a piece of shell apart, as far as the documentation uses it.
func commandsOf(text string) (all [][]string) {
	text = continued.ReplaceAllString(comment.ReplaceAllString(text, ""), " ")
	for _, part := range separator.Split(text, -1) {
		words := word.FindAllString(redirection.ReplaceAllString(part, ""), -1)
		for i, w := range words {
			words[i] = strings.Trim(strings.TrimSuffix(w, ")"), `'"`)
		}
		if len(words) > 3 && words[0] == "sudo" && words[1] == "-u" {
			words = words[3:]
		}
		for len(words) > 0 && (words[0] == "$" || words[0] == "env" || assignment.MatchString(words[0])) {
			words = words[1:]
		}
		if len(words) > 0 {
			all = append(all, words)
		}
	}
	return all
}

// ourBinary are the names under which the documentation installs it.
func ourBinary(word string) bool {
	return word == "caddy" || word == "./caddy" || word == "oob-dispatch" || word == "/usr/local/bin/oob-dispatch"
}

// checkCommand says what is wrong with a command of ours. One in the text may lack
// its arguments.
func checkCommand(t *testing.T, words []string, complete bool) string {
	t.Helper()
	switch words[0] {
	case "podman", "kubectl", "docker": // and then a command of ours
		known := caddyRoot()
		for i := 1; i+1 < len(words); i++ {
			if sub, _, err := known.Find(words[i+1:]); ourBinary(words[i]) && err == nil && sub != known {
				return checkCommand(t, words[i:], complete)
			}
		}
		return ""
	case "make":
		return checkMake(t, words[1:])
	case "go":
		return checkGo(words[1:])
	}
	if ourBinary(words[0]) {
		return checkCaddy(words[1:], complete)
	}
	if local, ok := strings.CutPrefix(words[0], "./"); ok || words[0] == "bench/run" || words[0] == "bench/compare" {
		return exists(local)
	}
	return ""
}

func exists(name string) string {
	if _, err := os.Stat(filepath.Join("..", name)); err != nil {
		return "there is no " + name
	}
	return ""
}

func checkMake(t *testing.T, words []string) string {
	t.Helper()
	makefile := readFile(t, "Makefile")
	for _, w := range words {
		if !strings.Contains(w, "=") && !strings.Contains(makefile, "\n"+w+":") {
			return "the Makefile has no target " + w
		}
	}
	return ""
}

// checkGo looks for the packages that a go command names.
func checkGo(words []string) string {
	for _, w := range words {
		if strings.HasPrefix(w, "./") && !strings.Contains(w, "...") {
			return exists(w)
		}
	}
	return ""
}

// caddyRoot is the command caddy with all that are registered below it.
func caddyRoot() *cobra.Command {
	root := &cobra.Command{Use: "caddy"}
	for _, c := range caddycmd.Commands() {
		cmd := &cobra.Command{Use: c.Name + " " + c.Usage, Run: func(*cobra.Command, []string) {}, Args: cobra.ArbitraryArgs}
		if c.CobraFunc != nil {
			c.CobraFunc(cmd)
		} else if c.Flags != nil {
			cmd.Flags().AddGoFlagSet(c.Flags)
		}
		root.AddCommand(cmd)
	}
	return root
}

func checkCaddy(words []string, complete bool) string {
	if len(words) == 0 {
		return ""
	}
	// "list|show" are several commands.
	if i := slices.IndexFunc(words, func(w string) bool { return strings.Contains(w, "|") && !strings.HasPrefix(w, "-") }); i > 0 {
		for one := range strings.SplitSeq(words[i], "|") {
			if problem := checkCaddy(append(slices.Clone(words[:i]), one), false); problem != "" {
				return problem
			}
		}
		return ""
	}
	root := caddyRoot()
	cmd, args, err := root.Find(words)
	switch {
	case slices.Contains([]string{"help", "completion", "manpage"}, words[0]): // which the binary's root has
		return ""
	case err != nil:
		return err.Error()
	case cmd == root, cmd.HasSubCommands() && len(args) > 0 && !strings.HasPrefix(args[0], "-"):
		return "there is no such command"
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(args); err != nil {
		return err.Error()
	}
	if complete && cmd.Args != nil {
		if err := cmd.Args(cmd, cmd.Flags().Args()); err != nil {
			return err.Error()
		}
		if err := cmd.ValidateRequiredFlags(); err != nil {
			return err.Error()
		}
	}
	return ""
}
