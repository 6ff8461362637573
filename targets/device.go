package targets

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// DeviceCall is a change of a device through nevisFIDO's device service.
type DeviceCall struct {
	Device  string // its id
	Deletes bool
	Body    bool // there is one: nobody documents what it says

	// Signature is the header Device-Signature: a compact JWS whose payload
	// names the target with whose key it is made (nevisFIDO reference guide,
	// device service).
	Signature string
}

// BeginDevice prepares for a change of a device as BeginModify does for one of
// a target. If the signature verifies, the targets that the user of the named
// target has on the device are durably stale when it returns; records that
// cannot be read are left out. Where the payload is all that there is, and brings
// members, it is a modification of the named target.
//
// If the signature does not verify, nothing becomes stale: anybody could send
// it. If nevisFIDO accepts it nevertheless, the same targets become stale then.
// Where our signature key may be outdated, or there is none, it is believed of the
// named target, as a modification is.
// Device ids are not unique: no other user's target is ever touched.
func (d *Directory) BeginDevice(ctx context.Context, call DeviceCall) (*Change, error) {
	asked := &deviceRequest{device: call.Device, disbelieved: true, why: whySignature}
	p := payloadOf(call.Signature)
	if p == nil || p.TargetID == "" {
		return d.newChange(sourceDevice, asked), nil
	}
	named, err := d.Find(ctx, p.TargetID)
	switch {
	case errors.Is(err, ErrNotFound): // another process may be learning it
		named = d.blankRecord(d.ref(p.TargetID))
	case err != nil:
		return d.newChange(sourceDevice, asked, d.ref(p.TargetID)), err // for Unrecorded
	}
	asked.named = named
	key, verified := named.signatureKey(), false
	if key != nil {
		_, err := key.Verify(call.Signature)
		verified = err == nil && d.fresh(p.CreatedAt)
	}
	if key != nil && !verified { // without a key nobody can tell
		return d.newChange(sourceDevice, asked), nil
	}
	refs := []Ref{named.Ref()}
	if !call.Deletes && !call.Body && len(membersOf(p)) > 0 {
		if !named.mayBeOn(call.Device) {
			refs = nil
		}
		c := d.newChange(sourceDevice, &modification{jws: []byte(call.Signature), payload: p}, refs...)
		return c, c.begin(ctx)
	}
	asked.deletes, asked.disbelieved, asked.why = call.Deletes, false, whyDeviceModified
	if verified {
		if refs, err = asked.also(ctx, d); err != nil {
			return d.newChange(sourceDevice, asked, refs...), err
		}
	}
	c := d.newChange(sourceDevice, asked, refs...)
	return c, c.begin(ctx)
}

// deviceRequest is the request to change or delete a device, in a way that does
// not tell what becomes of its targets.
type deviceRequest struct {
	device      string
	named       *Target // whose key signs it, nil where none is known
	deletes     bool    // and is believed
	disbelieved bool
	why         string // the targets are not trusted after it
}

func (r *deviceRequest) judge(*Target) (members []string, disbelieved bool) {
	if r.deletes {
		return []string{memberExistence}, false
	}
	return allMembers(), r.disbelieved
}

// concerns tells whether the target is the named one, or is on the device and has
// its user.
func (r *deviceRequest) concerns(current *Target) bool {
	switch {
	case current == nil || r.named == nil:
		return false
	case current.Ref() == r.named.Ref():
		return current.mayBeOn(r.device)
	}
	return current.DeviceID == r.device && current.Username != "" && current.Username == r.named.Username
}

// mayBeOn tells whether a target is on a device, as far as is known: a record that
// was made of a modification has none.
func (t *Target) mayBeOn(device string) bool { return t.DeviceID == "" || t.DeviceID == device }

func (r *deviceRequest) applyTo(c *Change, ref Ref, current *Target, _ bool) (*Target, []Event) {
	if r.deletes {
		return nil, []Event{{Name: EventForgotten, Ref: ref, User: current.user(), Source: c.source}}
	}
	return c.d.markStale(ref, current, allMembers(), c.source, r.why)
}

// also returns the targets that the user of the named target may have on the
// device: the records have to be asked. Where the user is not known, it is that
// target alone.
func (r *deviceRequest) also(ctx context.Context, d *Directory) ([]Ref, error) {
	if r.named == nil {
		return nil, nil
	}
	refs := []Ref{r.named.Ref()}
	if r.named.Username == "" {
		return refs, nil
	}
	ctx, cancel := storageTime(ctx)
	defer cancel()
	ids, err := d.Store.OfDevice(ctx, d.Namespace, r.device, r.named.Username)
	if err != nil {
		return refs, unavailable("looking up the device's targets", err)
	}
	for _, id := range ids {
		refs = append(refs, d.ref(id))
	}
	return sorted(refs), nil
}

func sorted(refs []Ref) []Ref {
	slices.SortFunc(refs, func(a, b Ref) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Compact(refs)
}
