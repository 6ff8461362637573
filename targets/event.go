package targets

import "context"

// EventName is what happened to a target. The set is closed, so a name is fit
// for a metric label.
type EventName string

// What happens to targets.
const (
	EventLearned             EventName = "learned"     // created, registered, or found in a key source
	EventKeyChanged          EventName = "key_changed" // a known id has another encryption key now
	EventKeyRefused          EventName = "key_refused" // Reason says why; the target has no encryption key
	EventSignatureKeyRefused EventName = "signature_key_refused"
	EventModified            EventName = "modified"
	EventExpired             EventName = "expired"   // in quarantine until it is modified
	EventStale               EventName = "stale"     // Reason says why
	EventForgotten           EventName = "forgotten" // deleted, as nevisFIDO did, or by an operator
	EventDropped             EventName = "dropped"   // Reason says why

	EventBlocked   EventName = "blocked" // by an operator
	EventUnblocked EventName = "unblocked"

	// EventUnidentified: nevisFIDO made a target, and we do not know which.
	// Reason is a Why… of Unidentified; there is no id.
	EventUnidentified EventName = "unidentified"
)

// Events returns what can happen to targets through nevisFIDO's calls, and by which
// source. Key sources, which have names of their own, come in addition.
func Events() map[EventName][]string {
	made := []string{SourceCreate, SourceRegistration}
	changed := []string{SourceCreate, SourceRegistration, SourceModify, sourceDevice}
	return map[EventName][]string{
		EventLearned: made, EventUnidentified: made,
		EventKeyChanged: changed, EventKeyRefused: changed, EventSignatureKeyRefused: changed,
		EventModified:  {SourceModify, sourceDevice},
		EventExpired:   {sourceDispatch},
		EventStale:     {SourceModify, sourceDelete, sourceDevice},
		EventForgotten: {sourceDelete, sourceDevice},
		EventDropped:   {SourceCreate, SourceRegistration, SourceModify, sourceDispatch},
	}
}

// Event tells of a change to a target, after it was stored.
type Event struct {
	Name   EventName
	Ref    Ref    // log its Hash, not the id
	User   string // name of the target's user where one is known; log a hash of it
	Source string // create, registration, modify, delete, device, dispatch, operator, import, or a key source's name
	Reason string // from a closed set, often empty

	// Detail says of a refused key which member of the JWK is at fault, and
	// why. It is for people, and holds no key material.
	Detail string

	// Thumbprint of the encryption key that the target has now, if any.
	Thumbprint string
}

func (d *Directory) emit(ctx context.Context, events []Event) {
	if d.Events == nil {
		return
	}
	for _, e := range events {
		d.Events(ctx, e)
	}
}

// Where targets are learned from and changed by, as records and events say it.
const (
	SourceCreate       = "create"
	SourceRegistration = "registration"
	SourceModify       = "modify"
	sourceDelete       = "delete"
	sourceDevice       = "device"
	sourceDispatch     = "dispatch"

	// SourceImport is that of a target whose imported record names none.
	SourceImport = "import"
)

// Reasons of events; internal/reasons says what they mean.
const (
	whyUnknown    = "unknown" // to nevisFIDO
	whyTooLarge   = "too_large"
	whyUnreadable = "unreadable" // the call, to us
	whyDamaged    = "damaged"
	whyUnrecorded = "unrecorded" // the store did not take it when it happened
	whyUnanswered = "unanswered" // by nevisFIDO

	// Why a change that nevisFIDO accepted is not applied.
	whySignature      = "signature"
	whyTargetID       = "target_id"
	whyUnclearKeys    = "unclear_keys"
	whyNotFresh       = "not_fresh"
	whyOlder          = "older"
	whyConcurrent     = "concurrent"
	whyDeviceModified = "device_modified"
)
