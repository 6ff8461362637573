package command

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// conversion is what became of the dispatchers of a nevisfido.yml.
type conversion struct {
	Caddyfile string        `json:"caddyfile"`
	Missing   []missingPart `json:"missing"`
	Remarks   []string      `json:"remarks"`

	names map[string]bool
	body  strings.Builder
}

// missingPart is something that has no counterpart.
type missingPart struct {
	Line   int    `json:"line"`
	Option string `json:"option"` // such as link: base-url
	Text   string `json:"text"`
}

// A converter makes the lines of a dispatcher of one of nevisFIDO's types.
type converter struct {
	module  string
	options map[string]func(c *conversion, o *fidoOption) (line string)
}

// converters are nevisFIDO's built-in dispatchers with the options that are known
// of them (nevisFIDO reference guide, Dispatchers). Callers name a dispatcher by
// its type. The redeem URLs are common to all, see takeRedeemURLs.
var converters = map[string]converter{
	nevisfido.BuiltInFCM: {"fcm", map[string]func(*conversion, *fidoOption) string{
		"service-account-json":        plainOption("credentials"),
		"dry-run":                     flagOption("dry_run", true),
		"remove-unregistered-clients": flagOption("keep_unregistered", false),
		"endpoint-base-url":           endpointOption,
		"proxy-url":                   proxyOption,
		"proxy-user":                  partOfProxy,
		"proxy-password":              partOfProxy,
	}},
	nevisfido.BuiltInLink:   {"link", map[string]func(*conversion, *fidoOption) string{"base-url": plainOption("base_url")}},
	nevisfido.BuiltInLinkQR: {"qr_code", map[string]func(*conversion, *fidoOption) string{"link-base-url": plainOption("base_url")}},
	nevisfido.BuiltInQRCode: {"qr_code", nil},
}

// fidoOption is an option of a dispatcher in nevisfido.yml.
type fidoOption struct {
	dispatcher *fidoDispatcher
	key, value string
	line       int
}

// fidoDispatcher is an element of the list dispatchers.
type fidoDispatcher struct {
	kind    string
	line    int
	options []*fidoOption
}

func (d *fidoDispatcher) option(key string) *fidoOption {
	for _, o := range d.options {
		if o.key == key {
			return o
		}
	}
	return nil
}

// convertDispatchers reads nevisfido.yml, or a part of it that has the list
// dispatchers. Errors quote no values.
func convertDispatchers(text []byte) (*conversion, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("it is not YAML: %s", yamlProblem(err))
	}
	list := findDispatchers(&document, 3)
	if list == nil || len(list.Content) == 0 {
		return nil, errors.New("there is no list fido-uaf.dispatchers: give nevisfido.yml, or its section dispatchers alone")
	}
	c := &conversion{Missing: []missingPart{}, Remarks: []string{}, names: map[string]bool{}}
	var all []*fidoDispatcher
	for _, node := range list.Content {
		all = append(all, c.read(resolved(node)))
	}
	c.body.WriteString("oob_dispatch {\n" + c.takeRedeemURLs(all))
	for _, d := range all {
		c.convert(d)
	}
	c.body.WriteString("}\n")
	c.Caddyfile = c.body.String()
	c.remark()
	return c, nil
}

var yamlLine = regexp.MustCompile(`line \d+`)

// yamlProblem tells where a YAML error is, as its text may quote the file.
func yamlProblem(err error) string {
	return cmp.Or(yamlLine.FindString(err.Error()), "it cannot be parsed")
}

func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// findDispatchers returns the list of dispatchers: the whole document, or the
// member dispatchers, also below fido-uaf. It looks no deeper than that, because
// YAML can nest a value in itself.
func findDispatchers(n *yaml.Node, depth int) *yaml.Node {
	n = resolved(n)
	switch {
	case n.Kind == yaml.SequenceNode:
		return n
	case depth == 0:
	case n.Kind == yaml.DocumentNode:
		return findDispatchers(n.Content[0], depth-1)
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch n.Content[i].Value {
			case "dispatchers", "fido-uaf", "fido-uaf.dispatchers":
				return findDispatchers(n.Content[i+1], depth-1)
			}
		}
	}
	return nil
}

func (c *conversion) missing(line int, option, format string, args ...any) {
	c.Missing = append(c.Missing, missingPart{line, option, fmt.Sprintf(format, args...)})
}

// read makes a dispatcher of a node.
func (c *conversion) read(n *yaml.Node) *fidoDispatcher {
	d := &fidoDispatcher{line: n.Line}
	if n.Kind != yaml.MappingNode {
		return d
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolved(n.Content[i+1])
		text := "" // of what is no plain value
		if value.Kind == yaml.ScalarNode && value.Tag != "!!null" {
			text = value.Value
		}
		if key.Value == "type" {
			d.kind = text
		} else {
			d.options = append(d.options, &fidoOption{dispatcher: d, key: key.Value, value: text, line: key.Line})
		}
	}
	return d
}

// convert writes a dispatcher.
func (c *conversion) convert(d *fidoDispatcher) {
	converter, known := converters[d.kind]
	switch {
	case d.kind == "":
		c.missing(d.line, "dispatcher", "it has no type")
		return
	case !known:
		c.missing(d.line, d.kind, "this is the type of a plug-in: see whether webhook does what it does, or write a dispatcher (docs/dispatcher.md)")
		return
	case c.names[d.kind]:
		c.missing(d.line, d.kind, "a second dispatcher of this type: callers name a dispatcher by its type, which only one can have")
		return
	}
	c.names[d.kind] = true
	var lines []string
	for _, o := range d.options {
		convertOption, known := converter.options[o.key]
		switch {
		case redeemOperation(o.key) != "":
		case o.key == "<<":
			c.missing(o.line, d.kind, "members that come from an anchor of YAML: write them out")
		case !known:
			c.missing(o.line, d.kind+": "+o.key, "this option is not known here, and has no counterpart")
		default:
			if line := convertOption(c, o); line != "" {
				lines = append(lines, "\t\t"+line+"\n")
			}
		}
	}
	fmt.Fprintf(&c.body, "\tdispatcher %s %s", d.kind, converter.module)
	if len(lines) > 0 {
		fmt.Fprintf(&c.body, " {\n%s\t}", strings.Join(lines, ""))
	}
	c.body.WriteString("\n")
}

func (c *conversion) remark() {
	if c.names[nevisfido.BuiltInLink] {
		c.Remarks = append(c.Remarks, "keep the dispatcher link in nevisfido.yml: the sidecar asks nevisFIDO for it (option upstream_dispatcher); its redeem URLs go into all messages")
	} else {
		c.Remarks = append(c.Remarks, "add a dispatcher of type link to nevisfido.yml, with the redeem URLs: the sidecar asks nevisFIDO for it (option upstream_dispatcher)")
	}
	c.Remarks = append(c.Remarks, "if nevisfido.yml sets how long tokens live, give the same with token_lifetime: nevisFIDO's answers do not tell")
}
