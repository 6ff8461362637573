package device

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Way is a way to register a dispatch target.
type Way int

const (
	// CreateTarget calls the dispatch-target service, as older apps do.
	CreateTarget Way = iota
	// InRegistration sends the target along with a FIDO UAF registration
	// response, as SDK 2.4 and later do.
	InRegistration
)

// Registration says how a device registers.
type Registration struct {
	Way Way
	// KeysAsText sends the keys as JSON strings that hold JWK text, not as
	// objects: the reference allows for both readings.
	KeysAsText bool
	// UAFRequest, for InRegistration, is what redeeming a registration token
	// gave. Where it is empty the device asks for one in band.
	UAFRequest string
}

// dispatchTarget is the body of a create request, the member of that name in a
// registration's context, and (with the head) the payload of a modification.
type dispatchTarget struct {
	RequestID        string `json:"requestId,omitzero"`
	CreatedAt        int64  `json:"creationTimeInEpochMillis,omitzero"`
	DispatchTargetID string `json:"dispatchTargetId,omitzero"`

	Username      string         `json:"username,omitzero"`
	DeviceID      string         `json:"deviceId,omitzero"`
	Name          string         `json:"name,omitzero"`
	Target        string         `json:"target,omitzero"`
	Dispatcher    string         `json:"dispatcher,omitzero"`
	SignatureKey  jsontext.Value `json:"signatureKey,omitzero"`
	EncryptionKey jsontext.Value `json:"encryptionKey,omitzero"`
}

// Register registers the device as a dispatch target. baseURL is nevisFIDO's
// base path on the host to talk to, such as
// "https://fido.example.com/nevisfido". A refusal by
// its HTTP status is an error of type [*StatusError].
func (d *Device) Register(ctx context.Context, baseURL string, how Registration) error {
	base := strings.TrimSuffix(baseURL, "/")
	register := d.create
	if how.Way == InRegistration {
		register = d.registerUAF
	}
	id, err := register(ctx, base, how)
	if err != nil {
		return fmt.Errorf("registering the device: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.base, d.targetID = base, id
	return nil
}

// describe returns the target as the device sends it.
func (d *Device) describe(keysAsText bool) dispatchTarget {
	o := d.options
	t := dispatchTarget{
		DeviceID: o.DeviceID, Name: o.Name, Target: o.Target, Dispatcher: o.Dispatcher,
		SignatureKey: keyMember(d.signing.JWK(), keysAsText),
	}
	if keys := d.Keys(); len(keys) > 0 {
		t.EncryptionKey = keyMember(keys[0].Public().JWK(), keysAsText)
	}
	return t
}

func keyMember(jwk []byte, asText bool) jsontext.Value {
	if asText {
		return jsontext.Value(text(string(jwk)))
	}
	return jwk
}

func (d *Device) create(ctx context.Context, base string, how Registration) (id string, err error) {
	t := d.describe(how.KeysAsText)
	t.Username = d.options.Username
	got, err := d.do(ctx, call{
		method: http.MethodPost, url: base + "/token/dispatch/targets/", status: http.StatusCreated,
		consumes: mediaJSON, produces: mediaJSON, body: text(t),
	})
	if err != nil {
		return "", err
	}
	var created struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(got, &created); err != nil || created.ID == "" {
		return "", errors.New("the answer names no id")
	}
	return created.ID, nil
}

func (d *Device) registerUAF(ctx context.Context, base string, how Registration) (id string, err error) {
	request := how.UAFRequest
	if request == "" {
		if request, err = d.requestRegistration(ctx, base); err != nil {
			return "", err
		}
	}
	uafContext := text(map[string]any{"asmStatusCode": 0, "dispatchTarget": d.describe(how.KeysAsText)})
	a, err := d.respond(ctx, base+"/uaf/1.1/registration/", request, uafContext)
	if err != nil {
		return "", err
	}
	var description struct {
		ID string `json:"dispatchTargetId"`
	}
	if err := json.Unmarshal([]byte(a.Description), &description); err != nil || description.ID == "" {
		return "", errors.New("the description names no dispatchTargetId")
	}
	return description.ID, nil
}
