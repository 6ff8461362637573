package caddymodule

import (
	"context"
	"errors"

	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// The operations of caddy_oob_store_errors_total.
const (
	opLoad    = "load"
	opUpdate  = "update"
	opDevices = "devices" // looking up the targets of a device
)

// watchedStore counts what the store fails, and gives each access a span.
type watchedStore struct {
	targets.Store
	failed func(op string)
}

func (s watchedStore) watch(ctx context.Context, op string, access func(context.Context) error) error {
	ctx, span := tracing.Start(ctx, tracing.Store)
	defer span.End()
	span.Text(tracing.StoreOperation, op)
	err := access(ctx)
	_, unreadable := errors.AsType[*targets.RecordError](err)
	if err != nil && !unreadable && !errors.Is(err, targets.ErrNotFound) {
		span.Fail("")
		s.failed(op)
	}
	return err
}

// Load implements targets.Store.
func (s watchedStore) Load(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	var t *targets.Target
	err := s.watch(ctx, opLoad, func(ctx context.Context) (err error) {
		t, err = s.Store.Load(ctx, ref)
		return err
	})
	return t, err
}

// Update implements targets.Store.
func (s watchedStore) Update(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	return s.watch(ctx, opUpdate, func(ctx context.Context) error { return s.Store.Update(ctx, ref, edit) })
}

// Heal implements targets.Store.
func (s watchedStore) Heal(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	return s.watch(ctx, opUpdate, func(ctx context.Context) error { return s.Store.Heal(ctx, ref, edit) })
}

// OfDevice implements targets.Store.
func (s watchedStore) OfDevice(ctx context.Context, namespace, deviceID, username string) ([]string, error) {
	var ids []string
	err := s.watch(ctx, opDevices, func(ctx context.Context) (err error) {
		ids, err = s.Store.OfDevice(ctx, namespace, deviceID, username)
		return err
	})
	return ids, err
}

// Interface guard
var _ targets.Store = watchedStore{}
