package exchange

import (
	"cmp"
	"context"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// lookup resolves the placeholders of a message, and leaves the others to the
// server. The token in clear is not among them.
func (d *delivery) lookup(m *dispatchers.Message, placeholder string) (string, bool) {
	name, ours := strings.CutPrefix(placeholder, "oob.")
	if !ours {
		return d.x.Lookup(d.r, placeholder)
	}
	if member, ok := strings.CutPrefix(name, "data."); ok {
		return d.request.Data.Value(member)
	}
	if strings.HasPrefix(name, "user.") {
		return d.userValue(name)
	}
	if name == "message" && m.Envelope.Data != nil {
		return m.Envelope.Encoded(), true
	}
	target := d.target
	if target == nil {
		target = &targets.Target{}
	}
	value, ok := map[string]string{
		"operation":          string(d.op),
		"dispatcher":         m.Dispatcher,
		"username":           d.username(),
		"target":             target.Address,
		"target_id":          d.request.TargetID,
		"device_id":          target.DeviceID,
		"name":               target.Name,
		"notification.title": d.request.Notification.Title,
		"notification.body":  d.request.Notification.Body,
		"visual_code":        d.visualCode(),
		"link":               m.Link,
	}[name]
	return value, ok
}

func (d *delivery) visualCode() string {
	if d.answer == nil {
		return ""
	}
	return VisualCode(d.answer.Token, d.x.VisualCodeDigits)
}

// username returns whose message it is: the target's owner, or else the name
// that the caller gives.
func (d *delivery) username() string {
	if d.target != nil {
		return cmp.Or(d.target.Username, d.request.Username)
	}
	return d.request.Username
}

// findUser asks the key sources that know users.
func (d *delivery) findUser() (*targets.User, error) {
	username := d.username()
	if d.x.User == nil || username == "" {
		return nil, targets.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), d.x.Deadline)
	defer cancel()
	return d.x.User(ctx, username)
}

func (d *delivery) userValue(name string) (string, bool) {
	user, err := d.user()
	if err != nil {
		return "", true
	}
	value, ok := map[string]string{"user.email": user.Email, "user.mobile": user.Mobile, "user.address": user.Address}[name]
	return value, ok
}
