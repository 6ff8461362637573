package google

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxPayload is the most that names and values of data, title and body may
	// hold together, in bytes (FCM: message payload limit).
	maxPayload    = 4096
	maxTTLSeconds = 28 * 24 * 60 * 60
	maxCollapseID = 64 // APNs
)

// request is the body of projects.messages.send as far as a sender of single
// messages uses it, in the original names. Members that the API has and this
// type lacks are refused like any unknown name.
type request struct {
	ValidateOnly bool           `json:"validate_only"`
	Message      jsontext.Value `json:"message"`
}

// Message is a delivered push message, as the phone and a curious third party
// see it.
type Message struct {
	Name         string            `json:"-"` // projects/<project>/messages/<id>
	JSON         []byte            `json:"-"` // the whole message object
	Token        string            `json:"token"`
	Data         map[string]string `json:"data"`
	Notification Notification      `json:"notification"`
	Android      Android           `json:"android"`
	APNS         APNS              `json:"apns"`
}

// Notification is what the phone shows.
type Notification struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// Android is the part of a message for Android phones.
type Android struct {
	Priority     string `json:"priority"`
	TTL          string `json:"ttl"`
	CollapseKey  string `json:"collapse_key"`
	Notification struct {
		Notification `json:",inline"`

		Tag string `json:"tag"`
	} `json:"notification"`
}

// APNS is the part of a message for Apple's phones.
type APNS struct {
	Headers map[string]string `json:"headers"`
	Payload *struct {
		APS *struct {
			Alert          Notification `json:"alert"`
			MutableContent int          `json:"mutable-content"`
		} `json:"aps"`
	} `json:"payload"`
}

// parse reads and checks the body of a send. Duplicate names, invalid UTF-8
// and unknown names are refused.
func parse(body []byte) (m Message, validateOnly bool, err error) {
	var r request
	if err = json.Unmarshal(body, &r, json.RejectUnknownMembers(true)); err == nil {
		m.JSON = r.Message
		err = json.Unmarshal(r.Message, &m, json.RejectUnknownMembers(true))
	}
	if err != nil {
		return m, false, fmt.Errorf("invalid JSON payload received: %w", err)
	}
	return m, r.ValidateOnly, m.check()
}

var duration = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?s$`)

func (m Message) check() error {
	seconds, _ := strconv.ParseFloat(strings.TrimSuffix(m.Android.TTL, "s"), 64)
	size := len(m.Notification.Title) + len(m.Notification.Body)
	for name, value := range m.Data {
		if name == "from" || name == "message_type" || name == "collapse_key" ||
			strings.HasPrefix(name, "google.") || strings.HasPrefix(name, "gcm.") {
			return errors.New("invalid data payload key: " + name)
		}
		size += len(name) + len(value)
	}
	for name, value := range m.APNS.Headers {
		if !validHeader(strings.ToLower(name), value) {
			return errors.New("invalid value at 'message.apns.headers'")
		}
	}
	switch payload := m.APNS.Payload; {
	case m.Token == "":
		return errors.New("recipient of the message is not set")
	case size > maxPayload:
		return errors.New("message too big")
	case !slices.Contains([]string{"", "NORMAL", "HIGH", "normal", "high"}, m.Android.Priority):
		return errors.New("invalid value at 'message.android.priority'")
	case m.Android.TTL != "" && !duration.MatchString(m.Android.TTL), seconds > maxTTLSeconds:
		return errors.New("invalid value at 'message.android.ttl'")
	case payload != nil && (payload.APS == nil || payload.APS.MutableContent>>1 != 0):
		return errors.New("invalid value at 'message.apns.payload.aps'")
	}
	return nil
}

// validHeader reports whether Apple takes a header.
func validHeader(name, value string) bool {
	switch name {
	case "apns-priority":
		return slices.Contains([]string{"1", "5", "10"}, value)
	case "apns-expiration":
		_, err := strconv.ParseUint(value, 10, 40)
		return err == nil
	case "apns-collapse-id":
		return len(value) <= maxCollapseID
	}
	return slices.Contains([]string{"apns-push-type", "apns-topic", "apns-id"}, name)
}
