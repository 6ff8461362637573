package targets

import "context"

// User is how a user can be reached. Members that are not known are empty.
type User struct {
	Email   string
	Mobile  string // a telephone number
	Address string // the postal address, its lines separated by "|", a name on the first
}

// UserSource is a KeySource that knows users as well.
type UserSource interface {
	// User returns what is on record of the user whom nevisFIDO knows by this
	// name, or ErrNotFound. Every other error means that the source is
	// unavailable.
	User(ctx context.Context, username string) (*User, error)
}

type usernameKey struct{}

// WithUsername tells the key sources that are asked with this context which
// user a request names. It is a hint of where to look: the caller supplies it,
// and it proves nothing.
func WithUsername(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, usernameKey{}, name)
}

// UsernameFrom returns the name that WithUsername has put into the context, or
// the empty string.
func UsernameFrom(ctx context.Context) string {
	name, _ := ctx.Value(usernameKey{}).(string)
	return name
}
