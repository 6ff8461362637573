package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

// Text is an option with one value, which is used as it is written. valid may
// be nil; its errors need not name the option.
func Text[M any, S ~string](name string, field func(*M) *S, valid func(string) error) Option[M] {
	return Option[M]{
		Name: name,
		read: readOne(name, field),
		check: func(m *M) error {
			value := string(*field(m))
			if value == "" || valid == nil {
				return nil
			}
			return named(name, valid(value))
		},
	}
}

// OptionalText is Text for a value that may be empty; nil is one that is not
// set.
func OptionalText[M any, S ~string](name string, field func(*M) **S, valid func(string) error) Option[M] {
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			args := d.RemainingArgs()
			if len(args) != 1 {
				return fmt.Errorf("%s takes one value; put it in quotes if it holds spaces or is empty", name)
			}
			value := S(args[0])
			*field(m) = &value
			return nil
		},
		check: func(m *M) error {
			if *field(m) == nil || valid == nil {
				return nil
			}
			return named(name, valid(string(**field(m))))
		},
	}
}

// Placeholder is Text for a value that may hold placeholders such as
// {env.NAME}. Provision replaces them; valid looks at the value that results,
// and before that at one without placeholders.
func Placeholder[M any, S ~string](name string, field func(*M) *S, valid func(string) error) Option[M] {
	return resolved(name, field, valid, func(text string, _ *slog.Logger) (string, error) {
		return placeholder.Resolve(name, text)
	})
}

// Secret is Placeholder for a credential: one that stands in the configuration
// itself is warned about.
func Secret[M any, S ~string](name string, field func(*M) *S, valid func(string) error) Option[M] {
	return resolved(name, field, valid, func(text string, logger *slog.Logger) (string, error) {
		return placeholder.ResolveSecret(name, text, logger)
	})
}

func resolved[M any, S ~string](name string, field func(*M) *S, valid func(string) error, resolve func(string, *slog.Logger) (string, error)) Option[M] {
	return Option[M]{
		Name: name,
		read: readOne(name, field),
		check: func(m *M) error {
			if *field(m) == "" {
				return nil
			}
			return placeholder.Check(name, string(*field(m)), valid)
		},
		resolve: func(m *M, logger *slog.Logger) error {
			to := field(m)
			if *to == "" {
				return nil
			}
			value, err := resolve(string(*to), logger)
			if err != nil {
				return err
			}
			if valid != nil {
				if err := valid(value); err != nil {
					return named(name, err)
				}
			}
			*to = S(value)
			return nil
		},
	}
}

// Path is Placeholder for the path of a file or folder. It tells a path from
// the content of a file.
func Path[M any, S ~string](name string, field func(*M) *S) Option[M] {
	return Option[M]{
		Name: name,
		read: readOne(name, field),
		check: func(m *M) error {
			if *field(m) == "" {
				return nil
			}
			return placeholder.CheckPath(name, string(*field(m)))
		},
		resolve: func(m *M, _ *slog.Logger) error {
			to := field(m)
			if *to == "" {
				return nil
			}
			value, err := placeholder.ResolvePath(name, string(*to))
			*to = S(value)
			return err
		},
	}
}

// OneOf is an option with one of several words.
func OneOf[M any, S ~string](name string, field func(*M) *S, words ...S) Option[M] {
	return Text(name, field, func(value string) error {
		if slices.Contains(words, S(value)) {
			return nil
		}
		return fmt.Errorf("it takes %s", enumerate(words))
	})
}

func enumerate[S ~string](words []S) string {
	var text strings.Builder
	for i, word := range words {
		switch {
		case i > 0 && i == len(words)-1:
			text.WriteString(" or ")
		case i > 0:
			text.WriteString(", ")
		}
		text.WriteString(string(word))
	}
	return text.String()
}

// Words is an option with one or more values on its line. valid, which may be
// nil, looks at each of them.
func Words[M any, S ~string](name string, field func(*M) *[]S, valid func(string) error) Option[M] {
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			args := d.RemainingArgs()
			if len(args) == 0 || slices.Contains(args, "") {
				return fmt.Errorf("%s takes one or more values", name)
			}
			for _, arg := range args {
				*field(m) = append(*field(m), S(arg))
			}
			return nil
		},
		check: func(m *M) error { return checkEach(name, *field(m), valid) },
	}
}

