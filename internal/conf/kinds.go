package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
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
	return text(name, field, orAny(valid), nil)
}

// Placeholder is Text for a value that may hold placeholders such as
// {env.NAME}. Provision replaces them; valid looks at the value that results,
// and before that at one without placeholders.
func Placeholder[M any, S ~string](name string, field func(*M) *S, valid func(string) error) Option[M] {
	return resolved(name, field, valid, placeholder.Resolve)
}

// Secret is Placeholder for a secret. Provision warns of one that stands in the
// configuration itself. The errors of valid must not quote it.
func Secret[M any, S ~string](name string, field func(*M) *S, valid func(string) error) Option[M] {
	return Resolved(Placeholder(name, field, valid), func(m *M, logger *slog.Logger) error {
		to := field(m)
		if *to == "" {
			return nil
		}
		value, err := placeholder.ResolveSecret(name, string(*to), logger)
		if err == nil {
			err = orAny(valid)(value)
		}
		*to = S(value)
		return named(name, err)
	})
}

// URL is Placeholder for a URL, in which values are escaped for their place.
func URL[M any, S ~string](name string, field func(*M) *S, valid func(string) error) Option[M] {
	return resolved(name, field, valid, placeholder.ResolveURL)
}

func resolved[M any, S ~string](name string, field func(*M) *S, valid func(string) error, resolve func(option, text string) (string, error)) Option[M] {
	return text(name, field,
		func(value string) error { return placeholder.Check(name, value, valid) },
		func(value string) (string, error) {
			value, err := resolve(name, value)
			if err != nil {
				return "", err
			}
			return value, orAny(valid)(value)
		})
}

// Path is Placeholder for the path of a file or folder. It tells a path from
// the content of a file.
func Path[M any, S ~string](name string, field func(*M) *S) Option[M] {
	return text(name, field,
		func(value string) error { return placeholder.CheckPath(name, value) },
		func(value string) (string, error) { return placeholder.ResolvePath(name, value) })
}

// Parses makes the check of a value from its parser.
func Parses[T any](parse func(string) (T, error)) (valid func(string) error) {
	return func(text string) error {
		_, err := parse(text)
		return err
	}
}

func orAny(valid func(string) error) func(string) error {
	if valid == nil {
		return func(string) error { return nil }
	}
	return valid
}

// text makes an option with one value; "" is one that is not set. resolve may be
// nil.
func text[M any, S ~string](name string, field func(*M) *S, check func(string) error, resolve func(string) (string, error)) Option[M] {
	o := Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			value, err := one(name, d)
			*field(m) = S(value)
			return err
		},
		check: func(m *M) error {
			if *field(m) == "" {
				return nil
			}
			return named(name, check(string(*field(m))))
		},
	}
	if resolve != nil {
		o.resolve = func(m *M, _ *slog.Logger) error {
			to := field(m)
			if *to == "" {
				return nil
			}
			value, err := resolve(string(*to))
			*to = S(value)
			return named(name, err)
		}
	}
	return o
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
			if *field(m) == nil {
				return nil
			}
			return named(name, orAny(valid)(string(**field(m))))
		},
	}
}

// OneOf is an option with one of several words.
func OneOf[M any, S ~string](name string, field func(*M) *S, words ...S) Option[M] {
	return Text(name, field, func(value string) error {
		if slices.Contains(words, S(value)) {
			return nil
		}
		return fmt.Errorf("it takes %s", alternatives(words))
	})
}

