package command

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// targetView is what commands show of a target: neither its address nor its
// keys.
type targetView struct {
	ID           string   `json:"id"`
	Namespace    string   `json:"namespace,omitempty"`
	ExtID        string   `json:"ext_id,omitempty"`
	Username     string   `json:"username,omitempty"`
	DeviceID     string   `json:"device_id,omitempty"`
	Name         string   `json:"name,omitempty"`
	Dispatcher   string   `json:"dispatcher,omitempty"`
	HasAddress   bool     `json:"has_address"`
	State        string   `json:"state"`
	Changes      int      `json:"changes_under_way,omitempty"`
	Doubt        []string `json:"doubt,omitempty"`
	Key          string   `json:"key,omitempty"`         // such as RSA-2048
	KeyRefused   string   `json:"key_refused,omitempty"` // why the one that the device brought is not used
	Thumbprint   string   `json:"thumbprint,omitempty"`
	SignatureKey string   `json:"signature_key,omitempty"`
	KeyAge       string   `json:"key_age,omitempty"`
	Source       string   `json:"source"`
	Created      string   `json:"created,omitempty"`
	Updated      string   `json:"updated,omitempty"`
	Hash         string   `json:"hash"` // as in logs of unreadable records
}

func viewOf(t *targets.Target, now time.Time) targetView {
	v := targetView{
		ID: t.ID, Namespace: t.Namespace, ExtID: t.ExtID, Username: t.Username, DeviceID: t.DeviceID, Name: t.Name,
		Dispatcher: t.Dispatcher, HasAddress: t.Address != "", State: string(t.State()), Doubt: t.Unsure,
		Key: keyKind(t.EncryptionKey), KeyRefused: t.KeyRefused, Thumbprint: t.Thumbprint, SignatureKey: keyKind(t.SignatureKey),
		Source: t.Source, Created: moment(t.Created), Updated: moment(t.Updated), Hash: t.Ref().Hash(),
	}
	if t.Fence != nil {
		v.Changes = len(t.Fence.Changes)
	}
	since := t.KeySince
	if since.IsZero() {
		since = t.Created
	}
	if t.EncryptionKey != nil && !since.IsZero() {
		v.KeyAge = age(now.Sub(since))
	}
	return v
}

// rows are the view as a table.
func (v targetView) rows() [][]string {
	return [][]string{
		{"id", v.ID},
		{"namespace", v.Namespace},
		{"ext id", v.ExtID},
		{"username", v.Username},
		{"device", v.DeviceID},
		{"name", v.Name},
		{"dispatcher", v.Dispatcher},
		{"address", map[bool]string{true: "known"}[v.HasAddress]},
		{"state", v.State},
		{"in doubt", strings.Join(v.Doubt, ", ")},
		{"key", v.Key},
		{"key refused", v.KeyRefused},
		{"key age", v.KeyAge},
		{"thumbprint", v.Thumbprint},
		{"signature key", v.SignatureKey},
		{"source", v.Source},
		{"created", v.Created},
		{"updated", v.Updated},
		{"hash", v.Hash},
	}
}

// keyKind names the type and size of a public key, as the demo and the tests
// do: RSA-2048, P-256, Ed25519.
func keyKind(jwk []byte) string {
	if len(jwk) == 0 {
		return ""
	}
	var j struct{ Kty, Crv, N string }
	if err := json.Unmarshal(jwk, &j); err != nil {
		return "unreadable"
	}
	if j.Kty == "RSA" {
		return fmt.Sprintf("RSA-%d", 8*base64.RawURLEncoding.DecodedLen(len(j.N)))
	}
	return j.Crv
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// age rounds a duration down to its largest unit.
func age(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", max(0, d/time.Minute))
}