// MoreWords is Words for an option that may repeat.
func MoreWords[M any, S ~string](name string, field func(*M) *[]S, valid func(string) error) Option[M] {
	o := Words(name, field, valid)
	o.repeats = true
	return o
}

// Each is an option that may repeat, with one value a line, each a Secret.
func Each[M any, S ~string](name string, field func(*M) *[]S, valid func(string) error) Option[M] {
	return Option[M]{
		Name:    name,
		repeats: true,
		read: func(m *M, d *caddyfile.Dispenser) error {
			value, err := one(name, d)
			*field(m) = append(*field(m), S(value))
			return err
		},
		check: func(m *M) error {
			return checkEach(name, *field(m), func(value string) error { return placeholder.Check(name, value, valid) })
		},
		resolve: func(m *M, logger *slog.Logger) error {
			for i, text := range *field(m) {
				value, err := placeholder.ResolveSecret(name, string(text), logger)
				if err != nil {
					return err
				}
				if valid != nil {
					if err := valid(value); err != nil {
						return named(name, err)
					}
				}
				(*field(m))[i] = S(value)
			}
			return nil
		},
	}
}

func checkEach[S ~string](name string, values []S, valid func(string) error) error {
	for _, value := range values {
		if value == "" {
			return fmt.Errorf("%s: a value is empty", name)
		}
		if valid == nil {
			continue
		}
		if err := valid(string(value)); err != nil {
			return named(name, err)
		}
	}
	return nil
}

// Flag is an option without a value.
func Flag[M any](name string, field func(*M) *bool) Option[M] {
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			*field(m) = true
			if d.NextArg() {
				return fmt.Errorf("%s takes no value", name)
			}
			return nil
		},
	}
}

// Int is an option with a whole number. The default, where it is not 0, takes
// the place of a number that is not set.
func Int[M any](name string, field func(*M) *int, lowest, highest, byDefault int) Option[M] {
	inRange := func(n int) error {
		if n < lowest || n > highest {
			return fmt.Errorf("%s takes a whole number from %d to %d", name, lowest, highest)
		}
		return nil
	}
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			n, err := readInt(name, d, inRange)
			*field(m) = n
			return err
		},
		check: func(m *M) error {
			if *field(m) == 0 {
				return nil
			}
			return inRange(*field(m))
		},
		resolve: func(m *M, _ *slog.Logger) error {
			if *field(m) == 0 {
				*field(m) = byDefault
			}
			return nil
		},
	}
}

// OptionalInt is Int for a number that may be 0; nil is one that is not set.
func OptionalInt[M any](name string, field func(*M) **int, lowest, highest, byDefault int) Option[M] {
	value := func(m *M) *int {
		if *field(m) == nil {
			return new(int)
		}
		return *field(m)
	}
	o := Int(name, value, lowest, highest, 0)
	read := o.read
	o.read = func(m *M, d *caddyfile.Dispenser) error {
		*field(m) = new(int)
		return read(m, d)
	}
	o.resolve = func(m *M, _ *slog.Logger) error {
		if *field(m) == nil {
			*field(m) = &byDefault
		}
		return nil
	}
	return o
}

func readInt(name string, d *caddyfile.Dispenser, inRange func(int) error) (int, error) {
	text, err := one(name, d)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, inRange(minInt) // which names the range
	}
	return n, inRange(n)
}

const minInt = -1 << 63

