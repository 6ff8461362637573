// Package conf holds the options of a Caddy module in one table. An option is
// written once: its name, where it is kept, how it is read, checked and
// resolved. Reading a Caddyfile block, finding unknown and repeated options,
// naming the line of a wrong value, and setting up a module that came from JSON
// all follow from the table:
//
//	var options = conf.Table[Gateway]{
//		conf.Placeholder("url", func(g *Gateway) *string { return &g.URL }, checkURL),
//		conf.Int("connections", func(g *Gateway) *int { return &g.Connections }, 1, 100, 4),
//	}
//
//	func (g *Gateway) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, g) }
//
//	func (g *Gateway) Provision(ctx caddy.Context) error { return options.Provision(g, ctx.Slogger()) }
//
// A module whose options depend on each other implements Checker; the table
// calls it after all options were read, and before they are resolved.
//
// Errors name the option and what to write instead. They do not quote values
// that may be secret.
package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Option is one option of a module of type M. Make it with one of the functions
// of this package that are named after the kind of the value.
type Option[M any] struct {
	// Name is the word in the Caddyfile.
	Name string

	argument bool // it has no word: its values follow the module's name
	repeats  bool // it may be given more than once

	read    func(m *M, d *caddyfile.Dispenser) error // the values that follow the name
	check   func(m *M) error                         // reads neither files nor the environment; may be nil
	resolve func(m *M, logger *slog.Logger) error    // may be nil
}

// Table holds all options of a module.
type Table[M any] []Option[M]

// Checker is a module that has rules for how its options go together. Check
// looks at them without changing anything, and reads neither files nor the
// environment. The error should be one of Errorf, so that the line of the option
// is found.
type Checker interface{ Check() error }

// Error is a fault in an option.
type Error struct {
	Option string
	Err    error
}

