package targets

import (
	"slices"
	"time"
)

// Mark stands in a record for a change that was forwarded to nevisFIDO and
// whose outcome is not recorded yet. If the process dies, the mark stays and
// keeps the record stale.
type Mark struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`

	// Members that change.
	Members []string `json:"members"`

	// Shared tells that another change was under way at the same time, so
	// that nobody knows which one nevisFIDO made first. Within a process
	// Directory.Lock prevents that; several processes may do it.
	Shared bool `json:"shared,omitempty"`
}

// ChangeTime is how long nevisFIDO may take to change a target: as long as it
// keeps an idle connection.
const ChangeTime = 30 * time.Second

// markTime is how long a change may be under way, with what is recorded of it.
// An older mark was left by a process that died: its members are in doubt.
const markTime = 2 * ChangeTime

// The members of a target that a change can bring.
const (
	memberName          = "name"
	memberAddress       = "target"
	memberDispatcher    = "dispatcher"
	memberEncryptionKey = "encryption_key"
	memberSignatureKey  = "signature_key"

	// memberExistence is in doubt after an unanswered deletion.
	memberExistence = "existence"
)

func allMembers() []string {
	return []string{memberName, memberAddress, memberDispatcher, memberEncryptionKey, memberSignatureKey}
}

// mark adds a mark to a record.
func (t *Target) mark(m Mark) {
	t.Marks = slices.DeleteFunc(t.Marks, func(old Mark) bool {
		dead := !old.underWay(m.At)
		if dead {
			t.addDoubt(old.Members)
		}
		return dead
	})
	if t.State == Stale && len(t.Marks)+len(t.Doubt) == 0 {
		t.addDoubt(allMembers()) // stale for a reason that the record does not tell
	}
	m.Shared = len(t.Marks) > 0
	for i := range t.Marks {
		t.Marks[i].Shared = true
	}
	t.Marks = append(t.Marks, m)
}

// unmark takes a mark off a record. It tells whether the change was the only
// one: its mark was there, and not shared.
func (t *Target) unmark(id string) (alone bool) {
	if t == nil || id == "" {
		return false
	}
	i := slices.IndexFunc(t.Marks, func(m Mark) bool { return m.ID == id })
	if i < 0 {
		return false
	}
	alone = !t.Marks[i].Shared
	t.Marks = slices.Delete(t.Marks, i, i+1)
	return alone
}

func (m Mark) underWay(now time.Time) bool {
	return now.Sub(m.At) < markTime
}

// inFlight tells whether some change of the target is under way.
func (t *Target) inFlight(now time.Time) bool {
	return slices.ContainsFunc(t.Marks, func(m Mark) bool { return m.underWay(now) })
}

func (t *Target) addDoubt(members []string) {
	for _, m := range members {
		if !slices.Contains(t.Doubt, m) {
			t.Doubt = append(t.Doubt, m)
		}
	}
}

func (t *Target) clearDoubt(members []string) {
	t.Doubt = slices.DeleteFunc(t.Doubt, func(m string) bool { return slices.Contains(members, m) })
}

// doubted tells whether nevisFIDO may hold another value of a member.
func (t *Target) doubted(member string) bool {
	return slices.Contains(t.Doubt, member) ||
		slices.ContainsFunc(t.Marks, func(m Mark) bool { return slices.Contains(m.Members, member) })
}

// expire puts a record in quarantine. It tells whether it was not before.
func (t *Target) expire() bool {
	switch {
	case t.State == Expired || t.Settled == Expired:
		return false
	case t.State == Stale: // stays so; the quarantine begins when it is settled
		t.Settled = Expired
	default:
		t.State = Expired
	}
	return true
}

// settle makes the state fit the marks and doubts. It returns nil for a record
// that says nothing any more.
func (t *Target) settle() *Target {
	if t == nil {
		return nil
	}
	unsure := len(t.Marks)+len(t.Doubt) > 0
	switch {
	case unsure && t.State != Stale:
		t.State, t.Settled = Stale, t.State
	case !unsure && t.Created.IsZero():
		return nil
	case !unsure && t.State == Stale && t.Settled != "":
		t.State, t.Settled = t.Settled, ""
	}
	return t
}
