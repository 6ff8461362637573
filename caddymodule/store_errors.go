package caddymodule

import (
	"context"
	"errors"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// The operations of caddy_oob_store_errors_total.
const (
	opLoad    = "load"
	opUpdate  = "update"
	opDevices = "devices" // looking up the targets of a device
)

// watchedStore counts what the store fails.
type watchedStore struct {
	targets.Store
	failed func(op string)
}

func (s watchedStore) watch(op string, err error) error {
	_, unreadable := errors.AsType[*targets.RecordError](err)
	if err != nil && !unreadable && !errors.Is(err, targets.ErrNotFound) {
		s.failed(op)
	}
	return err
}

// Load implements targets.Store.
func (s watchedStore) Load(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	t, err := s.Store.Load(ctx, ref)
	return t, s.watch(opLoad, err)
}

// Update implements targets.Store.
func (s watchedStore) Update(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	return s.watch(opUpdate, s.Store.Update(ctx, ref, edit))
}

// Heal implements targets.Store.
func (s watchedStore) Heal(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	return s.watch(opUpdate, s.Store.Heal(ctx, ref, edit))
}

// OfDevice implements targets.Store.
func (s watchedStore) OfDevice(ctx context.Context, namespace, deviceID, username string) ([]string, error) {
	ids, err := s.Store.OfDevice(ctx, namespace, deviceID, username)
	return ids, s.watch(opDevices, err)
}

// Interface guard
var _ targets.Store = watchedStore{}
