package caddystore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// maxDevice bounds the record of a device, in bytes: some 20,000 targets.
const maxDevice = 1 << 20

const deviceSchema = 1

// device lists the targets of a device.
type device struct {
	Schema    int      `json:"schema"`
	Namespace string   `json:"namespace,omitempty"`
	DeviceID  string   `json:"device_id"`
	Targets   []string `json:"targets"`
}

func deviceKey(ref targets.Ref) string { return storageKey(devicePrefix, ref) }

// OfDevice implements targets.Store.
func (s *Store) OfDevice(ctx context.Context, namespace, deviceID, _ string) ([]string, error) {
	d, err := s.device(ctx, targets.Ref{Namespace: namespace, ID: deviceID})
	if err != nil {
		return nil, err
	}
	return d.Targets, nil
}

// device returns the record of a device, an empty one if there is none.
func (s *Store) device(ctx context.Context, ref targets.Ref) (*device, error) {
	data, err := s.read(ctx, deviceKey(ref))
	if err != nil {
		return nil, err
	}
	if data == nil {
		return &device{Schema: deviceSchema, Namespace: ref.Namespace, DeviceID: ref.ID}, nil
	}
	d := new(device)
	switch err := json.Unmarshal(data, d, json.RejectUnknownMembers(true)); {
	case len(data) > maxDevice, err != nil, d.Schema != deviceSchema:
		return nil, errors.New("reading the list of a device's targets: the record is damaged, or of a newer release")
	case d.Namespace != ref.Namespace || d.DeviceID != ref.ID:
		return nil, errors.New("reading the list of a device's targets: the record is that of another device")
	}
	return d, nil
}

// enlist adds a target to a device's list.
func (s *Store) enlist(ctx context.Context, ref targets.Ref, deviceID string) error {
	return s.changeDevice(ctx, ref.Namespace, deviceID, func(ids []string) []string {
		if slices.Contains(ids, ref.ID) {
			return ids
		}
		return append(ids, ref.ID)
	})
}

// delist takes a target off a device's list.
func (s *Store) delist(ctx context.Context, ref targets.Ref, deviceID string) error {
	return s.changeDevice(ctx, ref.Namespace, deviceID, func(ids []string) []string {
		return slices.DeleteFunc(ids, func(id string) bool { return id == ref.ID })
	})
}

// changeDevice locks the device's list. Whoever holds a list's lock waits for
// no other.
func (s *Store) changeDevice(ctx context.Context, namespace, deviceID string, change func([]string) []string) error {
	ref := targets.Ref{Namespace: namespace, ID: deviceID}
	key := deviceKey(ref)
	h, err := s.hold(ctx, key)
	if err != nil {
		return err
	}
	defer h.release()
	d, err := s.device(ctx, ref)
	if err != nil {
		return err
	}
	before := len(d.Targets)
	d.Targets = change(d.Targets)
	switch {
	case len(d.Targets) == before:
		return nil
	case len(d.Targets) == 0:
		return s.remove(ctx, h, key)
	}
	data, err := json.Marshal(d)
	if err != nil {
		return errors.New("encoding the list of a device's targets: an id is not valid UTF-8")
	}
	if len(data) > maxDevice {
		return fmt.Errorf("a device has too many targets: their list has %d bytes, more than %d", len(data), maxDevice)
	}
	return s.write(ctx, h, key, data)
}
