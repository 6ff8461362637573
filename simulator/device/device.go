// Package device is a simulated phone with the app: it makes keys, registers a
// dispatch target with nevisFIDO (or a sidecar in front of it), opens what it
// receives over any channel, and redeems the token.
//
// It behaves like the published SDK where that is known, and is as strict: an
// envelope in a link must be base64url without padding or percent-encoding, as
// published apps take it as it stands. It is written without the sidecar's own
// parsers, so that an error on one side shows on the other. FIDO UAF assertions
// are not made: what the device approves with is good for package nevis only.
//
// A Device is safe for concurrent use.
package device

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

// NoKey is the KeyKind of a device without an encryption key. Nothing can be
// sealed for it.
const NoKey = "none"

// Options describe a device. The zero value is a phone of the user jeff.
type Options struct {
	// Username is the owner. Default: "jeff".
	Username string
	// DeviceID and Name identify the device. Default: random.
	DeviceID, Name string
	// Target is the address on the dispatcher's channel, such as an FCM
	// registration token. Default: random.
	Target string
	// Dispatcher is the target's default dispatcher. Default: none.
	Dispatcher string

	// KeyKind is the kind of the encryption key, as devicekey.GenerateKey has it,
	// or NoKey. Default: "RSA-2048".
	KeyKind string
	// Key is an encryption key to use instead of a new one.
	Key *devicekey.PrivateKey
	// RequireSealed makes Open refuse messages in clear, with ErrClear.
	RequireSealed bool

	// Frontend stands for the public front end: scheme and host of a redeem URL
	// are replaced by those of this URL, such as "http://127.0.0.1:8080".
	// Default: redeem URLs are used as they are.
	Frontend string
	// Header is sent with every request, such as Authorization.
	Header http.Header
	// Client makes the requests. Default: a client of its own with a timeout of
	// 30 seconds that follows no redirects.
	Client *http.Client
}

// Device is a simulated phone.
type Device struct {
	options Options
	signing *devicekey.SigningKey

	mu       sync.Mutex
	keys     []*devicekey.PrivateKey // the latest first
	base     string
	targetID string
}

// New makes a device with its keys. It knows no nevisFIDO yet: see Register.
func New(o Options) (*Device, error) {
	o.Username = cmp.Or(o.Username, "jeff")
	o.DeviceID = cmp.Or(o.DeviceID, "device-"+rand.Text())
	o.Name = cmp.Or(o.Name, "phone "+rand.Text())
	o.Target = cmp.Or(o.Target, "push-"+rand.Text())
	if o.Client == nil {
		o.Client = &http.Client{
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	d := &Device{options: o}
	var err error
	if d.signing, err = devicekey.GenerateSigningKey("P-256"); err != nil {
		return nil, fmt.Errorf("making the signature key: %w", err)
	}
	switch {
	case o.Key != nil:
		d.keys = []*devicekey.PrivateKey{o.Key}
	case o.KeyKind != NoKey:
		if _, err := d.rotate(cmp.Or(o.KeyKind, "RSA-2048")); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// rotate makes a new encryption key. The older ones are kept: a message may
// still be on its way.
func (d *Device) rotate(kind string) (*devicekey.PrivateKey, error) {
	key, err := devicekey.GenerateKey(kind)
	if err != nil {
		return nil, fmt.Errorf("making the encryption key: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys = slices.Insert(d.keys, 0, key)
	return key, nil
}

// Keys returns the private encryption keys, the latest first.
func (d *Device) Keys() []*devicekey.PrivateKey {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.keys)
}

// SignatureKey returns the key that signs modifications.
func (d *Device) SignatureKey() *devicekey.SigningKey { return d.signing }

// DeviceID returns the id that links the device's credentials and targets.
func (d *Device) DeviceID() string { return d.options.DeviceID }

// TargetID returns the id of the dispatch target, "" before Register.
func (d *Device) TargetID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.targetID
}

// registration returns where the device is registered.
func (d *Device) registration() (base, targetID string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.targetID == "" {
		return "", "", errors.New("the device has no dispatch target: register it first")
	}
	return d.base, d.targetID, nil
}
