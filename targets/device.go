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
// Device ids are not unique: no other user's target is ever touched.
func (d *Directory) BeginDevice(ctx context.Context, call DeviceCall) (*Change, error) {
	c := d.newChange(sourceDevice)
	c.device, c.deletes, c.forged, c.why = call.Device, call.Deletes, true, "signature"
	m := payloadOf(call.Signature)
	if m == nil || m.TargetID == "" {
		return c, nil
	}
	named, err := d.Find(ctx, m.TargetID)
	if errors.Is(err, ErrNotFound) {
		return c, nil
	}
	if err != nil {
		c.refs = []Ref{d.ref(m.TargetID)} // for Unrecorded
		return c, err
	}
	c.named = named
	if key := named.signatureKey(); key != nil {
		_, err := key.Verify(call.Signature)
		c.verified = err == nil && c.fresh(m.CreatedAt)
	}
	c.forged = !c.verified && !named.unsure(memberSignatureKey)
	if c.forged {
		return c, nil
	}
	c.why, c.refs = "device_modified", []Ref{named.Ref()}
	switch brought := membersOf(m); {
	case call.Deletes:
		c.members = []string{memberExistence}
	case !call.Body && len(brought) > 0:
		c.modification, c.members = m, brought
	}
	if c.verified && c.modification == nil {
		if c.refs, err = d.onDevice(ctx, call.Device, named); err != nil {
			return c, err
		}
	}
	return c, c.begin(ctx)
}

// affected returns the targets that the outcome is about. An accepted change of
// a device is about those as well that came meanwhile.
func (c *Change) affected(ctx context.Context) ([]Ref, error) {
	if c.device == "" || c.named == nil || c.modification != nil || c.outcome != accepted {
		return c.refs, nil
	}
	refs, err := c.d.onDevice(ctx, c.device, c.named)
	return sorted(append(refs, c.refs...)), err
}

// onDevice returns the targets that the user of a target may have on a device:
// the records have to be asked. Where the user is not known, it is that target
// alone.
func (d *Directory) onDevice(ctx context.Context, deviceID string, named *Target) ([]Ref, error) {
	refs := []Ref{named.Ref()}
	if named.Username == "" {
		return refs, nil
	}
	ctx, cancel := settling(ctx)
	defer cancel()
	ids, err := d.Store.OfDevice(ctx, d.Namespace, deviceID, named.Username)
	if err != nil {
		return refs, unavailable("looking up the device's targets", err)
	}
	for _, id := range ids {
		refs = append(refs, d.ref(id))
	}
	return sorted(refs), nil
}

// onDevice tells whether the target is on a device and has the user of another,
// or is the same.
func (t *Target) onDevice(deviceID string, named *Target) bool {
	return named != nil && t.DeviceID == deviceID &&
		(t.Ref() == named.Ref() || t.Username != "" && t.Username == named.Username)
}

func sorted(refs []Ref) []Ref {
	slices.SortFunc(refs, func(a, b Ref) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Compact(refs)
}
