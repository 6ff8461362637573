package google

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
)

// MaxPayload is the most that names and values of data, title and body may
// hold together, in bytes (FCM: message payload limit).
const MaxPayload = 4096

const (
	maxTTLSeconds = 28 * 24 * 60 * 60
	maxCollapseID = 64 // APNs
)

// A rule checks a value and returns it, with the names of its members in
// snake_case.
type rule func(path string, v any) (any, error)

// object is a message of the API: only these members.
type object map[string]rule

var notification = object{"title": text, "body": text, "image": text}

// request is the body of projects.messages.send as far as a sender of single
// messages uses it. Members that the API has and this list lacks are refused
// like any unknown name.
var request = object{
	"validate_only": boolean,
	"message": object{
		"token":        text,
		"topic":        text,
		"condition":    text,
		"data":         data,
		"notification": notification.check,
		"fcm_options":  object{"analytics_label": text}.check,
		"android": object{
			"collapse_key":            text,
			"priority":                oneOf("NORMAL", "HIGH", "normal", "high"),
			"ttl":                     ttl,
			"restricted_package_name": text,
			"data":                    data,
			"direct_boot_ok":          boolean,
			"fcm_options":             object{"analytics_label": text}.check,
			"notification": object{
				"title": text, "body": text, "icon": text, "color": text, "sound": text, "tag": text,
				"click_action": text, "channel_id": text, "ticker": text, "image": text,
			}.check,
		}.check,
		"apns": object{
			"headers":             apnsHeaders,
			"payload":             apnsPayload,
			"fcm_options":         object{"analytics_label": text, "image": text}.check,
			"live_activity_token": text,
		}.check,
	}.check,
}.check

// parseRequest reads and checks a body; the error is what Google would say.
// Duplicate names and invalid UTF-8 are refused like any broken JSON.
func parseRequest(body []byte) (message map[string]any, validateOnly bool, err error) {
	var tree any
	if err := json.Unmarshal(body, &tree); err != nil {
		return nil, false, refuse("Invalid JSON payload received.")
	}
	checked, err := request("", tree)
	if err != nil {
		return nil, false, err
	}
	members := checked.(map[string]any)
	message, ok := members["message"].(map[string]any)
	if !ok {
		return nil, false, refuse("Invalid value at 'message': it is missing")
	}
	recipients := 0
	for _, name := range []string{"token", "topic", "condition"} {
		if message[name] != nil && message[name] != "" {
			recipients++
		}
	}
	if recipients != 1 {
		return nil, false, refuse("Exactly one of 'token', 'topic' and 'condition' must be set.")
	}
	if n := payload(message); n > MaxPayload {
		return nil, false, refuse("Message too big: %d bytes of at most %d", n, MaxPayload)
	}
	validateOnly, _ = members["validate_only"].(bool)
	return message, validateOnly, nil
}

func (o object) check(path string, v any) (any, error) {
	members, ok := v.(map[string]any)
	if !ok {
		return nil, refuse("Invalid value at '%s' (object)", path)
	}
	out := map[string]any{}
	for name, value := range members {
		snake := snakeCase(name)
		rule, known := o[snake]
		if !known {
			return nil, refuse("Invalid JSON payload received. Unknown name %q at '%s': Cannot find field.", name, path)
		}
		if _, twice := out[snake]; twice {
			return nil, refuse("Invalid value at '%s': %s is given twice", path, snake)
		}
		checked, err := rule(strings.TrimPrefix(path+"."+snake, "."), value)
		if err != nil {
			return nil, err
		}
		out[snake] = checked
	}
	return out, nil
}

// snakeCase turns the lowerCamelCase form of a name, which proto3 JSON allows
// as well, into the original one.
func snakeCase(name string) string {
	var out strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			out.WriteByte('_')
			r = unicode.ToLower(r)
		}
		out.WriteRune(r)
	}
	return out.String()
}

func text(path string, v any) (any, error) {
	if _, ok := v.(string); !ok {
		return nil, refuse("Invalid value at '%s' (TYPE_STRING)", path)
	}
	return v, nil
}

func boolean(path string, v any) (any, error) {
	if _, ok := v.(bool); !ok {
		return nil, refuse("Invalid value at '%s' (TYPE_BOOL)", path)
	}
	return v, nil
}

func oneOf(values ...string) rule {
	return func(path string, v any) (any, error) {
		if s, ok := v.(string); !ok || !slices.Contains(values, s) {
			return nil, refuse("Invalid value at '%s' (TYPE_ENUM)", path)
		}
		return v, nil
	}
}

var duration = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?s$`)

func ttl(path string, v any) (any, error) {
	s, ok := v.(string)
	if !ok || !duration.MatchString(s) {
		return nil, refuse("Invalid value at '%s' (google.protobuf.Duration)", path)
	}
	if seconds, _ := strconv.ParseFloat(strings.TrimSuffix(s, "s"), 64); seconds > maxTTLSeconds {
		return nil, refuse("Invalid value at '%s': at most four weeks", path)
	}
	return v, nil
}

// data is a map of strings without the names that FCM keeps for itself.
func data(path string, v any) (any, error) {
	members, err := stringMap(path, v)
	if err != nil {
		return nil, err
	}
	for name := range members {
		if name == "from" || name == "message_type" || name == "collapse_key" ||
			strings.HasPrefix(name, "google.") || strings.HasPrefix(name, "gcm.") {
			return nil, refuse("Invalid data payload key: %s", name)
		}
	}
	return v, nil
}

func stringMap(path string, v any) (map[string]any, error) {
	members, ok := v.(map[string]any)
	if !ok {
		return nil, refuse("Invalid value at '%s' (map)", path)
	}
	for name, value := range members {
		if _, ok := value.(string); !ok {
			return nil, refuse("Invalid value at '%s[%s].value' (TYPE_STRING)", path, name)
		}
	}
	return members, nil
}

// apnsHeaders are strings that Apple will take.
func apnsHeaders(path string, v any) (any, error) {
	headers, err := stringMap(path, v)
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		s, ok := value.(string), true
		switch strings.ToLower(name) {
		case "apns-priority":
			ok = slices.Contains([]string{"1", "5", "10"}, s)
		case "apns-expiration":
			_, err := strconv.ParseUint(s, 10, 40)
			ok = err == nil
		case "apns-collapse-id":
			ok = len(s) <= maxCollapseID
		case "apns-push-type", "apns-topic", "apns-id":
		default:
			ok = false
		}
		if !ok {
			return nil, refuse("Invalid value at '%s[%s]'", path, name)
		}
	}
	return v, nil
}

// apnsPayload needs an aps dictionary; its alert a visible text.
func apnsPayload(path string, v any) (any, error) {
	members, ok := v.(map[string]any)
	if !ok {
		return nil, refuse("Invalid value at '%s' (Struct)", path)
	}
	aps, ok := members["aps"].(map[string]any)
	if !ok {
		return nil, refuse("Invalid value at '%s.aps'", path)
	}
	if content, ok := aps["mutable-content"]; ok && content != 1.0 {
		return nil, refuse("Invalid value at '%s.aps.mutable-content'", path)
	}
	if alert, ok := aps["alert"].(map[string]any); ok {
		if _, err := stringMap(path+".aps.alert", alert); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// payload counts the bytes that the limit is about.
func payload(message map[string]any) int {
	n := 0
	for _, name := range []string{"data", "notification"} {
		members, _ := message[name].(map[string]any)
		for member, value := range members {
			s, _ := value.(string)
			n += len(s)
			if name == "data" {
				n += len(member)
			}
		}
	}
	return n
}
