package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// server is a running server with an admin endpoint, see docs/admin.md.
type server struct {
	address string     // such as unix//run/oob-dispatch/admin.sock
	handler url.Values // which of its handlers is meant
}

// adminAddress returns the admin address that a command's flags name: --address,
// or else that of the configuration, which is the Caddyfile in the current folder
// by default, or else Caddy's usual one.
func adminAddress(cmd *cobra.Command) (string, error) {
	flag := func(name string) string { return cmd.Flag(name).Value.String() }
	if address := flag("address"); address != "" {
		return address, nil
	}
	config, _, _, err := caddycmd.LoadConfig(flag("config"), flag("adapter"))
	if err != nil {
		return "", err
	}
	var c struct{ Admin caddy.AdminConfig }
	if config != nil {
		if err := json.Unmarshal(config, &c); err != nil {
			return "", fmt.Errorf("reading the configuration: %w", err)
		}
	}
	if c.Admin.Disabled {
		return "", errors.New("the configuration has admin off, so that its server cannot be asked: make it a unix socket, as docs/admin.md says")
	}
	return cmp.Or(c.Admin.Listen, caddy.DefaultAdminListen), nil
}

// serverOf returns the server that a command's flags name.
func serverOf(cmd *cobra.Command) (server, error) {
	address, err := adminAddress(cmd)
	if err != nil {
		return server{}, err
	}
	s := server{address: caddy.NewReplacer().ReplaceKnown(address, ""), handler: make(url.Values)}
	choice := choice(cmd)
	if choice.Namespace != nil {
		s.handler.Set("namespace", *choice.Namespace)
	}
	if choice.BasePath != nil {
		s.handler.Set("base_path", *choice.BasePath)
	}
	return s, nil
}

// answerError is an answer of the server that is an error.
type answerError struct {
	status int
	text   string
}

func (e *answerError) Error() string { return e.text }

// maxAdminAnswer bounds what is read of an answer, in bytes.
const maxAdminAnswer = 1 << 20

// call makes a request and reads the answer, unless answer is nil.
func (s server) call(method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	if query := s.handler.Encode(); query != "" {
		path += "?" + query
	}
	response, err := caddycmd.AdminAPIRequest(s.address, method, path, nil, content)
	if err != nil {
		return s.fault(err)
	}
	defer response.Body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAdminAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("the answer of the server at %s is not understood: %w", s.address, err)
	}
	return nil
}

// fault says in a sentence what AdminAPIRequest reports as text.
func (s server) fault(err error) error {
	_, text, answered := strings.Cut(err.Error(), "caddy responded with error: HTTP ")
	if !answered {
		return fmt.Errorf("no server can be reached at %s: start it, or name the address of its option admin with --address (%w)", s.address, err)
	}
	code, text, _ := strings.Cut(text, ": ")
	status, _ := strconv.Atoi(code)
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(text), &answer) != nil || answer.Error == "" {
		return fmt.Errorf("the server at %s has no admin API of oob_dispatch (HTTP %s): it is another Caddy, or an older release", s.address, code)
	}
	return &answerError{status, answer.Error}
}

// Block implements operator.
func (s server) Block(_ context.Context, id string) (bool, error) { return s.change(id, "block") }

// Unblock implements operator.
func (s server) Unblock(_ context.Context, id string) (bool, error) { return s.change(id, "unblock") }

func (s server) change(id, what string) (bool, error) {
	var answer operate.Changed
	err := s.call(http.MethodPost, "/oob/targets/"+url.PathEscape(id)+"/"+what, nil, &answer)
	return answer.Changed, notFound(err)
}

// Forget implements operator.
func (s server) Forget(_ context.Context, id string) error {
	return notFound(s.call(http.MethodDelete, "/oob/targets/"+url.PathEscape(id), nil, nil))
}

func notFound(err error) error {
	if answer, ok := errors.AsType[*answerError](err); ok && answer.status == http.StatusNotFound {
		return fmt.Errorf("%w: %w", targets.ErrNotFound, err)
	}
	return err
}

// operator does to targets what an operator asks for. It is a running server, or
// the command itself with the store.
type operator interface {
	Block(ctx context.Context, id string) (changed bool, err error)
	Unblock(ctx context.Context, id string) (changed bool, err error)
	Forget(ctx context.Context, id string) error
}

var (
	_ operator = server{}
	_ operator = (*targets.Directory)(nil)
)

// addressFlag has a running server do the work.
func addressFlag(cmd *cobra.Command) {
	cmd.Flags().String("address", "", "Admin address of the running server that does it, and writes the audit trail (default: this command does it)")
}

// withOperator makes a function that works on targets a command's. The store is
// nil where a server does the work and no user's targets have to be found.
func withOperator(f func(ctx context.Context, cmd *cobra.Command, o operator, s *openStore, args []string) error) func(*cobra.Command, []string) error {
	return runCommand(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		remote := cmd.Flag("address").Value.String() != ""
		var s *openStore
		if !remote || len(args) == 0 {
			var err error
			if s, err = commandStore(cmd); err != nil {
				return err
			}
			defer s.close()
		}
		if !remote {
			return f(ctx, cmd, s.directory(), s, args)
		}
		at, err := serverOf(cmd)
		if err != nil {
			return err
		}
		return f(ctx, cmd, at, s, args)
	})
}

// idsOf returns the ids that a command is given, or those of a user's targets,
// with the number of records that cannot be read.
func idsOf(ctx context.Context, cmd *cobra.Command, s *openStore, args []string, user string) (ids []string, damaged int, err error) {
	if len(args) > 0 {
		return args, 0, nil
	}
	damaged, err = eachTarget(ctx, cmd, s, func(t *targets.Target) error {
		if t.Username == user {
			ids = append(ids, t.ID)
		}
		return nil
	})
	if err != nil {
		return nil, damaged, fmt.Errorf("looking for the user's targets: %w", err)
	}
	return ids, damaged, nil
}

// idsOrUser checks that a command is given either.
func idsOrUser(cmd *cobra.Command, args []string) error {
	if user := cmd.Flag("user"); user.Changed != (len(args) == 0) || user.Changed && user.Value.String() == "" {
		return errors.New("give ids, or a user's name with --user")
	}
	return nil
}

// whoseUnknown is the fault where a user's targets were asked for and records
// cannot be read.
func whoseUnknown(damaged int) error {
	if damaged == 0 {
		return nil
	}
	return fmt.Errorf("%d records cannot be read, see above, so that nobody knows whose they are: give the store its keys (option seal), or remove them", damaged)
}
