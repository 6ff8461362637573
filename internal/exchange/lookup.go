package exchange

import (
	"cmp"
	"context"
	"strings"
	"time"

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
	target := d.target
	if target == nil {
		target = &targets.Target{}
	}
	switch name {
	case "operation":
		return string(d.op), true
	case "dispatcher":
		return m.Dispatcher, true
	case "username":
		return d.username(), true
	case "target":
		return target.Address, true
	case "target_id":
		return d.request.TargetID, true
	case "device_id":
		return target.DeviceID, true
	case "name":
		return target.Name, true
	case "notification.title":
		return d.request.Notification.Title, true
	case "notification.body":
		return d.request.Notification.Body, true
	case "visual_code":
		return d.visualCode(), true
	case "link":
		return m.Link, true
	case "message":
		if m.Envelope.Data != nil {
			return m.Envelope.Encoded(), true
		}
	}
	return "", false
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

// foundUser is what the key sources say of a user.
type foundUser struct {
	user *targets.User
	err  error
}

// findUser asks the key sources that know users, once, unless there was not the
// time to hear them.
func (d *delivery) findUser(ctx context.Context) (*targets.User, error) {
	username := d.username()
	if d.x.User == nil || username == "" {
		return nil, targets.ErrNotFound
	}
	d.userMu.Lock()
	defer d.userMu.Unlock()
	if d.user != nil {
		return d.user.user, d.user.err
	}
	user, err := d.x.User(ctx, username)
	if err == nil || ctx.Err() == nil {
		d.user = &foundUser{user, err}
	}
	return user, err
}

// leastForUser is for the notice of an expired target, whose exchange may be
// over.
const leastForUser = time.Second

func (d *delivery) userValue(name string) (string, bool) {
	left := max(time.Until(d.start.Add(d.x.Deadline)), leastForUser)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), left)
	defer cancel()
	user, err := d.findUser(ctx)
	if err != nil {
		return "", true
	}
	switch name {
	case "user.email":
		return user.Email, true
	case "user.mobile":
		return user.Mobile, true
	case "user.address":
		return user.Address, true
	}
	return "", false
}
