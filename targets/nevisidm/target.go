package nevisidm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// idPrefix stands before nevisFIDO's id in the identification of a generic
// credential.
const idPrefix = "dispatch_target_"

// item is what nevisIDM holds of a dispatch target.
type item interface {
	is(id string) bool
	state() string
}

// entity is a dispatch target from 8.2605. The keys are JWKs, as objects, as
// text or in base64.
type entity struct {
	ExtID         text            `json:"extId"`
	ID            text            `json:"id"`
	State         string          `json:"state"`
	StateName     string          `json:"stateName"`
	DeviceID      string          `json:"deviceId"`
	Name          string          `json:"name"`
	Target        string          `json:"target"`
	Dispatcher    string          `json:"dispatcher"`
	EncryptionKey json.RawMessage `json:"encryptionKey"`
	SigningKey    json.RawMessage `json:"signingKey"`
	SignatureKey  json.RawMessage `json:"signatureKey"`
	Created       string          `json:"created"`
}

func (e entity) is(id string) bool { return named(id, e.ExtID) || named(id, e.ID) }
func (e entity) state() string     { return cmp.Or(e.State, e.StateName) }

func (s *Source) findEntity(ctx context.Context, user, id string) (*targets.Target, error) {
	e, err := findActive[entity](ctx, s, "listing dispatch targets", user+"/dispatch-targets", id)
	if err != nil {
		return nil, err
	}
	signature := e.SigningKey
	if len(signature) == 0 {
		signature = e.SignatureKey
	}
	return &targets.Target{
		ExtID: string(e.ExtID), DeviceID: e.DeviceID, Name: e.Name,
		Address: e.Target, Dispatcher: e.Dispatcher,
		EncryptionKey: keyIn(e.EncryptionKey), SignatureKey: keyIn(signature),
		Created: parseTime(e.Created),
	}, nil
}

// credential is a generic credential: a dispatch target before 8.2605.
type credential struct {
	ExtID          text                       `json:"extId"`
	UserExtID      text                       `json:"userExtId"`
	StateName      string                     `json:"stateName"`
	Identification text                       `json:"identification"`
	Properties     map[string]json.RawMessage `json:"properties"`
	Created        string                     `json:"created"`
}

func (c credential) is(id string) bool { return named(id, c.Identification) }
func (c credential) state() string     { return c.StateName }

// findCredential looks among the credentials of a user or of a client.
func (s *Source) findCredential(ctx context.Context, of, id string) (*targets.Target, error) {
	const doing = "listing generic credentials"
	c, err := findActive[credential](ctx, s, doing, of+"/generic-credentials", id)
	if err != nil {
		return nil, err
	}
	keys := nevisfido.FindKeys(c.Properties) // by their shape, as those of a device
	if keys.Unclear {
		return nil, fmt.Errorf("%s: the credential holds several JWKs, and nothing tells which one encrypts", doing)
	}
	return &targets.Target{
		ExtID: string(c.ExtID), Username: string(c.UserExtID),
		DeviceID: c.property("fidouaf_device_id"), Name: c.property("fidouaf_name"),
		Address: c.property("fidouaf_target"), Dispatcher: c.property("fidouaf_dispatcher"),
		EncryptionKey: keys.Encryption, SignatureKey: keys.Signature,
		Created: parseTime(c.Created),
	}, nil
}

// property returns the text of a property, or nothing.
func (c *credential) property(name string) string {
	var value string
	if json.Unmarshal(c.Properties[name], &value) != nil {
		return ""
	}
	return value
}

// findActive looks for the one item of an id that is in use: migrations and
// repairs leave disabled ones behind.
func findActive[T item](ctx context.Context, s *Source, doing, path, id string) (*T, error) {
	var active []T
	missing := targets.ErrNotFound
	err := pages(ctx, s, doing, path, nil, func(items []T) (enough bool, err error) {
		for _, it := range items {
			switch state := it.state(); {
			case !it.is(id):
			case state == "":
				return false, fmt.Errorf("%s: the dispatch target has no state", doing)
			case strings.EqualFold(state, "active"):
				active = append(active, it)
			default:
				missing = errInactive
			}
		}
		return len(active) > 0, nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(active) > 1:
		return nil, fmt.Errorf("%s: there are several active ones of the same id", doing)
	case len(active) == 0:
		return nil, missing
	}
	return &active[0], nil
}

func named(id string, name text) bool {
	return id != "" && (string(name) == id || string(name) == idPrefix+id)
}

// parseTime returns the zero time for what is not one.
func parseTime(value string) time.Time {
	t, _ := time.Parse(time.RFC3339, value)
	return t.UTC()
}

// text is a JSON string, or a number: nevisIDM's own examples have both for
// the same member.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	var value json.Number
	if json.Unmarshal(data, (*string)(t)) == nil {
		return nil
	}
	if err := json.Unmarshal(data, &value); err != nil {
		return errors.New("neither a string nor a number")
	}
	*t = text(value)
	return nil
}

// keyIn returns the JWK that a documented member holds, as an object, text or
// base64, or else the member, which is refused then.
func keyIn(member json.RawMessage) json.RawMessage {
	if text, ok := nevisfido.ParseJWK(member); ok {
		return text
	}
	return member
}