// Duration is an option with a time above zero, at most highest where that is
// not 0. The default takes the place of one that is not set.
func Duration[M any](name string, field func(*M) *caddy.Duration, highest, byDefault time.Duration) Option[M] {
	check := func(m *M) error {
		switch value := time.Duration(*field(m)); {
		case value < 0:
			return fmt.Errorf("%s takes a duration longer than zero, such as 5m", name)
		case highest > 0 && value > highest:
			return fmt.Errorf("%s takes a duration of at most %s", name, highest)
		}
		return nil
	}
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			text, err := one(name, d)
			if err != nil {
				return err
			}
			value, err := ParseDuration(name, text)
			*field(m) = value
			return err
		},
		check: check,
		resolve: func(m *M, _ *slog.Logger) error {
			if *field(m) == 0 {
				*field(m) = caddy.Duration(byDefault)
			}
			return nil
		},
	}
}

// ParseDuration reads a time above zero. The error names the option.
func ParseDuration(name, text string) (caddy.Duration, error) {
	value, err := caddy.ParseDuration(text)
	if err != nil || value <= 0 {
		return 0, fmt.Errorf("%s takes a duration longer than zero, such as 5m", name)
	}
	return caddy.Duration(value), nil
}

// Size is an option with a number of bytes, such as 64KiB. The default takes
// the place of one that is not set.
func Size[M any](name string, field func(*M) *int64, lowest, highest, byDefault int64) Option[M] {
	inRange := func(size int64) error {
		if size < lowest || size > highest {
			return fmt.Errorf("%s takes a size from %s to %s", name, humanize.IBytes(uint64(lowest)), humanize.IBytes(uint64(highest))) //nolint:gosec // bounds are positive
		}
		return nil
	}
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			text, err := one(name, d)
			if err != nil {
				return err
			}
			size, err := humanize.ParseBytes(text)
			if err != nil || size == 0 || size > uint64(highest) { //nolint:gosec // bounds are positive
				return inRange(-1)
			}
			*field(m) = int64(size) //nolint:gosec // it is at most highest
			return nil
		},
		check: func(m *M) error {
			if *field(m) == 0 {
				return nil
			}
			return inRange(*field(m))
		},
		resolve: func(m *M, _ *slog.Logger) error {
			if *field(m) == 0 {
				*field(m) = byDefault
			}
			return nil
		},
	}
}

// Custom is an option of another form. read takes the values that follow the
// name, on its line or in its block; its errors name the option, and get the
// line unless they are Located. check, which may be nil, is as for all options.
func Custom[M any](name string, read func(m *M, d *caddyfile.Dispenser) error, check func(m *M) error) Option[M] {
	return Option[M]{Name: name, read: read, check: check}
}

// Repeated is Custom for an option that may be given more than once.
func Repeated[M any](name string, read func(m *M, d *caddyfile.Dispenser) error, check func(m *M) error) Option[M] {
	return Option[M]{Name: name, repeats: true, read: read, check: check}
}

// Resolved adds to an option what Provision has to do for it.
func Resolved[M any](o Option[M], resolve func(m *M, logger *slog.Logger) error) Option[M] {
	o.resolve = resolve
	return o
}

// Block is an option with a block of options.
func Block[M, Part any](name string, t Table[Part], part func(*M) *Part) Option[M] {
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			return t.Unmarshal(d.NewFromNextSegment(), part(m))
		},
		check:   func(m *M) error { return named(name, t.Check(part(m))) },
		resolve: func(m *M, logger *slog.Logger) error { return named(name, t.Provision(part(m), logger)) },
	}
}

// readOne returns what reads the only value of an option.
func readOne[M any, S ~string](name string, field func(*M) *S) func(*M, *caddyfile.Dispenser) error {
	return func(m *M, d *caddyfile.Dispenser) error {
		value, err := one(name, d)
		*field(m) = S(value)
		return err
	}
}

// one returns the only value of an option.
func one(name string, d *caddyfile.Dispenser) (string, error) {
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return "", fmt.Errorf("%s takes one value; put it in quotes if it holds spaces", name)
	}
	return args[0], nil
}

// Values returns the values of an option that takes a fixed number of them. The
// error says what it takes.
func Values(d *caddyfile.Dispenser, n int, takes string) ([]string, error) {
	args := d.RemainingArgs()
	if len(args) != n || slices.Contains(args, "") {
		return nil, errors.New(takes)
	}
	return args, nil
}

// named puts the name of the option before an error that has none.
func named(name string, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), name) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}
