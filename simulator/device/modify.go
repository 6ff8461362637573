package device

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"
)

// Change says what Modify changes; what is empty stays as it is.
type Change struct {
	Name       string
	Target     string // the address, such as a new push token
	Dispatcher string
	// NewKey is the kind of a new encryption key.
	NewKey     string
	KeysAsText bool
}

// Modify changes the dispatch target by a request that the device signs. A
// refusal is an error of type [*StatusError].
func (d *Device) Modify(ctx context.Context, c Change) error {
	jws, err := d.Sign(c)
	if err != nil {
		return err
	}
	return d.SendSigned(ctx, jws)
}

// Sign returns the signed modification as compact JWS without sending it. A new
// key is kept from here on, as the device may never learn whether it arrived.
func (d *Device) Sign(c Change) (jws string, err error) {
	_, id, err := d.registration()
	if err != nil {
		return "", err
	}
	t := dispatchTarget{
		RequestID: rand.Text(), CreatedAt: time.Now().UnixMilli(), DispatchTargetID: id,
		Name: c.Name, Target: c.Target, Dispatcher: c.Dispatcher,
	}
	if c.NewKey != "" {
		key, err := d.rotate(c.NewKey)
		if err != nil {
			return "", err
		}
		t.EncryptionKey = keyMember(key.Public().JWK(), c.KeysAsText)
	}
	return d.signing.Sign([]byte(text(t)))
}

// SendSigned sends what Sign made; a second time it is a replay.
func (d *Device) SendSigned(ctx context.Context, jws string) error {
	base, id, err := d.registration()
	if err != nil {
		return err
	}
	_, err = d.do(ctx, call{
		method: http.MethodPatch, url: base + "/token/dispatch/targets/" + id, status: http.StatusNoContent,
		consumes: mediaJOSE, body: jws,
	})
	if err != nil {
		return fmt.Errorf("modifying the dispatch target: %w", err)
	}
	return nil
}

// Delete deletes the dispatch target. A refusal is an error of type
// [*StatusError].
func (d *Device) Delete(ctx context.Context) error {
	base, id, err := d.registration()
	if err != nil {
		return err
	}
	_, err = d.do(ctx, call{
		method: http.MethodDelete, url: base + "/token/dispatch/targets/" + id, status: http.StatusNoContent,
	})
	if err != nil {
		return fmt.Errorf("deleting the dispatch target: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.targetID = ""
	return nil
}