// alternatives lists two values or more.
func alternatives[V any](values []V) string {
	list := make([]string, len(values))
	for i, value := range values {
		list[i] = fmt.Sprint(value)
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
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
		check: func(m *M) error { return checkEach(name, *field(m), orAny(valid)) },
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
				if err == nil {
					err = orAny(valid)(value)
				}
				if err != nil {
					return named(name, err)
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
	return number(name, field, strconv.Atoi, intRange(name, lowest, highest), byDefault)
}

// IntOneOf is an option with one of several numbers above zero.
func IntOneOf[M any](name string, field func(*M) *int, numbers ...int) Option[M] {
	check := func(n int) error {
		if slices.Contains(numbers, n) {
			return nil
		}
		return fmt.Errorf("%s takes %s", name, alternatives(numbers))
	}
	return number(name, field, strconv.Atoi, check, 0)
}

func intRange(name string, lowest, highest int) func(int) error {
	return func(n int) error {
		if n < lowest || n > highest {
			return fmt.Errorf("%s takes a whole number from %d to %d", name, lowest, highest)
		}
		return nil
	}
}

// OptionalInt is Int for a number that may be 0; nil is one that is not set.
func OptionalInt[M any](name string, field func(*M) **int, lowest, highest, byDefault int) Option[M] {
	inRange := intRange(name, lowest, highest)
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			text, err := one(name, d)
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(text)
			if err != nil {
				return inRange(lowest - 1) // which names the range
			}
			*field(m) = &n
			return nil
		},
		check: func(m *M) error {
			if *field(m) == nil {
				return nil
			}
			return inRange(**field(m))
		},
		resolve: func(m *M, _ *slog.Logger) error {
			if *field(m) == nil {
				*field(m) = &byDefault
			}
			return nil
		},
	}
}

// Duration is an option with a time above zero, at most highest where that is
// not 0. The default takes the place of one that is not set.
func Duration[M any](name string, field func(*M) *caddy.Duration, highest, byDefault time.Duration) Option[M] {
	check := func(value caddy.Duration) error {
		switch {
		case value <= 0:
			return fmt.Errorf("%s takes a duration longer than zero, such as 5m", name)
		case highest > 0 && time.Duration(value) > highest:
			return fmt.Errorf("%s takes a duration of at most %s", name, highest)
		}
		return nil
	}
	parse := func(text string) (caddy.Duration, error) { return ParseDuration(name, text) }
	return number(name, field, parse, check, caddy.Duration(byDefault))
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
	check := func(size int64) error {
		if size < lowest || size > highest {
			return fmt.Errorf("%s takes a size from %s to %s", name, humanize.IBytes(uint64(lowest)), humanize.IBytes(uint64(highest))) //nolint:gosec // bounds are positive
		}
		return nil
	}
	parse := func(text string) (int64, error) {
		size, err := humanize.ParseBytes(text)
		return int64(min(size, math.MaxInt64)), err
	}
	return number(name, field, parse, check, byDefault)
}

// number makes an option with a quantity; 0 is one that is not set. What cannot
// be parsed gets the error of check, which says what the option takes.
func number[M any, N int | int64 | caddy.Duration](name string, field func(*M) *N, parse func(string) (N, error), check func(N) error, byDefault N) Option[M] {
	return Option[M]{
		Name: name,
		read: func(m *M, d *caddyfile.Dispenser) error {
			text, err := one(name, d)
			if err != nil {
				return err
			}
			value, err := parse(text)
			if err != nil {
				value = -1 // which no option takes
			}
			*field(m) = value
			return check(value)
		},
		check: func(m *M) error {
			if *field(m) == 0 {
				return nil
			}
			return check(*field(m))
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

// one returns the only value of an option.
func one(name string, d *caddyfile.Dispenser) (string, error) {
	args := d.RemainingArgs()
	switch {
	case len(args) == 0, len(args) == 1 && args[0] == "":
		return "", fmt.Errorf("%s takes one value, and there is none; a variable such as {$NAME} that is not set leaves none", name)
	case len(args) > 1:
		return "", fmt.Errorf("%s takes one value; put it in quotes if it holds spaces", name)
	}
	return args[0], nil
}

// Values returns the values of an option that takes a fixed number of them. The
// error says what it takes.
func Values(d *caddyfile.Dispenser, n int, takes string) ([]string, error) {
	args := d.RemainingArgs()
	switch {
	case len(args) < n, slices.Contains(args, ""):
		return nil, errors.New(takes + " (a variable such as {$NAME} that is not set leaves no value)")
	case len(args) > n:
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