// Errorf returns an *Error. Its text does not name the option by itself.
func Errorf(option, format string, args ...any) error {
	return &Error{Option: option, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Located marks an error that names a line of the Caddyfile already, such as
// those of caddyfile.UnmarshalModule.
func Located(err error) error {
	if err == nil {
		return nil
	}
	return &located{err}
}

type located struct{ error }

func (l *located) Unwrap() error { return l.error }

// Lines are the places of a module's options in a Caddyfile. A module that came
// from JSON has none.
type Lines struct {
	block   *caddyfile.Dispenser
	options map[string]*caddyfile.Dispenser
}

// Wrap adds a line to an error: that of the option that it is about, or else
// that of the block.
func (l Lines) Wrap(err error) error {
	if _, done := errors.AsType[*located](err); err == nil || done || l.block == nil {
		return err
	}
	at := l.block
	if e, ok := errors.AsType[*Error](err); ok && l.options[e.Option] != nil {
		at = l.options[e.Option]
	}
	return Located(at.WrapErr(err))
}

// place returns a dispenser that stays where d is.
func place(d *caddyfile.Dispenser) *caddyfile.Dispenser {
	at := caddyfile.NewDispenser([]caddyfile.Token{d.Token()})
	at.Next()
	return at
}

// Unmarshal reads a module from the Caddyfile: the arguments behind its name,
// and its block.
func (t Table[M]) Unmarshal(d *caddyfile.Dispenser, m *M) error {
	_, err := t.Read(d, m)
	return err
}

// Read is Unmarshal for those who find further faults later, and need the
// lines.
func (t Table[M]) Read(d *caddyfile.Dispenser, m *M) (Lines, error) {
	d.Next()
	name := d.Val()
	lines := Lines{place(d), make(map[string]*caddyfile.Dispenser)}
	if err := t.readArguments(d, m, name, lines); err != nil {
		return lines, lines.Wrap(err)
	}
	for d.NextBlock(0) {
		known, err := t.readOption(d, m, lines)
		if err != nil {
			return lines, err
		}
		if !known {
			return lines, Located(d.Errf("unrecognized option %q of %s; %s", d.Val(), name, t.advice(d.Val())))
		}
	}
	if c, ok := any(m).(Checker); ok {
		return lines, lines.Wrap(c.Check())
	}
	return lines, nil
}

// Take reads the options of this table from the block of another module, and
// returns what is left, which is that module's.
func (t Table[M]) Take(d *caddyfile.Dispenser, m *M) (rest *caddyfile.Dispenser, lines Lines, err error) {
	d.Next()
	lines = Lines{place(d), make(map[string]*caddyfile.Dispenser)}
	tokens := []caddyfile.Token{d.Token()}
	for d.NextArg() {
		tokens = append(tokens, d.Token())
	}
	head := len(tokens)
	for d.NextBlock(0) {
		if len(tokens) == head { // keep the opening brace: it knows of imports
			d.Prev()
			tokens = append(tokens, d.Token())
			d.Next()
		}
		known, err := t.readOption(d, m, lines)
		if err != nil {
			return nil, lines, err
		}
		if !known {
			tokens = append(tokens, d.NextSegment()...)
		}
	}
	if len(tokens) <= head+1 { // no option is left
		return caddyfile.NewDispenser(tokens[:head]), lines, nil
	}
	return caddyfile.NewDispenser(append(tokens, d.Token())), lines, nil
}

func (t Table[M]) readArguments(d *caddyfile.Dispenser, m *M, name string, lines Lines) error {
	for _, o := range t {
		if !o.argument {
			continue
		}
		lines.options[o.Name] = lines.block
		if err := o.readAndCheck(d, m); err != nil {
			return err
		}
		break
	}
	if d.NextArg() {
		return fmt.Errorf("%s has a superfluous argument; its options belong in a block", name)
	}
	return nil
}

// readOption reads the option that the dispenser is at, and reports whether it
// is one of this table.
func (t Table[M]) readOption(d *caddyfile.Dispenser, m *M, lines Lines) (known bool, err error) {
	name := d.Val()
	for _, o := range t {
		if o.Name != name || o.argument {
			continue
		}
		at := place(d)
		if lines.options[name] != nil && !o.repeats {
			return true, Located(at.Errf("option %s is given twice; remove one", name))
		}
		lines.options[name] = at
		if err := o.readAndCheck(d, m); err != nil {
			return true, Lines{block: at}.Wrap(err)
		}
		return true, nil
	}
	return false, nil
}

func (o Option[M]) readAndCheck(d *caddyfile.Dispenser, m *M) error {
	if err := o.read(m, d); err != nil || o.check == nil {
		return err
	}
	return o.check(m)
}

// advice says what to write in place of a word that is no option.
func (t Table[M]) advice(word string) string {
	if strings.HasSuffix(word, "{") {
		return "write a space before the {"
	}
	if _, err := caddy.GetModule("http.handlers." + word); err == nil {
		return "it is a directive of a site: put the missing } before it"
	}
	if names := t.names(); len(names) > 0 {
		return "there are " + strings.Join(names, ", ")
	}
	return "it has none"
}

// names returns the words of the options, in the order of the table.
func (t Table[M]) names() []string {
	var names []string
	for _, o := range t {
		if !o.argument {
			names = append(names, o.Name)
		}
	}
	return names
}

// Misplaced returns an error about the options of this table, which have no
// meaning where they are. It names the line of the first that is given.
func (t Table[M]) Misplaced(l Lines, why string) error {
	names := t.names()
	err := &Error{Err: fmt.Errorf("%s: %s", strings.Join(names, ", "), why)}
	if i := slices.IndexFunc(names, func(name string) bool { return l.options[name] != nil }); i >= 0 {
		err.Option = names[i]
	}
	return l.Wrap(err)
}

// Check finds what is wrong with the options without files and the environment.
func (t Table[M]) Check(m *M) error {
	for _, o := range t {
		if o.check == nil {
			continue
		}
		if err := o.check(m); err != nil {
			return &Error{o.Name, err}
		}
	}
	if c, ok := any(m).(Checker); ok {
		return c.Check()
	}
	return nil
}

// Provision checks all options, puts in the defaults of those that are not set,
// and replaces placeholders by their values. The logger is told of secrets that
// are in the configuration itself. It dials nothing.
func (t Table[M]) Provision(m *M, logger *slog.Logger) error {
	if err := t.Check(m); err != nil {
		return err
	}
	for _, o := range t {
		if o.resolve == nil {
			continue
		}
		if err := o.resolve(m, logger); err != nil {
			return &Error{o.Name, err}
		}
	}
	return nil
}

// Argument makes an option that has no word of its own: its values follow the
// name of the module. A table has at most one, and it is needed.
func Argument[M any](o Option[M]) Option[M] {
	o.argument = true
	return o
}

// Embed returns the options of a part of the module, such as those that all
// modules with outbound connections share.
func Embed[M, Part any](t Table[Part], part func(*M) *Part) Table[M] {
	all := make(Table[M], 0, len(t))
	for _, o := range t {
		all = append(all, embed(o, part))
	}
	return all
}

func embed[M, Part any](o Option[Part], part func(*M) *Part) Option[M] {
	e := Option[M]{Name: o.Name, argument: o.argument, repeats: o.repeats}
	e.read = func(m *M, d *caddyfile.Dispenser) error { return o.read(part(m), d) }
	if o.check != nil {
		e.check = func(m *M) error { return o.check(part(m)) }
	}
	if o.resolve != nil {
		e.resolve = func(m *M, logger *slog.Logger) error { return o.resolve(part(m), logger) }
	}
	return e
}

// Join puts tables together.
func Join[M any](tables ...Table[M]) Table[M] {
	var all Table[M]
	for _, t := range tables {
		all = append(all, t...)
	}
	return all
}
