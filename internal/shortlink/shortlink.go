// Package shortlink keeps what is too large for its medium, such as a sealed
// message for an SMS, until the recipient of a short handle comes for it
// (links.go), and holds the contract of the stores that keep it. Stores of
// dispatch targets implement that contract in addition to their own.
//
// A store never sees a handle, only the id that is made of it: whoever can
// read the store cannot get what is in it.
package shortlink

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// MaxContent bounds the content of a link, in bytes.
const MaxContent = 8 << 10

// MaxLifetime bounds how long a link is kept.
const MaxLifetime = 365 * 24 * time.Hour

// ErrNotFound reports a link that the store does not hold. Every other error
// means that the store is unavailable: the link may exist.
var ErrNotFound = errors.New("short link not found")

// Store keeps links. Implementations are safe for concurrent use and honour
// the context. One conformance suite (kvtest) holds for all.
//
// Ids are those that ID returns. A store refuses any other, so that nothing a
// caller made up becomes a key.
type Store interface {
	// Put keeps content of at most MaxContent bytes. When it returns nil the
	// link is durable. The store drops it at some time after it has expired,
	// never before; until then it may still return it.
	Put(ctx context.Context, id string, content []byte, expires time.Time) error

	// Get returns a link and keeps it, or ErrNotFound.
	Get(ctx context.Context, id string) ([]byte, error)

	// Take returns a link and removes it, or ErrNotFound. Of several that
	// take a link at the same time one gets it, as far as the storage beneath
	// can tell processes apart. After an error the link may be gone.
	Take(ctx context.Context, id string) ([]byte, error)
}

// A handle is the hour in which its link expires, in 2 bytes, and 16 random
// ones; an id is that hour and a SHA-256, in hexadecimal digits.
const (
	hourSize    = 2
	handleSize  = hourSize + 16
	hashSize    = sha256.Size
	IDLength    = PeriodDigits + 2*hashSize // of an id
	HandleChars = handleSize / 3 * 4        // of a handle
)

// PeriodDigits is the number of digits at the start of an id that tell when
// its link expires. Stores that have to remove expired links themselves can
// keep those together that share them; see PeriodOver.
const PeriodDigits = 2 * hourSize

// NewHandle returns a handle with 128 random bits for a link that expires at
// the given time: 24 letters, digits, hyphens and underscores.
func NewHandle(expires time.Time) string {
	handle := make([]byte, handleSize)
	binary.BigEndian.PutUint16(handle, hour(expires))
	_, _ = rand.Read(handle[hourSize:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(handle)
}

// ID returns the id of a handle's link in a namespace, and false where the
// text has not the form of a handle.
func ID(namespace, handle string) (id string, ok bool) {
	if len(handle) != HandleChars {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(handle)
	if err != nil || len(raw) != handleSize { // DecodeString skips line breaks
		return "", false
	}
	sum := sha256.Sum256(append(raw, namespace...))
	return hex.EncodeToString(append(raw[:hourSize:hourSize], sum[:]...)), true
}

var (
	validID     = regexp.MustCompile(fmt.Sprintf(`^[0-9a-f]{%d}$`, IDLength))
	validPeriod = regexp.MustCompile(fmt.Sprintf(`^[0-9a-f]{%d}$`, PeriodDigits))
)

// ValidID reports whether a text has the form of an id.
func ValidID(id string) bool { return validID.MatchString(id) }

// PeriodOver reports whether ids may begin with a text as their period, and all
// links with such ids have expired.
func PeriodOver(period string, now time.Time) bool {
	if !validPeriod.MatchString(period) {
		return false
	}
	raw, _ := hex.DecodeString(period) // it has the digits
	past := hour(now) - binary.BigEndian.Uint16(raw)
	return past > 0 && past < 1<<15 // the count of hours begins anew after 7 years
}

func hour(t time.Time) uint16 { return uint16(t.Unix() / 3600) } //nolint:gosec // the low bits are what is wanted
