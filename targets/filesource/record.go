package filesource

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// record is a line of the file.
type record struct {
	targets.Record
	User *user `json:"user,omitempty"`
}

type user struct {
	Email   string `json:"email,omitempty"`
	Mobile  string `json:"mobile,omitempty"`
	Address string `json:"address,omitempty"`
}

// parse reads a line strictly. Errors quote nothing of it.
func parse(line []byte) (*record, error) {
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(line, &version); err != nil {
		return nil, errors.New("it is not a strict JSON object")
	}
	if version.Schema > targets.SchemaVersion {
		return nil, fmt.Errorf("schema %d was written by a newer release; this one knows %d", version.Schema, targets.SchemaVersion)
	}
	r := new(record)
	err := json.Unmarshal(line, r, json.RejectUnknownMembers(true))
	if err != nil || version.Schema < 1 || r.ID == "" || r.Upgrade() != nil {
		return nil, errors.New("it is not the record of a dispatch target")
	}
	if r.User != nil && r.Username == "" {
		return nil, errors.New("it has a user without a username")
	}
	if _, err := targets.Encode(&r.Target, r.Ref()); err != nil { // which looks for what does not go together
		return nil, err
	}
	return r, nil
}
