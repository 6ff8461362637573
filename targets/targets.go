package targets

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"regexp"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
)

// Caddy module namespaces of the guests.
const (
	StoreNamespace     = "oob.stores"
	KeySourceNamespace = "oob.key_sources"
)

// Ref names a target within the store: several nevisFIDOs or tenants share one
// store by namespaces.
type Ref struct{ Namespace, ID string }

// Hash returns 64 hexadecimal digits that stand for the reference where the id
// itself must not: in keys and file names.
func (r Ref) Hash() string {
	var room [256]byte
	text := room[:0]
	for _, p := range []string{r.Namespace, r.ID} {
		text = binary.LittleEndian.AppendUint64(text, uint64(len(p)))
		text = append(text, p...)
	}
	sum := sha256.Sum256(text)
	return string(hex.AppendEncode(text[:0], sum[:]))
}

var hash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// IsHash tells whether a text can be what Hash returns.
func IsHash(text string) bool { return hash.MatchString(text) }

// ErrNotFound reports a target that the store or source does not hold. Every
// other error of a store means that it is unavailable: the target may exist.
var ErrNotFound = errors.New("dispatch target not found")

// RecordError reports a record that is there and cannot be read. It is ErrNewer
// where a newer release can.
type RecordError struct {
	Hash string // Ref.Hash of the target, which is all that is known of it
	Err  error
}

// Error names the record's hash and the reason.
func (e *RecordError) Error() string { return "record " + e.Hash + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *RecordError) Unwrap() error { return e.Err }

// isCorrupt tells whether an error reports a record that no release can read,
// and that therefore nobody uses.
func isCorrupt(err error) bool {
	_, ok := errors.AsType[*RecordError](err)
	return ok && !errors.Is(err, ErrNewer)
}

// Edit turns the present record (nil where there is none) into the wanted one.
// It returns nil to delete the record, and an equal one to leave everything as
// it is. It may change the record it was given and return that. An error leaves
// the record alone and is returned by Update. It may be called more than once.
type Edit func(current *Target) (*Target, error)

// Store keeps the records. Implementations are safe for concurrent use and
// honour the context. One conformance suite (kvtest) holds for all.
type Store interface {
	// Load returns a target, or ErrNotFound. The caller may change the
	// record it gets.
	Load(ctx context.Context, ref Ref) (*Target, error)

	// Update edits one record atomically, as far as the storage below can
	// tell: no other Update of this process, and none of another process where
	// the store is made for several, comes in between. When it returns nil the
	// new record is durable. A record that is there and cannot be read is a
	// *RecordError, here and in Load. A write that reaches the storage after
	// the context's deadline is refused there, where the storage can do that.
	Update(ctx context.Context, ref Ref, edit Edit) error

	// Heal is Update where a record that cannot be read counts as none, unless
	// it is ErrNewer.
	Heal(ctx context.Context, ref Ref, edit Edit) error

	// OfDevice returns the ids of the targets that a user has on a device, as
	// far as the records say. It leaves none out. It may name others: after a
	// crash, or where the store does not tell users apart.
	OfDevice(ctx context.Context, namespace, deviceID, username string) ([]string, error)
}

// KeySource finds targets that the store does not hold, such as those created
// before the sidecar was installed.
type KeySource interface {
	// Find returns a target, or ErrNotFound.
	Find(ctx context.Context, ref Ref) (*Target, error)
}

// LiveSource is a KeySource that reads what nevisFIDO itself goes by, at the
// time of asking. It may repair a stale record, which an older copy, such as
// an exported file, must not.
type LiveSource interface {
	KeySource
	Live() bool
}

// NamedSource is a key source with the name that records and events show.
type NamedSource struct {
	Name string
	KeySource
}

// find asks the source, see KeySource.
func (s NamedSource) find(ctx context.Context, ref Ref) (*Target, error) {
	ctx, span := tracing.Start(ctx, tracing.KeySource)
	defer span.End()
	span.Text(tracing.Source, s.Name)
	t, err := s.Find(ctx, ref)
	if err != nil && !errors.Is(err, ErrNotFound) {
		span.Fail("")
	}
	return t, err
}

func (s NamedSource) live() bool {
	live, ok := s.KeySource.(LiveSource)
	return ok && live.Live()
}

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

// Count is one thing to be counted against a limit.
type Count struct {
	Key    string // whom, and against which limit; no secret
	N      int    // how many the window allows, at least 1
	Window time.Duration

	// Apart is set where anybody can make up whom, such as the id of a target
	// that nobody knows. Counters that are kept in little room keep such ones
	// apart, so that they do not push out the others.
	Apart bool
}

// Counter is a Store that counts for all who share it.
type Counter interface {
	// TakeAll counts once in every sliding window, or in none where one of them
	// is full: then it returns the index of that one, else -1. An error means
	// that the counters are unavailable, and nothing may be allowed.
	TakeAll(ctx context.Context, counts []Count) (reached int, err error)

	// GiveBack takes the newest count off each window: what was counted did
	// not happen after all.
	GiveBack(ctx context.Context, counts []Count) error
}
