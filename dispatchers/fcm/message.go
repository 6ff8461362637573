package fcm

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"

	"firebase.google.com/go/v4/messaging"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

const (
	// maxPayload is FCM's limit for names and values of data, title and body
	// together, in bytes. Apple's limit is the same but counts its own frame,
	// so FCM may still refuse a message that is a little smaller.
	maxPayload = 4096
	// maxAddress bounds a registration token; the longest seen are 1 KiB.
	maxAddress = 4096
	// maxCollapseID is Apple's limit for apns-collapse-id, in bytes.
	maxCollapseID = 64
)

// sendRequest is the body of projects.messages.send.
type sendRequest struct {
	ValidateOnly bool               `json:"validate_only,omitempty"`
	Message      *messaging.Message `json:"message"`
}

// encode makes the body of the request.
func (f *FCM) encode(m *dispatchers.Message, now time.Time) ([]byte, error) {
	if err := checkAddress(m.Address); err != nil {
		return nil, err
	}
	title, body := f.notification(m)
	data := m.Envelope.Fields()
	if n := payloadSize(data, title, body); n > maxPayload {
		return nil, dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonTooBig,
			"the message has %d bytes, FCM takes %d; shorten dispatchInformation or the title and body", n, maxPayload)
	}
	ttl := min(cmp.Or(time.Duration(f.TTL), m.TimeLeft(now)), maxTTL).Truncate(time.Second)
	expiration := "0" // now or never
	if ttl > 0 {
		expiration = strconv.FormatInt(now.Add(ttl).Unix(), 10)
	}
	id := m.ID[:min(len(m.ID), maxCollapseID)]
	out, err := json.Marshal(sendRequest{
		ValidateOnly: f.DryRun,
		Message: &messaging.Message{
			Token:        m.Address,
			Data:         data,
			Notification: &messaging.Notification{Title: title, Body: body},
			Android: &messaging.AndroidConfig{
				Priority:     "HIGH",
				TTL:          &ttl,
				CollapseKey:  id,
				Notification: &messaging.AndroidNotification{Tag: id}, // a duplicate replaces what is shown
			},
			APNS: &messaging.APNSConfig{
				Headers: map[string]string{
					"apns-priority":    "10",
					"apns-expiration":  expiration,
					"apns-collapse-id": id,
				},
				Payload: &messaging.APNSPayload{Aps: &messaging.Aps{
					Alert:          &messaging.ApsAlert{Title: title, Body: body},
					MutableContent: true,
				}},
			},
		},
	})
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, dispatchers.ReasonEncoding, "encoding the message for FCM failed")
	}
	return out, nil
}

func checkAddress(address string) error {
	unprintable := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }
	switch {
	case address == "":
		return dispatchers.Fail(dispatchers.NoTarget, dispatchers.ReasonNoAddress, "the target has no FCM registration token")
	case len(address) > maxAddress, strings.ContainsFunc(address, unprintable):
		return dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonBadAddress, "the target's address is not an FCM registration token")
	}
	return nil
}

// notification returns what the phone shows. It is never empty: an iOS app
// gets the message when the user taps the notification.
func (f *FCM) notification(m *dispatchers.Message) (title, body string) {
	title = strings.TrimSpace(dispatchers.OneLine(m.Expand(f.Title, nil)))
	body = strings.TrimSpace(dispatchers.OneLine(m.Expand(f.Body, nil)))
	switch {
	case title != "" || body != "":
		return title, body
	case m.Operation == nevisfido.Registration:
		return "Please confirm your registration", ""
	case m.Operation == nevisfido.Deregistration:
		return "Please confirm the removal of your device", ""
	}
	return "Please confirm", ""
}

func payloadSize(data map[string]string, title, body string) int {
	n := len(title) + len(body)
	for name, value := range data {
		n += len(name) + len(value)
	}
	return n
}
