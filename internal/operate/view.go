// Package operate is what the commands `caddy oob …` and the admin API have in
// common: what they show, how they choose a handler, and how they talk to each
// other.
package operate

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// View is what is shown of a target: neither its address nor its keys.
type View struct {
	ID           string   `json:"id"`
	Namespace    string   `json:"namespace,omitempty"`
	ExtID        string   `json:"ext_id,omitempty"`
	Username     string   `json:"username,omitempty"`
	DeviceID     string   `json:"device_id,omitempty"`
	Name         string   `json:"name,omitempty"`
	Dispatcher   string   `json:"dispatcher,omitempty"`
	HasAddress   bool     `json:"has_address"`
	State        string   `json:"state"`
	Blocked      string   `json:"blocked,omitempty"` // since when
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

// ViewOf makes the view of a target.
func ViewOf(t *targets.Target, now time.Time) View {
	v := View{
		ID: t.ID, Namespace: t.Namespace, ExtID: t.ExtID, Username: t.Username, DeviceID: t.DeviceID, Name: t.Name,
		Dispatcher: t.Dispatcher, HasAddress: t.Address != "", State: string(t.State()), Blocked: moment(t.Blocked), Doubt: t.Unsure,
		Key: KeyKind(t.EncryptionKey), KeyRefused: t.KeyRefused, Thumbprint: t.Thumbprint, SignatureKey: KeyKind(t.SignatureKey),
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

// Rows are the view as a table.
func (v View) Rows() [][]string {
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
		{"blocked", v.Blocked},
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

// KeyKind names the type and size of a public key, as the demo and the tests
// do: RSA-2048, P-256, Ed25519.
func KeyKind(jwk []byte) string {
	if len(jwk) == 0 {
		return ""
	}
	j, err := strictjson.ParseObject(jwk)
	if err != nil {
		return "unreadable"
	}
	var kty, crv, n string
	err = j.Strings(strictjson.Text{Name: "kty", To: &kty}, strictjson.Text{Name: "crv", To: &crv}, strictjson.Text{Name: "n", To: &n})
	switch {
	case err != nil:
		return "unreadable"
	case kty == "RSA":
		return fmt.Sprintf("RSA-%d", 8*base64.RawURLEncoding.DecodedLen(len(n)))
	}
	return crv
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
