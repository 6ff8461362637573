package nevisidm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// errInactive ends a search: the target is there, and must not be used.
var errInactive = fmt.Errorf("%w: it is not active", targets.ErrNotFound)

// Find implements targets.KeySource. It goes by the username in the context,
// see targets.WithUsername.
func (s *Source) Find(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	name := targets.UsernameFrom(ctx)
	return share(ctx, s, "target\x00"+ref.Hash()+name, func(ctx context.Context) (*targets.Target, error) {
		t, err := s.find(ctx, ref.ID, name)
		if err != nil {
			return nil, err
		}
		t.Namespace, t.ID = ref.Namespace, ref.ID
		return t, nil
	})
}

// share lets all who ask for the same at a time have one lookup. It goes on
// when the first of them hangs up.
func share[T any](ctx context.Context, s *Source, key string, lookup func(context.Context) (*T, error)) (*T, error) {
	answer := s.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(s.Timeout))
		defer cancel()
		if err := s.lookups.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("%d lookups in nevisIDM are under way: %w", maxLookups, err)
		}
		defer s.lookups.Release(1)
		defer s.transport.Leave()
		return lookup(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for nevisIDM: %w", ctx.Err())
	case r := <-answer:
		if r.Err != nil {
			return nil, r.Err
		}
		found := *r.Val.(*T) // each caller gets its own
		return &found, nil
	}
}

func (s *Source) find(ctx context.Context, id, name string) (*targets.Target, error) {
	if name == "" {
		return s.scan(ctx, id)
	}
	extID, err := s.userExtID(ctx, name)
	if err != nil {
		return nil, err
	}
	t, err := s.findOf(ctx, s.userPath(extID), id)
	if err == nil {
		t.Username = name
	}
	return t, err
}

// findOf looks among the targets of one user.
func (s *Source) findOf(ctx context.Context, user, id string) (*targets.Target, error) {
	if s.API == apiCredentials {
		return s.findCredential(ctx, user, id)
	}
	t, err := s.findEntity(ctx, user, id)
	missing := errors.Is(err, targets.ErrNotFound) && !errors.Is(err, errInactive) ||
		errors.Is(err, errNoSuchPath) // which is how an older nevisIDM answers
	if missing && s.API == apiAuto {
		return s.findCredential(ctx, user, id)
	}
	return t, err
}

func (s *Source) scan(ctx context.Context, id string) (*targets.Target, error) {
	if !s.Scan {
		return nil, errors.New("the request names no user, and nevisIDM cannot be asked for a dispatch target without one: see the option scan")
	}
	if err := s.scans.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("another search through all credentials is under way: %w", err)
	}
	defer s.scans.Release(1)
	t, err := s.findCredential(ctx, s.clientPath(), id)
	if err == nil && s.Username == usernameLoginID {
		t.Username = "" // it is an ext id here
	}
	return t, err
}

// userPath is the path of a user's resources; the user is a validName.
func (s *Source) userPath(user string) string {
	return "/" + url.PathEscape(s.Client) + "/users/" + url.PathEscape(user)
}

func (s *Source) clientPath() string { return "/clients/" + url.PathEscape(s.Client) }

const maxName = 1024 // bytes

// validName tells whether a name can be in a path. An external id that
// cannot belongs to nobody: those have no control characters.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, unicode.IsControl)
}
