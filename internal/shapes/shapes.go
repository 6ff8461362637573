// Package shapes collects what messages of nevisFIDO look like: which members
// they have, and of which types, but never a value. It is how an installation
// finds out whether a real server behaves as docs/protocol.md assumes.
//
// What a Set may hold, so that it can be shown to anybody, is decided in two
// places: names.go says which names are told and which constants of the protocol
// count as types, and read.go gives every value one of a closed list of types.
package shapes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of a Set, whatever passes.
const (
	maxNodes   = 4096 // of all messages together
	maxMembers = 64   // of one object
	maxLevels  = 16   // what is deeper has a type and nothing below
	maxFile    = 4 << 20
)

// version is that of the file's form.
const version = 1

// Set is what was seen.
type Set struct {
	Version int `json:"version"`
	// Messages has the shape of each message by its name, such as "dispatch
	// request" and "dispatch answer 200".
	Messages map[string]*Node `json:"messages"`
	// Notes counts what the sidecar made of messages, such as "guess key_text".
	Notes map[string]int `json:"notes"`

	nodes int
}

// NewSet returns a Set that has seen nothing.
func NewSet() *Set {
	return &Set{Version: version, Messages: map[string]*Node{}, Notes: map[string]int{}}
}

// Node is the shape of what stood at one place.
type Node struct {
	// Types counts what stood there by its type.
	Types map[string]int `json:"types,omitempty"`
	// Members are those of an object. All elements of an array are the member
	// Elements, and what is in a link, JWE or JWS has members as well.
	Members map[string]*Node `json:"members,omitempty"`
	// Cut tells that there was more than a Set holds.
	Cut bool `json:"cut,omitempty"`
}

// At returns the node at a path, such as "create_target answer 201/id"; nil where
// nothing stood there.
func (s *Set) At(path string) *Node {
	name, rest, _ := strings.Cut(path, "/")
	n := s.Messages[name]
	for rest != "" && n != nil {
		name, rest, _ = strings.Cut(rest, "/")
		n = n.Members[name]
	}
	return n
}

// Count tells how often one of the types stood there; any, where none is named.
func (n *Node) Count(kinds ...string) (sum int) {
	if n == nil {
		return 0
	}
	for kind, count := range n.Types {
		if len(kinds) == 0 || slices.Contains(kinds, kind) {
			sum += count
		}
	}
	return sum
}

// Walk visits a node and all below it, parents first and names in order.
func (n *Node) Walk(path string, visit func(path string, n *Node)) {
	if n == nil {
		return
	}
	visit(path, n)
	for _, name := range slices.Sorted(maps.Keys(n.Members)) {
		n.Members[name].Walk(path+"/"+name, visit)
	}
}

// Kinds tells the types of a node and how often each was seen, such as "string
// ×3, null ×1".
func (n *Node) Kinds() string {
	if n == nil {
		return "nothing"
	}
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(n.Types)) {
		all = append(all, fmt.Sprintf("%s ×%d", kind, n.Types[kind]))
	}
	if n.Cut {
		all = append(all, "and more members than are kept")
	}
	return strings.Join(all, ", ")
}

func (n *Node) is(kind string) {
	if n == nil {
		return
	}
	if n.Types == nil {
		n.Types = map[string]int{}
	}
	n.Types[kind]++
}

// message returns the node of a message, nil where there is no room.
func (s *Set) message(name string) *Node { return s.grow(s.Messages, name, maxNodes) }

// member returns the node of a member, nil where there is no room.
func (s *Set) member(n *Node, name string) *Node {
	if n.Members == nil {
		n.Members = map[string]*Node{}
	}
	m := s.grow(n.Members, name, maxMembers)
	n.Cut = n.Cut || m == nil
	return m
}

func (s *Set) grow(among map[string]*Node, name string, most int) *Node {
	if among[name] == nil && s.nodes < maxNodes && len(among) < most {
		s.nodes++
		among[name] = &Node{}
	}
	return among[name]
}

// errForeign reports a file that is not one of shapes.
var errForeign = errors.New("it is not a file that the option shapes made: name another one, or remove it")

// Load reads a file of shapes. The error of one that is not there is
// fs.ErrNotExist.
func Load(path string) (*Set, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("reading the shapes: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, fmt.Errorf("reading the shapes: %w", err)
	}
	s, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("reading the shapes in %s: %w", path, err)
	}
	return s, nil
}

// parse reads the content of a file of shapes.
func parse(content []byte) (*Set, error) {
	s := new(Set)
	if json.Unmarshal(content, s) != nil || s.Version != version || s.Messages == nil || s.Notes == nil {
		return nil, errForeign
	}
	for _, n := range s.Messages {
		n.Walk("", func(string, *Node) { s.nodes++ })
	}
	return s, nil
}

// save replaces a file as a whole.
func save(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
