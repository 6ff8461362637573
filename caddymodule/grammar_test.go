package caddymodule

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// The blocks of the README and of the code go by what their lines begin with: "" is
// that of the handler itself, "dispatcher" has the options of all dispatchers.
var guestKinds = map[string]string{
	"oob.dispatchers": "dispatcher", "oob.stores": "store", "oob.key_sources": "key_source",
}

var (
	option     = regexp.MustCompile(`(?m)^\t+([a-z_]+)`)
	guestBlock = regexp.MustCompile(`(?ms)^(dispatcher|store|key_source)(?: <name>)? (\w+)[^\n]* \{\n(.*?)^\}`)
)

func optionsIn(block string) (names []string) {
	for _, m := range option.FindAllStringSubmatch(block, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// readmeGrammar returns the options of each block of the README.
func readmeGrammar(t *testing.T) map[string][]string {
	readme := readFile(t, "../README.md")
	_, rest, _ := strings.Cut(readme, "oob_dispatch [<matcher>] {\n")
	grammar, _, _ := strings.Cut(rest, "\n}\n")
	handler, all, _ := strings.Cut(grammar, "\tdispatcher <name> <type> [<args>] {\n")
	blocks := map[string][]string{"": optionsIn(handler), "dispatcher": optionsIn(all)}
	for _, m := range guestBlock.FindAllStringSubmatch(readme, -1) {
		blocks[m[1]+" "+m[2]] = optionsIn(m[3])
	}
	return blocks
}

var unknownOption = regexp.MustCompile(`unrecognized option "zzz" of \w+; (?:there are ([a-z_, ]+)|it has none), at`)

// guestGrammar returns the options of each guest module, which the error about one
// that does not exist lists.
func guestGrammar(t *testing.T) map[string][]string {
	blocks := make(map[string][]string)
	for namespace, kind := range guestKinds {
		for _, m := range caddy.GetModules(namespace) {
			block, known := kind+" "+m.ID.Name(), false
			for _, argument := range []string{"", " https://a.example.com"} {
				line := strings.Replace(block, "dispatcher", "dispatcher d", 1) + argument
				_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(inSite(line+" {\nzzz\n}"+oneLink)), nil)
				if err == nil {
					t.Fatalf("%s took an option that does not exist", line)
				}
				if names := unknownOption.FindStringSubmatch(err.Error()); names != nil {
					known, blocks[block] = true, slices.DeleteFunc(strings.Split(names[1], ", "), func(s string) bool { return s == "" })
					slices.Sort(blocks[block])
				}
			}
			if !known {
				t.Errorf("the options of %s are not known", block)
			}
		}
	}
	return blocks
}

// What the README calls an option of a module is one, and the other way round. What
// has no block there has its options in the text.
func TestReadmeHasTheOptionsOfAllModules(t *testing.T) {
	readme, inReadme, inCode := readFile(t, "../README.md"), readmeGrammar(t), guestGrammar(t)
	for block, names := range inCode {
		if documented, ok := inReadme[block]; ok {
			if !slices.Equal(documented, names) {
				t.Errorf("%s: the README has %v, the code %v", block, documented, names)
			}
			continue
		}
		_, kind, _ := strings.Cut(block, " ")
		for _, name := range append(names, kind) {
			if !regexp.MustCompile("`(?:[a-z_]+ )?" + name + "(?: <\\w+>)?`").MatchString(readme) {
				t.Errorf("%s: the README has no `%s`", block, name)
			}
		}
	}
	for block := range inReadme {
		if _, ok := inCode[block]; !ok && strings.Contains(block, " ") {
			t.Errorf("the README has %s, which the code has not", block)
		}
	}
}

// What the README calls an option is one, and the other way round.
func TestReadmeGrammarIsComplete(t *testing.T) {
	blocks := readmeGrammar(t)
	words := make(map[string]bool)
	for _, name := range slices.Concat(blocks[""], blocks["dispatcher"]) {
		words[name] = true
	}
	words["dispatcher"] = true
	singular := map[string]string{"dispatchers": "dispatcher", "limits": "limit", "key_sources": "key_source"}
	fields := make(map[string]bool)
	for _, v := range []any{Handler{}, Dispatcher{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if word, ok := singular[name]; ok {
				name = word
			}
			switch name {
			case "", "name", "limits_off", "visual_code_picture", "handle": // not exported, an argument, values, an old name
			default:
				fields[name] = true
			}
		}
	}
	if !reflect.DeepEqual(words, fields) {
		t.Errorf("the README has %v, the code %v", words, fields)
	}
}

// Every option has a value that is refused.
func TestRefusedValuesCoverTheGrammar(t *testing.T) {
	tried := make(map[string]bool)
	for _, r := range refusedValues {
		block := r.kind
		if r.kind != "" && r.kind != "dispatcher" {
			block = "dispatcher " + r.kind
		}
		for line := range strings.SplitSeq(r.options, "\n") {
			name, rest, _ := strings.Cut(line, " ")
			tried[block+" "+name] = true
			if guest, _, opens := strings.Cut(rest, " "); opens && (name == "store" || name == "key_source") {
				block = name + " " + guest
			}
		}
	}
	all := readmeGrammar(t)
	maps.Copy(all, guestGrammar(t))
	for block, names := range all {
		for _, name := range names {
			if !tried[block+" "+name] {
				t.Errorf("no value of %s %s is tried", block, name)
			}
		}
	}
}
