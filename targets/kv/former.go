package kv

import (
	"errors"

	"github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// DecodeFormer reads a list of the targets of a device as release 0.1.0 kept it
// in Caddy's storage. The name is that of Former.FormerDevice.
func DecodeFormer(data []byte, name string) (ids []string, err error) {
	var device struct {
		Schema    int      `json:"schema"`
		Namespace string   `json:"namespace,omitempty"`
		DeviceID  string   `json:"device_id"`
		Targets   []string `json:"targets"`
	}
	err = json.Unmarshal(data, &device, json.RejectUnknownMembers(true))
	if err != nil || device.Schema != 1 || (targets.Ref{Namespace: device.Namespace, ID: device.DeviceID}).Hash() != name {
		return nil, errors.New("reading the list of a device's targets: the record is damaged, or that of another device")
	}
	return device.Targets, nil
}
