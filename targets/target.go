package targets

import (
	"encoding/json"
	"slices"
	"time"
)

// State says whether a target may be used.
type State string

// The states of a target.
const (
	Active State = "active"
	// Expired: the channel reported the address as gone. No dispatch to it
	// until the target is modified.
	Expired State = "expired"
	// Stale: nevisFIDO may hold another key or address than the record.
	Stale State = "stale"
	// Blocked: an operator wants no message to go to the target, see
	// Directory.Block.
	Blocked State = "blocked"
)

// Target is the record of one dispatch target.
type Target struct {
	Schema     int    `json:"schema"`
	MinSchema  int    `json:"min_schema,omitzero"` // that a reader has to know; 0 for Schema
	Namespace  string `json:"namespace,omitempty"`
	ID         string `json:"id"`
	ExtID      string `json:"ext_id,omitempty"`
	Username   string `json:"username,omitempty"`
	DeviceID   string `json:"device_id,omitempty"`
	Name       string `json:"name,omitempty"`
	Address    string `json:"target,omitempty"`     // such as a push token; secret
	Dispatcher string `json:"dispatcher,omitempty"` // the name that the device asked for

	// EncryptionKey and SignatureKey are JWKs of public members only.
	EncryptionKey json.RawMessage `json:"encryption_key,omitzero"`
	SignatureKey  json.RawMessage `json:"signature_key,omitzero"`
	Thumbprint    string          `json:"thumbprint,omitempty"` // of EncryptionKey, RFC 7638

	// KeyRefused says why the encryption key that the device brought last is
	// not kept (encrypt.Reason). Such a target has no EncryptionKey, and must
	// not be taken for one that never had any.
	KeyRefused string `json:"key_refused,omitempty"`

	// KeySince is when EncryptionKey was first seen.
	KeySince time.Time `json:"key_since,omitzero"`

	Source  string    `json:"source"`  // create, registration, modify, or a key source's name
	Created time.Time `json:"created"` // zero where nothing is known but Fence and Unsure
	Updated time.Time `json:"updated"`

	// Modified is creationTimeInEpochMillis of the last modification that
	// was applied; an older one is not.
	Modified int64 `json:"modified,omitzero"`

	// Fence stands for the changes that nevisFIDO is being asked for, Unsure
	// names the members that it may hold otherwise.
	Fence  *Fence   `json:"fence,omitempty"`
	Unsure []string `json:"unsure,omitempty"`

	// GoneAddress is what the channel reported as gone.
	GoneAddress string `json:"expired_target,omitempty"`

	// Blocked is when an operator blocked the target, zero where none has. It
	// stays in whatever becomes of the record, until that is deleted or an
	// operator takes it away.
	Blocked time.Time `json:"blocked,omitzero"`

	// unknown holds the members of a newer release, as a JSON object. They
	// end with the keys that they were written with.
	unknown []byte
}

// Fence stands in a record while nevisFIDO is asked to change the target. If
// the process dies, it stays and keeps the record stale.
type Fence struct {
	Changes []FencedChange `json:"changes"`
	Members []string       `json:"members"` // that the changes bring

	// Shared tells that changes overlapped, so that nobody knows which one
	// nevisFIDO made first.
	Shared bool `json:"shared,omitempty"`
}

// FencedChange is a change that nevisFIDO is being asked for.
type FencedChange struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
}

// ChangeTime is how long nevisFIDO may take to change a target: as long as it
// keeps an idle connection.
const ChangeTime = 30 * time.Second

// fenceTime is how long a change may be under way, with what is recorded of it.
// An older one was left by a process that died.
const fenceTime = 2 * ChangeTime

// The members of a target that a change can bring.
const (
	memberName          = "name"
	memberAddress       = "target"
	memberDispatcher    = "dispatcher"
	memberEncryptionKey = "encryption_key"
	memberSignatureKey  = "signature_key"

	// memberExistence is unsure after a deletion that was not answered.
	memberExistence = "existence"
)

func allMembers() []string {
	return []string{memberName, memberAddress, memberDispatcher, memberEncryptionKey, memberSignatureKey}
}

// Ref returns the name of a target.
func (t *Target) Ref() Ref { return Ref{Namespace: t.Namespace, ID: t.ID} }

// empty tells whether the record, nil for none, says nothing.
func (t *Target) empty() bool {
	return t == nil || t.Created.IsZero() && t.State() == Active
}

