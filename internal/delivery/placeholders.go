package delivery

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// lookup resolves the placeholders of a message, and leaves the others to the
// server. The token in clear is not among them.
func (r *run) lookup(ctx context.Context, m *dispatchers.Message, placeholder string) (string, bool) {
	name, ours := strings.CutPrefix(placeholder, "oob.")
	if !ours {
		return r.courier.Lookup(r.dispatch.HTTP, placeholder)
	}
	if member, ok := strings.CutPrefix(name, "data."); ok {
		return r.dispatch.Request.Data.Value(member)
	}
	if strings.HasPrefix(name, "user.") {
		return r.userValue(ctx, name)
	}
	target := r.dispatch.Target
	if target == nil {
		target = &targets.Target{}
	}
	switch name {
	case "operation":
		return string(r.dispatch.Operation), true
	case "event":
		return m.Notice, true
	case "dispatcher":
		return m.Dispatcher, true
	case "username":
		return r.dispatch.Username(), true
	case "target":
		return target.Address, true
	case "target_id":
		return r.dispatch.Request.TargetID, true
	case "device_id":
		return target.DeviceID, true
	case "name":
		return target.Name, true
	case "notification.title":
		return r.dispatch.Request.Notification.Title, true
	case "notification.body":
		return r.dispatch.Request.Notification.Body, true
	case "visual_code":
		return visualcode.Digits(r.token, r.courier.VisualCodeDigits), true
	case "link":
		return m.Link, true
	case "message":
		if m.Envelope.Data != nil {
			return m.Envelope.Encoded(), true
		}
	}
	return "", false
}

// userLookup is what the key sources say of the user.
type userLookup struct {
	mu   sync.Mutex
	done bool
	user *targets.User
	err  error
}

// findUser asks the key sources that know users, once, unless there was not the
// time for an answer.
func (r *run) findUser(ctx context.Context) (*targets.User, error) {
	username := r.dispatch.Username()
	if r.courier.User == nil || username == "" {
		return nil, targets.ErrNotFound
	}
	u := r.user
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done {
		return u.user, u.err
	}
	ctx, span := tracing.Start(ctx, tracing.KeySource)
	defer span.End()
	user, err := r.courier.User(ctx, username)
	if err != nil && !errors.Is(err, targets.ErrNotFound) {
		span.Fail("")
	}
	if err == nil || ctx.Err() == nil {
		u.done, u.user, u.err = true, user, err
	}
	return user, err
}

// leastForUser is for the notice of an expired target, whose dispatch may be over.
const leastForUser = time.Second

func (r *run) userValue(ctx context.Context, name string) (string, bool) {
	left := max(time.Until(r.dispatch.Start.Add(r.courier.Deadline)), leastForUser)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), left)
	defer cancel()
	user, err := r.findUser(ctx)
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
