package kvtest

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/conf/conftest"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// Options holds a store to the options that all stores have: its table has the
// rows of kv.OptionTable, and its Check calls that of kv.Options. The line is one
// without a block that loads, such as "store redis redis://localhost".
func Options(t *testing.T, line string) {
	t.Helper()
	read := func(block string) (caddy.Module, error) {
		module, err := conftest.Unmarshal(targets.StoreNamespace, line+" {\n"+block+"\n}")
		if err != nil {
			return nil, err
		}
		return module.(caddy.Module), nil
	}
	module, err := read("timeout 500ms\nseal /a {file./b}\naccept_unsealed")
	mustHave(t, module, err, kv.Options{
		Timeout: caddy.Duration(500 * time.Millisecond), Keys: []string{"/a", "{file./b}"}, AcceptUnsealed: true,
	})
	for _, block := range []string{
		"timeout 0s", "timeout canary", "timeout 1s\ntimeout 1s", "seal", "seal /a\nseal /b", "accept_unsealed",
	} {
		_, err := read(block)
		if err == nil || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q gave error %v, want one with a line number that quotes nothing", block, err)
		}
	}

	root, err := caddy.ProvisionContext(nil) // with a storage, for which a store may ask
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(root)
	t.Cleanup(cancel)
	load := func(options string) (any, error) {
		module, err := read("")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(options), module); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(module)
		if err != nil {
			t.Fatal(err)
		}
		return ctx.LoadModuleByID(string(module.CaddyModule().ID), text)
	}
	loaded, err := load(`{}`)
	mustHave(t, loaded, err, kv.Options{Timeout: caddy.Duration(kv.DefaultTimeout)})
	for option, options := range map[string]string{
		"timeout": `{"timeout":-1}`, "seal": `{"seal":["/nowhere/key"]}`, "accept_unsealed": `{"accept_unsealed":true}`,
	} {
		if _, err := load(options); err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%s gave error %v, want one about %s", options, err, option)
		}
	}
}

// mustHave looks for options in a store that was read or loaded.
func mustHave(t *testing.T, module any, err error, want kv.Options) {
	t.Helper()
	var got kv.Options
	text, encodeErr := json.Marshal(module)
	if err := errors.Join(err, encodeErr, json.Unmarshal(text, &got)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the store is %s, error %v, want options %+v", text, err, want)
	}
}