// stale tells whether nevisFIDO may hold another key or address than the record.
func (t *Target) stale() bool { return t.Fence != nil || len(t.Unsure) > 0 }

// blocked returns when the target was blocked, also where there is no record.
func (t *Target) blocked() time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Blocked
}

// State tells whether the target may be used.
func (t *Target) State() State {
	switch {
	case !t.Blocked.IsZero():
		return Blocked
	case t.stale():
		return Stale
	case t.Quarantined(t.Address):
		return Expired
	}
	return Active
}

// Quarantined tells whether an address is one that was reported as gone.
func (t *Target) Quarantined(address string) bool { return address != "" && address == t.GoneAddress }

// underWay tells whether nevisFIDO may be changing the target just now.
func (t *Target) underWay(now time.Time) bool {
	return t.Fence != nil && slices.ContainsFunc(t.Fence.Changes, func(c FencedChange) bool { return !c.dead(now) })
}

// unsure tells whether nevisFIDO may hold another value of a member.
func (t *Target) unsure(member string) bool {
	return slices.Contains(t.Unsure, member) || t.Fence != nil && slices.Contains(t.Fence.Members, member)
}

// KeyUnsure reports whether nevisFIDO may hold another encryption key than the
// record, or no such target any more.
func (t *Target) KeyUnsure() bool { return t.unsure(memberEncryptionKey) || t.unsure(memberExistence) }

// AddressUnsure reports whether nevisFIDO may hold another address than the
// record, or one of another kind, or no such target any more.
func (t *Target) AddressUnsure() bool {
	return t.unsure(memberAddress) || t.unsure(memberDispatcher) || t.unsure(memberExistence)
}

// quarantine puts the target's address in quarantine. It tells whether it was
// not before.
func (t *Target) quarantine() bool {
	if t.Address == "" || t.Quarantined(t.Address) {
		return false
	}
	t.GoneAddress = t.Address
	return true
}

// putFence puts a change into the fence of the record.
func (t *Target) putFence(id string, members []string, now time.Time) {
	t.dropDead(now)
	t.addFence(FencedChange{id, now}, members)
}

// dropDead takes out what processes left that died.
func (t *Target) dropDead(now time.Time) {
	if t.Fence == nil || !slices.ContainsFunc(t.Fence.Changes, func(c FencedChange) bool { return c.dead(now) }) {
		return
	}
	t.Unsure = union(t.Unsure, t.Fence.Members)
	t.Fence.Changes = slices.DeleteFunc(t.Fence.Changes, func(c FencedChange) bool { return c.dead(now) })
	if len(t.Fence.Changes) == 0 {
		t.Fence = nil
	}
}

func (c FencedChange) dead(now time.Time) bool { return now.Sub(c.Since) >= fenceTime }

func (t *Target) addFence(c FencedChange, members []string) {
	if t.Fence == nil {
		t.Fence = new(Fence)
	}
	f := t.Fence
	f.Shared = f.Shared || len(f.Changes) > 0
	f.Changes = append(f.Changes, c)
	f.Members = union(f.Members, members)
}

// takeFence takes a change out of the fence of a record, nil for none. It tells
// whether the change was there, and none overlapped with it.
func (t *Target) takeFence(id string) (there, alone bool) {
	if t == nil || t.Fence == nil {
		return false, false
	}
	f := t.Fence
	i := slices.IndexFunc(f.Changes, func(c FencedChange) bool { return c.ID == id })
	if i < 0 {
		return false, false
	}
	if f.Changes = slices.Delete(f.Changes, i, i+1); len(f.Changes) == 0 {
		t.Fence = nil
	}
	return true, !f.Shared
}

// distrust makes members unsure. It is a change beyond the fence: whoever has
// one must not take his own for the last.
func (t *Target) distrust(members []string) {
	t.Unsure = union(t.Unsure, members)
	if t.Fence != nil {
		t.Fence.Shared = true
	}
}

// trust makes members sure.
func (t *Target) trust(members ...string) {
	t.Unsure = slices.DeleteFunc(t.Unsure, func(m string) bool { return slices.Contains(members, m) })
}

func union(members, more []string) []string {
	members = slices.Clone(members)
	for _, m := range more {
		if !slices.Contains(members, m) {
			members = append(members, m)
		}
	}
	return members
}
